"""The smoke study through a real Slurm: `make test-slurm` (root, Debian; changes are reverted).

Runs a copy of the workflow with the unmodified profiles/slurm. During the run one training is cancelled and another
hits its time limit; both must resume. Checks the resources requested by every job and that the figures exist. Exit code
0: success, 1: failure, 2: the machine is not suitable for the test.
"""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/helpers"))
from cluster import Cluster, Refused, check_machine
from dry_runs import copy_workflow

GPU_JOBS = {
    "pretrain": 1, "train_fcl": 3, "train_static": 2, "calibrate_cutoffs": 4, "evaluations": 3,
    "observe_statics": 2, "observe_nve": 2, "observe_rdf": 2,
    "calibrate_unlabelled": 2, "measure_wall_clock": 1,
}  # fmt: skip
OTHER_JOBS = {"build_store": 3, "describe_data": 1, "figures": 1}
#: Interrupted trainings, one job each -> the expected final Slurm state. The shortest time limit is one minute,
#: checked every half a minute; the pre-training is made to last longer than that.
VICTIMS = {"pretrain": "TIMEOUT", "train_fcl": "CANCELLED"}
EPOCHS = {"pretrain": 300, "train_fcl": 12}
#: Log line of a training that resumes from a checkpoint.
RESUMED = re.compile(r": goes on after .*epoch \d+")
WAITING = ("None", "Priority", "Resources", "Dependency", "BeginTime")  # acceptable reasons for a pending job
LIMIT_SECONDS = 2400
COMMAND = (
    "snakemake", "--workflow-profile", "profiles/slurm", "--config", "study=smoke",
    f"studies={ {'smoke': {'pretrain': {'epochs': EPOCHS['pretrain']}, 'fcl': {'epochs': EPOCHS['train_fcl']} } } }",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
)  # fmt: skip


def main():
    try:
        check_machine()
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clean up on termination too
    started = time.monotonic()
    with Cluster() as cluster:
        print(f"Slurm is up after {time.monotonic() - started:.0f} s", flush=True)
        folder = cluster.work / "study"
        folder.mkdir()
        copy_workflow(folder)
        faults, interrupted = run_study(cluster, folder)
        jobs = cluster.jobs()
        print_jobs(jobs)
        faults += faults_of_requests(jobs) + faults_of_interruptions(jobs, interrupted, folder)
        faults += faults_of_results(folder)
        print_figures(folder)
        cluster.keep = bool(faults)
    for fault in faults:
        print(f"FAULT: {fault}")
    if faults:
        print(f"logs and results are kept in {cluster.work}")
    print(f"{'failed' if faults else 'passed'} after {time.monotonic() - started:.0f} s")
    return int(bool(faults))


def run_study(cluster, folder):
    """Run Snakemake and interrupt the `VICTIMS` meanwhile; returns faults and the ids of interrupted jobs by rule."""
    # Without PYTHONPATH, which the Snakefile must set for the jobs.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(folder / ".cache")
    study = subprocess.Popen([sys.executable, "-m", *COMMAND], cwd=folder, env=environment)
    faults, interrupted, end = [], {}, time.monotonic() + LIMIT_SECONDS
    try:
        while study.poll() is None and not faults:
            time.sleep(0.5)
            jobs = cluster.jobs()
            faults = faults_of_waiting(jobs)
            if time.monotonic() > end:
                faults.append(f"the study did not end within {LIMIT_SECONDS} s")
            for job in jobs:
                rule = rule_of(job)
                if rule in VICTIMS.keys() - interrupted.keys() and has_trained(folder, job):
                    interrupted[rule] = job["JobId"]
                    interrupt(job, VICTIMS[rule])
    finally:
        if study.poll() is None:
            study.terminate()  # Snakemake then starts no new jobs, but waits for running ones
            cluster.cancel_jobs()
            try:
                study.wait(timeout=120)
            except subprocess.TimeoutExpired:
                study.kill()
                study.wait()
    return faults + [f"snakemake ended with {study.returncode}"] * bool(study.returncode), interrupted


def has_trained(folder, job):
    """Whether a training job is running and has finished an epoch."""
    log = log_of(folder, job)
    return job["JobState"] == "RUNNING" and log.is_file() and re.search(r"epoch \d+/", log.read_text()) is not None


