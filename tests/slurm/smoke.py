"""The smoke study through a real Slurm: `make test-slurm` (root, Debian; what it changes is put back).

Runs a copy of the workflow with profiles/slurm as it is, cancels one training on the way, and checks what every job
asked for and that the figures are there. Exits with 0 if all is well, 1 if not, 2 if this machine is none to test on.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
from cluster import Cluster, Refused, check_machine
from dry_runs import copy_workflow

GPU_JOBS = {"pretrain": 1, "train_fcl": 3, "train_static": 2, "calibrate_cutoffs": 4, "evaluations": 3}
OTHER_JOBS = {"build_store": 3, "describe_data": 1, "figures": 1}
VICTIM = "train_fcl"
LIMIT_SECONDS = 2400  # a job that the cluster never starts would be waited for without end
COMMAND = (
    "snakemake", "--workflow-profile", "profiles/slurm", "--config", "study=smoke",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
)  # fmt: skip


def main():
    try:
        check_machine()
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end from outside cleans up too
    started = time.monotonic()
    with Cluster() as cluster:
        print(f"Slurm is up after {time.monotonic() - started:.0f} s", flush=True)
        folder = cluster.work / "study"
        folder.mkdir()
        copy_workflow(folder)
        code, cancelled = run_study(cluster, folder)
        jobs = cluster.jobs()
        print_jobs(jobs)
        faults = [f"snakemake ended with {code}"] if code else []
        faults += faults_of_requests(jobs) + faults_of_retry(jobs, cancelled) + faults_of_results(folder)
        cluster.keep = bool(faults)
    for fault in faults:
        print(f"FAULT: {fault}")
    if faults:
        print(f"logs and results are kept in {cluster.work}")
    print(f"{'failed' if faults else 'passed'} after {time.monotonic() - started:.0f} s")
    return int(bool(faults))


def run_study(cluster, folder):
    """Run Snakemake to its end; meanwhile cancel the first training of `VICTIM`. Its exit code, and the job's id."""
    # Without PYTHONPATH, which jobs are to get from the Snakefile.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(folder / ".cache")
    study = subprocess.Popen([sys.executable, "-m", *COMMAND], cwd=folder, env=environment)
    cancelled, end = None, time.monotonic() + LIMIT_SECONDS
    try:
        while study.poll() is None and time.monotonic() < end:
            time.sleep(0.5)
            running = [job for job in cluster.jobs() if rule_of(job) == VICTIM and job["JobState"] == "RUNNING"]
            if cancelled is None and running and log_of(folder, running[0]).exists():  # its script has begun
                cancelled = running[0]["JobId"]
                print(f"scancel {cancelled}: {running[0]['Comment']}", flush=True)
                subprocess.run(["scancel", cancelled], check=True)
    finally:
        if study.poll() is None:
            study.terminate()
            study.wait()
    return study.returncode, cancelled


def rule_of(job):
    """Rule, or group of rules, of a Slurm job: the plugin writes it into the comment."""
    name = job.get("Comment", "").removeprefix("rule_").removeprefix("group_")
    return next((known for known in (*GPU_JOBS, *OTHER_JOBS) if name.startswith(known)), name)


def log_of(folder, job):
    """Log of a job of `VICTIM`; the comment ends with study and seed."""
    return folder / f"results/smoke/logs/{VICTIM}/seed{job['Comment'].rpartition('_')[2]}.log"


def gpus_of(job):
    """GPUs that a Slurm job asked for, as Slurm writes it down."""
    return job.get("TresPerJob", "none").removeprefix("gres:")


def print_jobs(jobs):
    print(f"{'job':>5} {'state':<10} {'partition':<9} {'gres':<8} {'memory':<8} {'time limit':<11} rule")
    for job in jobs:
        row = (job["JobState"], job["Partition"], gpus_of(job), job["MinMemoryNode"], job["TimeLimit"])
        print(f"{job['JobId']:>5} {row[0]:<10} {row[1]:<9} {row[2]:<8} {row[3]:<8} {row[4]:<11} {job['Comment']}")


def faults_of_requests(jobs):
    """One GPU and its partition for the jobs that run a model, and neither for the others; no job too many."""
    faults = []
    for rule, expected in {**GPU_JOBS, **OTHER_JOBS}.items():
        done = [job for job in jobs if rule_of(job) == rule and job["JobState"] == "COMPLETED"]
        if len(done) != expected:
            faults.append(f"{rule}: {len(done)} completed jobs, not {expected}")
    for job in jobs:
        wanted = ("gpu:1", "gpu") if rule_of(job) in GPU_JOBS else ("none", "cpu")
        if (gpus_of(job), job["Partition"]) != wanted:
            faults.append(f"job {job['JobId']} ({job['Comment']}): asked for {gpus_of(job)} in {job['Partition']}")
    return faults


def faults_of_retry(jobs, cancelled):
    """The cancelled job was run again, with more memory."""
    if cancelled is None:
        return [f"no job of {VICTIM} was seen running, so none could be cancelled"]
    victim = next(job for job in jobs if job["JobId"] == cancelled)
    again = [job for job in jobs if job["Comment"] == victim["Comment"] and job["JobState"] == "COMPLETED"]
    if victim["JobState"] != "CANCELLED" or len(again) != 1:
        return [f"job {cancelled} is {victim['JobState']}, and {len(again)} jobs completed in its place"]
    if int(again[0]["MinMemoryNode"].rstrip("M")) != 2 * int(victim["MinMemoryNode"].rstrip("M")):
        return [f"job {again[0]['JobId']} asked for {again[0]['MinMemoryNode']} after {victim['MinMemoryNode']}"]
    return []


def faults_of_results(folder):
    """Every figure and table, the claims and the report are there."""
    wanted = [f"figures/fig{number:02d}.{kind}" for number in range(1, 11) for kind in ("png", "pdf")]
    wanted += [f"tables/table{number:02d}.csv" for number in range(1, 5)] + ["claims.csv", "report.md"]
    return [f"results/smoke/{name} is missing" for name in wanted if not (folder / "results/smoke" / name).is_file()]


if __name__ == "__main__":
    sys.exit(main())
