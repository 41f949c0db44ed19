"""Clusters and GPUs without either: what the Slurm profile asks for, one device a job, and jobs that fail once."""

import json
import os
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pandas
import pytest
import yaml
from test_dag import SMALL
from test_rules import GPU_RULES, RULES

from dry_runs import ROOT, copy_workflow, put_into_jobs, put_stubs, snakemake

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.fixture(scope="module")
def slurm_plan(tree):
    done = snakemake(tree, "-n", "--workflow-profile", "profiles/slurm", "--config", "study=paper", cores=None)
    assert done.returncode == 0, done.stdout
    return done.stdout


def rule_of(message):
    """The rule that a line of a plan belongs to, by its message."""
    if message.startswith("The main numbers of "):
        return "summary"  # the one rule without a script
    for name, directives in RULES.items():
        message_of_rule = directives["message"].strip().strip('"').replace("{rule}", name)
        words = re.split(r"{[^}]*}", message_of_rule)
        if re.fullmatch(".*".join(map(re.escape, words)), message):
            return name
    raise AssertionError(f"no rule has the message {message!r}")


def test_the_plan_shows_a_gpu_on_each_job_that_needs_one_and_on_no_other(slurm_plan):
    messages = re.findall(r"^\s*Job \d+: (.*)$", slurm_plan, flags=re.MULTILINE)
    tagged = Counter(rule_of(message) for message in messages if message.endswith(" [gpu=1]"))
    others = Counter(rule_of(message) for message in messages if "gpu" not in message)
    assert set(tagged) == GPU_RULES - {"evaluate_external"}  # the study has no further test set
    assert not GPU_RULES & set(others)
    assert sum(tagged.values()) + sum(others.values()) == len(messages)
    assert (tagged["train_static"], tagged["calibrate_cutoffs"], others["build_store"]) == (12, 20, 3)


def test_the_profile_sends_the_jobs_with_a_gpu_to_their_partition_and_no_other():
    assert set(PROFILE["set-resources"]) == GPU_RULES
    assert all(resources == {"slurm_partition": "gpu"} for resources in PROFILE["set-resources"].values())
    assert PROFILE["default-resources"] == {"slurm_partition": "cpu", "at_once": 1}


def test_groups_share_a_gpu_and_hold_all_short_jobs_but_no_training(slurm_plan):
    groups = dict(entry.split("=") for entry in PROFILE["groups"])
    assert set(groups) <= set(RULES)
    short = {rule for rule in RULES if rule.startswith(("figure", "table", "claims", "report"))}
    assert {rule for rule, group in groups.items() if group == "figures"} == short
    assert {rule for rule, group in groups.items() if group == "evaluations"} == {"evaluate_cutoffs", "diatomic_curves"}
    assert set(groups.values()) == {entry.split("=")[0] for entry in PROFILE["group-components"]}
    # One GPU a group, whatever its size; as a limit of each allocation it does not limit how many run at a time.
    assert PROFILE["resources"] == {"gpu": 1, "at_once": 2}
    assert PROFILE["set-resource-scopes"] == ["gpu=local", "at_once=local"]
    assert slurm_plan.count("Group job evaluations") == 5  # 16 + 3 jobs, four at a time
    assert slurm_plan.count("Group job figures") == 1


#: Programs of Slurm that its plugin may call: none knows an account, and sbatch notes what it is given and fails.
SLURM = {
    "sbatch": 'echo "$@" >> "$(dirname "$0")/calls"; exit 1',
    "sacct": "echo none",
    **dict.fromkeys(("squeue", "sinfo", "scontrol", "sacctmgr", "sshare", "scancel"), "exit 1"),
}


@pytest.fixture
def slurm(tmp_path):
    """A PATH on which the programs of `SLURM` come first: whether the machine has real ones does not matter."""
    for name, text in SLURM.items():
        program = tmp_path / "slurm" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    return os.pathsep.join([str(tmp_path / "slurm"), os.environ["PATH"]])


def submitted(folder, path, *targets):
    """What Snakemake hands to sbatch for ``targets``, a line a job, with the stand-ins of `slurm` on ``path``."""
    done = snakemake(
        folder, *targets, "--workflow-profile", "profiles/slurm", "--retries", "0", "--config", "study=smoke",
        "--slurm-init-seconds-before-status-checks", "1", cores=None, PATH=path,
    )  # fmt: skip
    calls = Path(path.split(os.pathsep)[0]) / "calls"
    assert calls.is_file(), done.stdout
    return calls.read_text().splitlines()


def test_the_job_that_takes_a_whole_machine_takes_its_own_threads_on_a_cluster(finished, slurm, tmp_path):
    """There is no number of cores there: Snakemake is given none, and a dry run does not show that."""
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    for path in folder.glob("results/smoke/cost/*"):
        path.unlink()
    (call,) = submitted(folder, slurm, "results/smoke/cost/wall_clock.csv")
    assert "measure_wall_clock" in call and "--cpus-per-task=1 " in call and "--gpus=1 " in call and "-p gpu " in call