def interrupt(job, state):
    """Make Slurm end a running job in ``state``."""
    number = job["JobId"]
    command = {
        "CANCELLED": ["scancel", number],
        "TIMEOUT": ["scontrol", "update", f"JobId={number}", "TimeLimit=1"],
    }[state]
    print(f"{' '.join(command)}: {job['Comment']}", flush=True)
    subprocess.run(command, check=True)


def rule_of(job):
    """Rule or rule group of a Slurm job, from the comment set by the plugin."""
    name = job.get("Comment", "").removeprefix("rule_").removeprefix("group_")
    return next((known for known in (*GPU_JOBS, *OTHER_JOBS) if name.startswith(known)), name)


def name_of(job):
    """Name of the model trained by a job of the `VICTIMS`; the comment ends with study and seed."""
    return "pretrain" if rule_of(job) == "pretrain" else f"fcl_seed{job['Comment'].rpartition('_')[2]}"


def log_of(folder, job):
    """Log of a job of the `VICTIMS`."""
    return folder / "results/smoke/logs" / f"{name_of(job).replace('fcl_', 'train_fcl/')}.log"


def gpus_of(job):
    """GPUs requested by a Slurm job, in Slurm notation."""
    return job.get("TresPerJob", "none").removeprefix("gres:")


def print_jobs(jobs):
    print(f"{'job':>5} {'state':<10} {'partition':<9} {'gres':<8} {'memory':<8} {'time limit':<11} rule")
    for job in jobs:
        row = (job["JobState"], job["Partition"], gpus_of(job), job["MinMemoryNode"], job["TimeLimit"])
        print(f"{job['JobId']:>5} {row[0]:<10} {row[1]:<9} {row[2]:<8} {row[3]:<8} {row[4]:<11} {job['Comment']}")


def faults_of_requests(jobs):
    """Jobs that run a model request one GPU and its partition, the others neither; job counts are as expected."""
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


def faults_of_waiting(jobs):
    """Jobs that Slurm will never start, since they request unavailable resources."""
    return [
        f"job {job['JobId']} ({job['Comment']}) waits for ever: {job['Reason']}"
        for job in jobs
        if job["JobState"] == "PENDING" and job["Reason"] not in WAITING
    ]


def faults_of_interruptions(jobs, interrupted, folder):
    """The interrupted jobs were rerun with more memory and resumed."""
    faults = [f"no job of {rule} was seen running, so none could be ended" for rule in VICTIMS.keys() - interrupted]
    for rule, number in interrupted.items():
        victim = next(job for job in jobs if job["JobId"] == number)
        again = [job for job in jobs if job["Comment"] == victim["Comment"] and job["JobState"] == "COMPLETED"]
        if victim["JobState"] != VICTIMS[rule] or len(again) != 1:
            faults.append(f"job {number} is {victim['JobState']}, and {len(again)} jobs completed in its place")
        elif memory_of(again[0]) != 2 * memory_of(victim):
            faults.append(f"job {again[0]['JobId']} asked for {memory_of(again[0])} MB after {memory_of(victim)} MB")
        else:
            faults += faults_of_resumption(folder, again[0])
    return faults


def memory_of(job):
    """Memory requested by a job (MB)."""
    return int(job["MinMemoryNode"].rstrip("M"))


def faults_of_resumption(folder, job):
    """A rerun training logs the epoch from which it resumed, and its history has every epoch once."""
    history, log = folder / f"results/smoke/metrics/history/{name_of(job)}.csv", log_of(folder, job)
    with history.open(newline="") as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    faults = []
    if epochs != list(range(1, EPOCHS[rule_of(job)] + 1)):
        faults.append(f"{history.name}: epochs {epochs}")
    if not log.is_file() or not RESUMED.search(log.read_text()):
        faults.append(f"job {job['JobId']} ({job['Comment']}) began anew: {log.name} tells of no checkpoint")
    return faults


def faults_of_results(folder):
    """All figures and tables, the claims and the report exist."""
    wanted = [f"figures/fig{number:02d}.{kind}" for number in range(1, 11) for kind in ("png", "pdf")]
    wanted += [f"tables/table{number:02d}.csv" for number in range(1, 5)] + ["claims.csv", "report.md", "training.png"]
    return [f"results/smoke/{name} is missing" for name in wanted if not (folder / "results/smoke" / name).is_file()]


def print_figures(folder):
    """Print the pictures of the study with their sizes."""
    for path in sorted((folder / "results/smoke").rglob("*.png")):
        print(f"{path.stat().st_size:>9} bytes  {path.relative_to(folder)}")


if __name__ == "__main__":
    sys.exit(main())
