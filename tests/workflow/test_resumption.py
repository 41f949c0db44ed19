"""Training killed by SIGKILL and SIGTERM, run again by Snakemake itself, against a run that was never broken."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pandas
import psutil
import pytest

from dry_runs import copy_workflow, environment, snakemake

SEED = 20260310
MODEL = "results/smoke/models/fcl_seed1.safetensors"
HISTORY = "results/smoke/metrics/history/fcl_seed1.csv"
ARGUMENTS = (MODEL, "--configfile", "long.yaml", "--config", "study=smoke")
STEPS_AN_EPOCH, EPOCHS = 6, 12
#: Training that is long enough to be killed four times, with a checkpoint after each step.
CONFIG = f"""
studies:
  smoke:
    fcl: {{epochs: {EPOCHS}, seeds: [1]}}
    compute: {{checkpoint_seconds: 0}}
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = copy_workflow(tmp_path_factory.mktemp("unbroken"))
    (folder / "long.yaml").write_text(CONFIG)
    done = snakemake(folder, *ARGUMENTS)
    assert done.returncode == 0, done.stdout
    return folder


def without_the_training(unbroken, target):
    """A copy in which all that the training needs is done."""
    shutil.copytree(unbroken, target)
    for path in target.glob("results/smoke/**/fcl_seed1*"):
        path.unlink()
    return target


def last_step(folder):
    """Steps of the training up to its last checkpoint."""
    names = [path.stem for path in folder.glob("results/smoke/checkpoints/fcl_seed1/*/epoch*_step*.safetensors")]
    epoch, step = max(names, default="epoch00001_step0000000").removeprefix("epoch").split("_step")
    return (int(epoch) - 1) * STEPS_AN_EPOCH + int(step)


def kill_after(folder, study, step, number, whole):
    """Send the signal to the training (to Snakemake too with ``whole``) when it has come to ``step``."""
    end = time.monotonic() + 300
    while last_step(folder) < step:
        assert study.poll() is None and time.monotonic() < end, (folder / "out").read_text()
        time.sleep(0.01)
    processes = psutil.Process(study.pid).children(recursive=True)
    scripts = [process for process in processes if any("/.snakemake/scripts/" in part for part in process.cmdline())]
    for process in [psutil.Process(study.pid), *scripts] if whole else scripts:
        process.send_signal(number)
    with suppress(psutil.NoSuchProcess):
        scripts[0].wait(60)


@pytest.mark.slow
def test_a_training_killed_anywhere_ends_as_one_that_was_not(unbroken, tmp_path):
    folder = without_the_training(unbroken, tmp_path / "broken")
    steps = sorted(random.Random(SEED).sample(range(3, STEPS_AN_EPOCH * EPOCHS - 8), 4))
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL)
    print(f"seed {SEED}: {', '.join(f'{s.name} after step {n}' for n, s in zip(steps, signals, strict=True))}")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--retries", "3", *ARGUMENTS]
    with (folder / "out").open("w") as out:
        study = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=out, stderr=out)
        try:
            for number, step in zip(signals, steps, strict=True):
                kill_after(folder, study, step, number, whole=step == steps[-1])
            study.wait(60)
        finally:
            study.kill()
    output = (folder / "out").read_text()
    assert output.count("Trying to restart job") == 3, output
    assert not (folder / MODEL).exists()
    reached = last_step(folder)
    assert reached >= steps[-1]

    assert snakemake(folder, "--unlock", *ARGUMENTS).returncode == 0
    done = snakemake(folder, "--rerun-incomplete", *ARGUMENTS)
    assert done.returncode == 0, done.stdout
    log = (folder / "results/smoke/logs/train_fcl/seed1.log").read_text()
    assert "train_fcl: goes on after" in log, log
    assert digest(folder / MODEL) == digest(unbroken / MODEL)
    histories = [pandas.read_csv(place / HISTORY, dtype=str).drop(columns="seconds") for place in (folder, unbroken)]
    pandas.testing.assert_frame_equal(*histories)
    assert len(histories[0]) == EPOCHS
    for place in (folder, unbroken):  # all went well: nothing is left
        assert not (place / "results/smoke/checkpoints").exists()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
