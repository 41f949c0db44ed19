"""The trainings of the library: those of the workflow's stages, with and without a study around them, bit for bit."""

import csv
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import fcl
from examples import SMALL_MODEL, frame_settings, structures
from fcl.calibration.optimise import calibrate
from fcl.calibration.system import Goal, calibrate_own
from fcl.config.load import load_config, training_settings
from fcl.data.batch import GraphData
from fcl.data.store import read_store
from fcl.models.files import load
from fcl.runs.code_digest import sources
from fcl.runs.files import sha256_file
from fcl.study.stages import training as stages
from fcl.study.stages.data import build_store
from fcl.training import recipe
from project import ROOT

pytestmark = pytest.mark.heavy

SHORT = {"epochs": 2, "batch_size": 4}
SETTINGS = {
    "model": {**SMALL_MODEL, "radial_mlp": [16, 16]}, "pretrain": SHORT, "fcl": SHORT,
    "static": {**SHORT, "cutoffs": [4.5]}, "compute": {"device": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def study():
    """The protocol with `SETTINGS`, as a study of the workflow."""
    config = load_config(ROOT / "config.yaml")
    study = config.model_copy(update={"studies": {"short": {}}}).resolve("short")
    return study.narrowed(**SETTINGS).narrowed(pretrain={"milestones": []}, static={"milestones": []})


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    """Structures, and the stores and models that the stages of the workflow make of them."""
    folder = tmp_path_factory.mktemp("recipe")
    rng = np.random.default_rng(3)
    for split in ("train", "val"):
        frames = []
        for atoms in structures()[: 6 if split == "train" else 4]:
            frame = Atoms(atoms)
            forces = rng.normal(scale=0.2, size=(len(atoms), 3))
            frame.calc = SinglePointCalculator(frame, energy=-3.0 * len(atoms), forces=forces)
            frames.append(frame)
        write(folder / f"{split}.xyz", frames, format="extxyz")
        references = folder / "train.h5" if split == "val" else None
        frames = frame_settings(split, keys={"stress": None}, reference_energies="fit")
        outputs = (folder / f"{split}{end}" for end in (".h5", ".rejected.csv", ".manifest.json"))
        build_store(study, [folder / f"{split}.xyz"], frames, 100, 1, *outputs, references)
    data = folder / "train.h5", folder / "val.h5"
    stages.pretrain(study, *data, 0, *outputs_of(folder, "pretrain"))
    stages.train_fcl(study, *data, folder / "pretrain.safetensors", 1, *outputs_of(folder, "fcl"))
    stages.train_static(study, *data, 4.5, 1, *outputs_of(folder, "static"))
    return folder


def outputs_of(folder, name):
    return recipe.Outputs(*(folder / f"{name}.{end}" for end in ("safetensors", "csv", "manifest.json")))


def test_what_it_returns_is_what_it_writes(folder, study, tmp_path):
    outputs = outputs_of(tmp_path, "static")
    model, history = recipe.train_static(study, folder / "train.h5", folder / "val.h5", 4.5, 1, outputs)
    state = load(outputs.model).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    rows = list(csv.DictReader(outputs.history.open()))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([row["val_loss"] for row in history])
    assert sha256_file(outputs.model) == sha256_file(folder / "static.safetensors")


def test_own_data_without_a_study_give_the_same_bits_as_the_workflow(folder, tmp_path):
    for kind, names in {"fcl": ("pretrain", "fcl"), "static": ("static",)}.items():
        models = fcl.train(
            tmp_path, train=folder / "train.xyz", val=folder / "val.xyz", kind=kind, settings=SETTINGS,
        )  # fmt: skip
        assert [model.name for model in models] == list(names)
        for name in names:
            assert sha256_file(tmp_path / f"{name}.safetensors") == sha256_file(folder / f"{name}.safetensors"), name
            ours, theirs = (json.loads((place / f"{name}.json").read_text()) for place in (tmp_path, folder))
            assert ours.pop("study") == "train" and theirs.pop("study") == "short" and ours == theirs


def test_without_sampling_there_is_one_cutoff_and_the_same_bessel_functions(folder, study, tmp_path):
    """r_min = r_max = 6 A with a reach of 7 A: as FCL otherwise, but it is refused at other cutoffs."""
    fixed = study.narrowed(cutoffs={"r_min": 6.0, "r_max": 6.0, "reach": 7.0}, fcl={"validation_cutoffs": [6.0]})
    data = folder / "train.h5", folder / "val.h5", folder / "pretrain.safetensors"
    _, history = recipe.train_fcl(fixed, *data, 1, outputs_of(tmp_path, "fixed"))
    assert {row["mean_cutoff_angstrom"] for row in history} == {6.0}
    model, sampled = load(tmp_path / "fixed.safetensors"), load(folder / "fcl.safetensors")
    assert (model.bessel_range, model.cutoff_limit) == (sampled.bessel_range, 6.0) == (7.0, 6.0)
    assert model.single_cutoff and not sampled.single_cutoff
    model.check_cutoff(6.0)
    sampled.check_cutoff(5.0)
    with pytest.raises(ValueError, match=r"an FCL model trained at 6\.0 A only cannot be evaluated at 5\.0 A"):
        model.check_cutoff(5.0)
    graphs, settings = GraphData(read_store(data[1]), torch.float32, "cpu"), paper().calibration
    with pytest.raises(ValueError, match="trained at 6 A only: there is nothing to calibrate"):
        calibrate(model, graphs, settings, paper().loss, 1e-3, seed=0)
    with pytest.raises(ValueError, match="one cutoff, 6.0 A: there is nothing to optimise"):
        calibrate_own(model, graphs, Goal(lam=1e-3))


def test_the_reach_is_the_range_of_the_bessel_functions_of_fcl(folder, study, tmp_path):
    wider = study.narrowed(cutoffs={"reach": 7.5}, fcl={"epochs": 1})
    data = folder / "train.h5", folder / "val.h5"
    model, _ = recipe.train_fcl(wider, *data, folder / "pretrain.safetensors", 1, outputs_of(tmp_path, "fcl"))
    assert (model.bessel_range, model.cutoff_limit) == (7.5, 7.0)
    assert load(tmp_path / "fcl.safetensors").bessel_range == 7.5
    static, _ = recipe.train_static(wider.narrowed(static={"epochs": 1}), *data, 4.5, 1, outputs_of(tmp_path, "static"))
    assert static.bessel_range == 4.5


def test_the_identity_of_a_training_is_that_of_the_library():
    for stage in ("pretrain", "train_static", "train_fcl"):
        assert not [name for name in sources(f"fcl.training.recipe:{stage}") if name.startswith("fcl.study")]


def paper():
    return load_config(ROOT / "config.yaml").resolve("paper")


def test_settings_of_trainings_are_the_protocol():
    own = training_settings({})
    sections = ("model", "cutoffs", "loss", "pretrain", "fcl", "static", "compute")
    assert own.digest(*sections) == paper().digest(*sections)
    shorter = training_settings({"pretrain": {"epochs": 30}, "cutoffs": {"r_max": 8.0}})  # no matter what studies need
    assert shorter.pretrain.milestones == (10, 20) and shorter.static == own.static