def test_the_group_of_figures_asks_for_two_cores_not_for_one_a_figure(finished, slurm, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    for path in [*folder.glob("results/smoke/figures/*"), *folder.glob("results/smoke/tables/*")]:
        path.unlink()
    (call,) = submitted(folder, slurm, "figures", "tables")
    assert "--cpus-per-task=2 " in call and "--mem 4000 " in call and "-p cpu " in call
    assert "--gpus" not in call and "figure_10:study=smoke" in call and "table_04:study=smoke" in call


WATCH = """
import atexit, json, os, time
from pathlib import Path
from fcl.study import adapter

job = {"begin": time.monotonic()}
original = adapter.library_function

def library_function(snakemake, name):
    function = original(snakemake, name)
    if snakemake.resources.get("gpu"):
        job.update(device=os.environ["CUDA_VISIBLE_DEVICES"], claimed=time.monotonic())
        atexit.register(lambda: write(Path("jobs") / Path(snakemake.log[0]).as_posix().replace("/", "_")))
        time.sleep(0.3)
    return function

def write(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**job, "end": time.monotonic()}))

adapter.library_function = library_function
"""


def most_at_a_time(spans):
    events = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


def test_two_gpus_run_two_jobs_at_a_time_each_on_its_own(tmp_path):
    folder = copy_workflow(tmp_path / "study")
    put_stubs(folder)
    put_into_jobs(folder, WATCH)
    done = snakemake(
        folder, "diatomics_all", "--resources", "gpu=2", "--config", "study=smoke",
        cores=4, CUDA_VISIBLE_DEVICES="0,1", TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    jobs = [json.loads(path.read_text()) for path in (folder / "jobs").iterdir()]
    assert len(jobs) == 1 + 3 + 3  # pre-training, FCL, diatomic curves
    assert most_at_a_time([(job["begin"], job["end"]) for job in jobs]) == 2
    assert {job["device"] for job in jobs} == {"0", "1"}
    for device in "01":
        assert most_at_a_time([(job["claimed"], job["end"]) for job in jobs if job["device"] == device]) == 1


FAIL_ONCE = """
import functools, os, random, signal, threading
from pathlib import Path
from fcl.study import adapter

original = adapter.library_function

def library_function(snakemake, name):
    function = original(snakemake, name)
    output = Path(snakemake.output[0])
    mark = Path("failed") / output.as_posix().replace("/", "_")
    if mark.exists():
        return function
    mark.parent.mkdir(exist_ok=True)
    drawn = random.Random(str(output))
    way = drawn.choice(["raises", "killed with half a file", "killed on the way", "killed at the end"])
    seconds = drawn.uniform(0.0, 6.0)  # of the real stages; a stub has ended by then
    mark.write_text(way)

    @functools.wraps(function)
    def failing(*arguments, **keywords):
        if way == "raises":
            raise RuntimeError("a failure made for a test")
        if way == "killed with half a file":
            output.write_text("half")
        else:
            if way == "killed on the way":
                threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            function(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    return failing

adapter.library_function = library_function
"""


#: Files that tell how long a job took.
TIMED = r"(logs|benchmarks)/.*|.*\.manifest\.json|report\.md"
#: Files that show what the study measures of this machine; the numbers behind them are in CSV and JSON.
MEASURED = r"tables/wall_clock\.(md|tex|html)|figures/wall_clock\.(png|pdf)"
#: Columns that are such a measurement.
MEASUREMENT = re.compile("seconds|memory|time")


def results_of(folder, stubs=True):
    """All that a study made, by file, but for what tells times; of real stages (not ``stubs``) without measurements."""
    study = folder / "results/smoke"
    files = {path.relative_to(study).as_posix(): path for path in study.rglob("*") if path.is_file()}
    left_out = TIMED if stubs else f"{TIMED}|{MEASURED}"
    read = Path.read_bytes if stubs else _without_times
    return {name: read(path) for name, path in files.items() if not re.fullmatch(left_out, name)}


def _without_times(path):
    if path.name == "wall_clock.csv" or path.parent.name == "history":
        table = pandas.read_csv(path, dtype=str)
        return table.drop(columns=[name for name in table if MEASUREMENT.search(name)]).to_csv().encode()
    return path.read_bytes()


def run_with_failures(folder, **options):
    put_into_jobs(folder, FAIL_ONCE)
    done = snakemake(folder, "--retries", "1", "--config", "study=smoke", **options)
    assert done.returncode == 0, done.stdout
    ways = [path.read_text() for path in (folder / "failed").iterdir()]
    jobs = sum(SMALL.values()) - SMALL["all"] - SMALL["summary"]  # the last has no script to break
    assert len(ways) == jobs
    assert len(set(ways)) == 4
    assert done.stdout.count("Trying to restart job") == jobs
    return Counter(ways)


def test_a_study_whose_jobs_all_fail_once_ends_as_one_that_was_never_broken(finished, tmp_path):
    folder = copy_workflow(tmp_path / "study")
    put_stubs(folder)
    left = folder / "results/smoke/figures/.fig02.abc.part.pdf"  # by a process that was killed while it wrote
    left.parent.mkdir(parents=True)
    left.write_text("half")
    run_with_failures(folder)
    assert results_of(folder) == results_of(finished)


@pytest.mark.slow
def test_the_same_with_real_training(tmp_path):
    whole, broken = (copy_workflow(tmp_path / name) for name in ("whole", "broken"))
    done = snakemake(whole, "--config", "study=smoke", timeout=3600)
    assert done.returncode == 0, done.stdout
    failures = run_with_failures(broken, timeout=3600)
    expected, found = (results_of(folder, stubs=False) for folder in (whole, broken))
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    print(f"{len(expected)} files are the same after {failures.total()} jobs failed once: {dict(failures)}")


def test_the_guide_names_options_and_files_that_exist():
    from snakemake.cli import get_argument_parser

    guide = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    commands = re.findall(r"^snakemake .*$", guide, flags=re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        get_argument_parser().parse_args(shlex.split(command)[1:])
    for link in re.findall(r"\]\(([^)]+)\)", guide):
        assert (ROOT / "docs" / link).exists(), link
    assert set(re.findall(r"`make ([\w-]+)`", guide)) <= set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
