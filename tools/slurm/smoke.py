"""The smoke study through a real Slurm: `make test-slurm` (root, Debian; what it changes is put back).

Runs a copy of the workflow with profiles/slurm as it is. On the way one training is cancelled and another one ends at
its time limit; both have to resume. Checks what every job asked for and that the figures are there. Exits with 0 if all
is well, 1 if not, 2 if this machine is none to test on.
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
    "validate_statics": 2, "validate_nve": 2, "validate_rdf": 2,
    "calibrate_unlabelled": 2, "measure_wall_clock": 1,
}  # fmt: skip
OTHER_JOBS = {"build_store": 3, "describe_data": 1, "figures": 1}
#: Trainings that are interrupted, one job of each -> the state in which Slurm has to leave it. The shortest time limit
#: is a minute, looked at every half a minute: the pre-training is made to last longer than that.
VICTIMS = {"pretrain": "TIMEOUT", "train_fcl": "CANCELLED"}
EPOCHS = {"pretrain": 300, "train_fcl": 12}
#: A line of the log of a training that goes on from a checkpoint.
RESUMED = re.compile(r": goes on after .*epoch \d+")
WAITING = ("None", "Priority", "Resources", "Dependency", "BeginTime")  # why a job may be pending; it will start
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end from outside cleans up too
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
    """Run Snakemake to its end and interrupt the `VICTIMS` meanwhile: faults, and the interrupted jobs' ids by rule."""
    # Without PYTHONPATH, which jobs are to get from the Snakefile.
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
            study.terminate()  # Snakemake then starts nothing more, but waits for the jobs that it has
            cluster.cancel_jobs()
            try:
                study.wait(timeout=120)
            except subprocess.TimeoutExpired:
                study.kill()
                study.wait()
    return faults + [f"snakemake ended with {study.returncode}"] * bool(study.returncode), interrupted


def has_trained(folder, job):
    """Whether a job of a training is at work and has finished an epoch."""
    log = log_of(folder, job)
    return job["JobState"] == "RUNNING" and log.is_file() and re.search(r"epoch \d+/", log.read_text()) is not None


def interrupt(job, state):
    """Let Slurm end a running job so that it is left in ``state``."""
    number = job["JobId"]
    command = {
        "CANCELLED": ["scancel", number],
        "TIMEOUT": ["scontrol", "update", f"JobId={number}", "TimeLimit=1"],
    }[state]
    print(f"{' '.join(command)}: {job['Comment']}", flush=True)
    subprocess.run(command, check=True)


def rule_of(job):
    """Rule, or group of rules, of a Slurm job: the plugin writes it into the comment."""
    name = job.get("Comment", "").removeprefix("rule_").removeprefix("group_")
    return next((known for known in (*GPU_JOBS, *OTHER_JOBS) if name.startswith(known)), name)


def name_of(job):
    """Name of the model that a job of the `VICTIMS` trains; the comment ends with study and seed."""
    return "pretrain" if rule_of(job) == "pretrain" else f"fcl_seed{job['Comment'].rpartition('_')[2]}"


def log_of(folder, job):
    """Log of a job of the `VICTIMS`."""
    return folder / "results/smoke/logs" / f"{name_of(job).replace('fcl_', 'train_fcl/')}.log"


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


def faults_of_waiting(jobs):
    """Jobs that Slurm will never start, as they ask for something that there is not."""
    return [
        f"job {job['JobId']} ({job['Comment']}) waits for ever: {job['Reason']}"
        for job in jobs
        if job["JobState"] == "PENDING" and job["Reason"] not in WAITING
    ]


def faults_of_interruptions(jobs, interrupted, folder):
    """The interrupted jobs were run again, with more memory, and went on where they had been."""
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
    """Memory that a job asked for (MB)."""
    return int(job["MinMemoryNode"].rstrip("M"))


def faults_of_resumption(folder, job):
    """A training that was run again says from which epoch it went on, and its history has every epoch once."""
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
    """Every figure and table, the claims and the report are there."""
    wanted = [f"figures/fig{number:02d}.{kind}" for number in range(1, 11) for kind in ("png", "pdf")]
    wanted += [f"tables/table{number:02d}.csv" for number in range(1, 5)] + ["claims.csv", "report.md", "training.png"]
    return [f"results/smoke/{name} is missing" for name in wanted if not (folder / "results/smoke" / name).is_file()]


def print_figures(folder):
    """The pictures of the study, with their sizes."""
    for path in sorted((folder / "results/smoke").rglob("*.png")):
        print(f"{path.stat().st_size:>9} bytes  {path.relative_to(folder)}")


if __name__ == "__main__":
    sys.exit(main())
