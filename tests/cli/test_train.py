"""`fcl train`: from files of structures to models, again, interrupted, and what it says of bad input."""

import functools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from ase.io import read, write

import commands
import fcl
from examples import SMALL_MODEL
from fcl.training.own import train
from project import ROOT

pytestmark = pytest.mark.heavy

SETTINGS = {"model": {**SMALL_MODEL, "radial_mlp": [16, 16]}, "compute": {"checkpoint_seconds": 0}}
SHORT = ("--config", "small.yaml", "--batch-size", "4", "--epochs", "3", "--device", "cpu")
FILES = ("--train", "a.xyz", "--train", "b.xyz", "--val", "val.xyz", "--energy-key", "REF_energy")
AS_THEY_ARE = (*SHORT, "--reference-energies", "none")  # about -100 eV/atom
#: Kills the process (no farewell) after its fifth step.
KILLED = """
import os, signal, sys
from fcl.cli.main import app
from fcl.training.monitor import Supervisor
original, steps = Supervisor.after_step, []
def after_step(self, pairs):
    original(self, pairs)
    steps.append(pairs)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
Supervisor.after_step = after_step
app(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Molecules with an energy under a name of its own, in several files; a file of settings."""
    folder = tmp_path_factory.mktemp("train")
    frames = read(ROOT / "resources" / "embedded" / "val.xyz.gz", ":")
    frames = sorted((atoms for atoms in frames if atoms.info["subset"] == "SHIFTML-molfrags"), key=len)[:12]
    for atoms in frames:
        atoms.info = {"REF_energy": atoms.get_potential_energy() - 100.0 * len(atoms), "split": "whatever"}
        atoms.set_array("forces", atoms.get_forces())
        atoms.set_array("large", np.full((len(atoms), 3), 1e6))
        atoms.calc = None
    for name, part in {
        "a": frames[:5],
        "b": frames[5:8],
        "val": frames[8:],
        "all": frames,
        "mixed": frames[4:],
    }.items():
        write(folder / f"{name}.xyz", part, format="extxyz")
    (folder / "small.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


run = functools.partial(commands.run, "train")


def bits(folder, *names):
    return [(folder / f"{name}.safetensors").read_bytes() for name in names]


@pytest.fixture(scope="module")
def done(folder):
    """A training of both steps by the command; the folder and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run(*FILES, *SHORT, "--pretrain-epochs", "2", "-o", "done")
    assert result.exit_code == 0, result.output
    return folder / "done", result.output


def test_files_and_summary(done):
    output, said = done
    names = {path.name for path in output.iterdir()}
    ends = ("safetensors", "json", "history.csv", "manifest.json")
    assert names == {f"{name}.{end}" for name in ("pretrain", "fcl") for end in ends} | {
        "stores", "settings.yaml", "train.json", "train.log",
    }  # fmt: skip
    assert "zero forces" in said and "fcl calibrate done/fcl.safetensors" in said and "of 3" in said
    log = (output / "train.log").read_text()
    assert "8 structures" in log and "reference energies subtracted (eV)" in log and "fcl: 8 structures, 2 steps" in log
    card = json.loads((output / "fcl.json").read_text())
    assert set(card["reference_energies_ev"]) >= {"C", "H"} and card["stage"] == "train_fcl"
    assert max(card["training_structures"].values()) <= 8 and set(card["training_structures"]) >= {"C", "H"}
    shown = yaml.safe_load((output / "settings.yaml").read_text())
    assert shown["pretrain"]["milestones"] == [] and shown["fcl"]["epochs"] == 3 and shown["fcl"]["seeds"] == [1]


def test_python_does_the_same(done, folder, tmp_path):
    settings = {**SETTINGS, "pretrain": {"epochs": 2, "batch_size": 4}, "fcl": {"epochs": 3, "batch_size": 4}}
    settings["compute"] = {**settings["compute"], "device": "cpu"}
    files = {"train": ["a.xyz", "b.xyz"], "val": "val.xyz", "energy_key": "REF_energy"}
    models = fcl.train(tmp_path, **files, settings=settings)
    assert bits(tmp_path, "pretrain", "fcl") == bits(done[0], "pretrain", "fcl")
    assert [model.new for model in models] == [True, True] and models[1].file == tmp_path / "fcl.safetensors"
    assert [model.new for model in fcl.train(tmp_path, **files, settings=settings)] == [False, False]
    start = tmp_path / "pretrain.safetensors"  # the same pre-training, which brings its settings of the model
    del settings["model"]
    (model,) = fcl.train(tmp_path / "again", **files, settings=settings, pretrained=start)
    assert model.new and bits(tmp_path / "again", "fcl") == bits(done[0], "fcl")


def test_the_same_again_does_nothing_and_something_else_is_refused(done, folder):
    output = done[0]
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix in (".safetensors", ".h5")}
    command = (*FILES, *SHORT, "--pretrain-epochs", "2", "-o", "done")
    again = run(*command, "--json")
    assert again.exit_code == 0 and "is there, trained with these settings on these data" in again.stderr
    assert [model["new"] for model in json.loads(again.stdout)] == [False, False]
    for more, key in {("--seed", "5"): "fcl.seeds", ("--learning-rate", "0.1"): "fcl.learning_rate"}.items():
        other = run(*command, *more)
        assert other.exit_code == 1 and f"trained with other settings or data ({key})" in other.output
    other_data = ("--train", "a.xyz", *FILES[4:])
    assert "data.train.files" in run(*other_data, *command[len(FILES) :]).output
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_killed_training_continues_to_the_same_bits(done, folder, tmp_path):
    command = ["train", *FILES, *SHORT, "--pretrain-epochs", "2", "-o", str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed/fcl.safetensors").exists()
    settings = run(*command[1:], "--learning-rate", "0.1")
    assert settings.exit_code == 1 and "trained with other settings" in settings.output
    resumed = run(*command[1:])
    assert resumed.exit_code == 0 and "train_fcl: goes on after" in resumed.output
    assert bits(tmp_path / "killed", "pretrain", "fcl") == bits(done[0], "pretrain", "fcl")
    assert not (tmp_path / "killed/checkpoints").exists()


def test_one_file_is_divided_and_a_static_model_is_evaluated(folder):
    options = ("--data", "all.xyz", "--group", "formula", "--val-fraction", "0.25", "--energy-key", "REF_energy")
    done = run(*options, *SHORT, "--kind", "static", "--cutoff", "5", "-o", "static", "--json")
    assert done.exit_code == 0, done.output
    (model,) = json.loads(done.stdout)
    assert json.loads((folder / "static/static.json").read_text())["training_cutoff_angstrom"] == 5.0
    counts = [json.loads((folder / f"static/stores/{s}.manifest.json").read_text())["extra"] for s in ("train", "val")]
    assert sum(count["structures"] for count in counts) == 12 and counts[1]["structures"] in (2, 3, 4)
    keys = ("--cutoffs", "5", "--energy-key", "REF_energy", "--json")
    evaluated = commands.run("evaluate", "static/static.safetensors", "all.xyz", *keys)
    error = json.loads(evaluated.stdout)["results"][0]["energy_mae_ev_per_atom"]
    assert error < 5 * model["trivial_energy_mae"] + 5.0  # without the reference energies: above 100 eV


def test_a_data_manifest(folder):
    manifest = {
        "name": "own", "title": "own", "licence": "MIT", "citation": "none", "version": "1",
        "keys": {"energy": "REF_energy", "split": "part"}, "reference_energies": "fit",
        "splits": {"train": {"file": "all.xyz", "fraction": 0.7}, "val": {"file": "all.xyz", "fraction": 0.3}},
    }  # fmt: skip
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    done = run("--data", "manifest.yaml", *SHORT, "--kind", "pretrain", "-o", "manifest")
    assert done.exit_code == 0 and "--from-pretrained manifest/pretrain.safetensors" in done.output
    refused = run("--data", "manifest.yaml", "--energy-key", "E", "-o", "refused")
    assert refused.exit_code == 1 and "leave energy_key out" in refused.output


def test_large_batches_and_copies_of_structures_are_warnings(folder):
    small = ("--config", "small.yaml", "--epochs", "1", "--kind", "pretrain")
    done = run(
        "--train",
        "a.xyz",
        "--val",
        "mixed.xyz",
        *FILES[6:],
        *small,
        "-o",
        "large",
        "--reference-energies",
        "C=-250,H=-110,N=-290,O=-450,S=-300,F=-600,Cl=-400",
    )
    assert "pretrain.batch_size: 50 exceeds the 5 training structures" in done.output, done.output
    assert "1 of 8 structures for validation are training structures, too" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "a.xyz"), "give files for train and for val"),
        (("--data", "all.xyz", "--val", "val.xyz"), "give files for train and for val"),
        ((*FILES, "--group", "formula"), "val_fraction and group divide one file"),
        (("--train", "a.xyz", "--val", "a.xyz"), "a.xyz: is among the training data too"),
        (("--train", "a.xyz", "--val", "nothing.xyz"), "nothing.xyz: no such file"),
        (("--train", "a.xyz", "--val", "val.xyz"), "a.xyz: frame 0: energy: missing; the frame contains REF_energy"),
        ((*FILES, "--max-force", "1e-6"), "a.xyz: frame 0: forces:"),
        ((*FILES, "--config", "typo.yaml"), "fcl.epoch: unknown key; did you mean 'epochs'?"),
        ((*FILES, "--config", "broken.yaml"), "broken.yaml: not valid YAML"),
        ((*FILES, "--config", "late.yaml"), "pretrain.milestones: 300 is never reached in pretrain.epochs = 200"),
        ((*FILES, "--cutoff", "8"), "pretrain.cutoff: 8 A lies outside [0, 7] A"),
        ((*FILES, "--dtype", "float16"), "compute.dtype: "),
        ((*FILES, "--kind", "static"), "static.cutoffs: name the one cutoff"),
        ((*FILES, "--from-pretrained", "embedded"), "is a flexible model; FCL starts from a static one"),
        ((*FILES, "--from-pretrained", "embedded", "--cutoff", "5"), "nothing is trained at one cutoff"),
        ((*FILES, "--kind", "pretrain", "--pretrain-epochs", "5"), "is for the pre-training of --kind fcl"),
        ((*FILES, *AS_THEY_ARE), "pretrain: training data: energies of 10"),
        ((*FILES, "--kind", "static", "--cutoff", "6", *AS_THEY_ARE), "--reference-energies of fcl train"),
        ((*FILES, "--reference-energies", "fitted"), "neither fit, none nor energies by symbol"),
        ((*FILES, "--reference-energies", "H=x"), "is not of the form"),
        ((*FILES, "--reference-energies", "H=1"), "reference_energies: no value for C"),
        ((*FILES, "--reference-energies", "H=nan"), "H: is not a finite number"),
        ((*FILES, "--reference-energies", "Xx=1"), "error: own data: reference_energies: 'Xx' is no chemical symbol"),
        ((*FILES, "--forces-key", ""), "is empty: give a name, or leave the option out"),
        (("--data", "all.xyz", "--energy-key", "REF_energy", "--group", " "), "is empty: give a name, or leave"),
        ((*FILES, "--forces-key", "large"), "pretrain: training data: forces of 1e+06 eV/A (RMS): is this their unit?"),
    ],
)
def test_bad_input_is_an_error_of_one_sentence(folder, arguments, message, tmp_path):
    (folder / "typo.yaml").write_text("fcl: {epoch: 3}")
    (folder / "broken.yaml").write_text("fcl: {")
    (folder / "late.yaml").write_text("pretrain: {milestones: [300]}")
    done = run(*arguments, "-o", str(tmp_path / "bad"))
    said = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code in (1, 2) and message in said and "Traceback" not in said
    assert not list(tmp_path.glob("bad/*.safetensors"))


def test_an_output_that_is_a_file(folder, tmp_path):
    (tmp_path / "model").write_text("x")
    done = run(*FILES, *SHORT, "-o", str(tmp_path / "model"))
    assert done.exit_code == 1 and "model: is a file, and the output is a folder" in done.stderr


@pytest.mark.parametrize("key", ["energy_key", "forces_key", "group"])
def test_keys_of_the_library_are_names(tmp_path, key):
    with pytest.raises(ValueError, match="'' is no key of the data"):
        train(tmp_path / "m", data="all.xyz", **{key: ""})
