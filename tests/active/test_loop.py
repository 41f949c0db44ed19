"""The loop on copper by EMT, tiny: what it writes, resuming after kills, faulty calculators, budgets."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas
import pytest
import yaml
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from examples import SMALL_MODEL
from fcl.cli.main import app

pytestmark = pytest.mark.heavy

TINY = {
    "calculator": {"module": "active_examples", "class": "Faulty", "arguments": {"calls": "{folder}/calls"}},
    "start": {"structures": ["cu.xyz"], "number": 10},
    "explore": {"cells": [2], "rounds": 1, "temperatures": [900.0], "strains": [1.0, 1.05], "steps": 40},
    "select": {"per_round": 3, "above": 1e-3, "stop": 1e6},
    "training": {
        "model": {**SMALL_MODEL, "radial_mlp": [8]},
        "pretrain": {"epochs": 2, "milestones": []},
        "fcl": {"epochs": 2},
        "compute": {"checkpoint_seconds": 0},
    },
}
RESULTS = ("train.xyz", "val.xyz", "model.safetensors")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu"), format="extxyz")
    return tmp_path


def settings(folder, name="a.yaml", **changes):
    merged = {key: {**TINY.get(key, {}), **changes.get(key, {})} for key in TINY.keys() | changes.keys()}
    (folder / name).write_text(yaml.safe_dump(merged))
    return name


def run(*arguments):
    return CliRunner().invoke(app, ["active", *arguments, "--processes", "2"])


def test_failing_labels_are_listed_and_cost_their_structure_only(folder):
    arguments = {"calls": "{folder}/calls", "faults": {"4": "raise"}}
    name = settings(folder, calculator={"arguments": arguments}, explore={"cells": [2, 4]}, budget={"labels": 14})
    done = run(name, "-o", "out", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["failed"] == 3 and summary["training"] + summary["validation"] == 11 and summary["rounds"] == 1
    assert summary["ended"] == "budget of 14 labels spent"
    failed, labels = pandas.read_csv("out/failed.csv"), pandas.read_csv("out/labels.csv")
    assert list(failed["formula"]) == ["Cu4"] * 3 and failed["error"].str.contains("no convergence").all()
    assert len(labels) == 14 and (labels["status"] == "failed").sum() == 3
    assert summary["label_atoms_cubed"] == (labels["atoms"] ** 3).sum()
    train, val = read("out/train.xyz", ":"), read("out/val.xyz", ":")
    assert len(train) == summary["training"] and len(val) == summary["validation"]
    assert set(map(len, train + val)) == {1, 2}
    assert set(summary["uncertainty"]) == {"grade", "cutoffs"}
    bits = {result: (folder / "out" / result).read_bytes() for result in RESULTS}

    calls = (folder / "calls").read_text()
    again = run(name, "-o", "out")  # nothing is left to do
    assert (
        again.exit_code == 0
        and "8 training, 3 validation, 3 failed" in again.stdout
        and "out/failed.csv" in again.stdout
    )
    assert (folder / "calls").read_text() == calls and len(calls.split()) == 14
    assert all((folder / "out" / result).read_bytes() == bits[result] for result in RESULTS)

    bad = folder / "out" / pandas.read_csv("out/failed.csv")["file"][0]
    bad.unlink()
    (folder / "cured").touch()
    cured = run(name, "-o", "out", "--json")  # computed again, and the last model with it
    assert cured.exit_code == 0, cured.output
    assert json.loads(cured.stdout)["failed"] == 2 and len((folder / "calls").read_text().split()) == 15
    assert (folder / "out" / "model.safetensors").read_bytes() != bits["model.safetensors"]

    other = settings(folder, "b.yaml", calculator={"arguments": arguments}, select={"per_round": 4})
    refused = run(other, "-o", "out")
    assert refused.exit_code == 1 and "begun with other settings" in refused.output and "per_round" in refused.output


def test_nothing_labelled_is_an_error_that_says_why(folder):
    faults = {str(number): "raise" for number in range(1, 9)}
    done = run(settings(folder, calculator={"arguments": {"calls": "{folder}/calls", "faults": faults}}), "-o", "out")
    assert done.exit_code == 1 and "too few labels: 0 succeeded" in done.output and "no convergence" in done.output


def test_cells_that_do_not_fit_and_a_calculator_that_is_none(folder):
    write("cu.xyz", bulk("Cu", cubic=True), format="extxyz")
    done = run(settings(folder, explore={"cells": [2, 3]}), "-o", "out")
    assert done.exit_code == 1 and "explore.cells: none is a multiple of the unit cells, of [4] atoms" in done.output
    done = run(settings(folder, calculator={"class": "Fault"}, explore={"cells": [4]}), "-o", "out")
    assert done.exit_code == 1 and "calculator: AttributeError" in done.output and "Fault" in done.output


@pytest.mark.slow
def test_killed_at_three_moments_and_resumed_it_has_the_same_training_set(folder):
    name = settings(folder, select={"members": 2})
    assert run(name, "-o", "whole").exit_code == 0
    count = len((folder / "calls").read_text().split())
    (folder / "calls").unlink()
    command = [sys.executable, "-m", "fcl.cli", "active", name, "-o", "killed", "--processes", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    moments = ("labels/*.json", "models/00-*/member*/checkpoints/*/*/epoch*.safetensors", "runs/01/*.json")
    for pattern in moments:
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 200.0
        while not list((folder / "killed").glob(pattern)):
            assert process.poll() is None and time.monotonic() < end, pattern
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1.0)  # its workers end
    done = run(name, "-o", "killed")
    assert done.exit_code == 0, done.output
    for result in RESULTS:
        assert (folder / "killed" / result).read_bytes() == (folder / "whole" / result).read_bytes(), result
    assert len((folder / "calls").read_text().split()) <= count + 2  # those that were killed while they computed
