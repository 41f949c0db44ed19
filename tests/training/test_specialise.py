"""A flexible model trained on at cutoffs that were chosen for it: its file, its cutoffs, labels or a teacher."""

import json
import warnings

import numpy as np
import pytest
import torch
from ase.io import read, write
from typer.testing import CliRunner

import fcl
from fcl import FCLCalculator
from fcl.cli.main import app
from fcl.cutoffs.choice import CutoffWarning
from fcl.cutoffs.file import write_cutoffs
from fcl.cutoffs.rules import cutoff_rule
from fcl.data.batch import GraphData
from fcl.data.store import read_store
from fcl.evaluation.errors import evaluate
from fcl.models.files import load
from project import ROOT

pytestmark = pytest.mark.heavy
CUTOFFS = {"H": 3.6, "C": 4.1, "N": 4.0, "O": 3.9}
SETTINGS = {"compute": {"device": "cpu", "checkpoint_seconds": 0}, "fcl": {"epochs": 3, "batch_size": 4}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained_model):
    folder = tmp_path_factory.mktemp("special")
    frames = read(ROOT / "resources" / "embedded" / "val.xyz.gz", ":")
    frames = [atoms for atoms in frames if set(atoms.symbols) <= CUTOFFS.keys() and len(atoms) < 30][:12]
    assert len(frames) >= 8
    write(folder / "labelled.xyz", frames, format="extxyz")
    for atoms in frames:
        atoms.calc = None
    write(folder / "bare.xyz", frames, format="extxyz")
    sha = json.loads(trained_model.with_suffix(".json").read_text())["weights_sha256"]
    write_cutoffs(folder / "cutoffs.json", CUTOFFS, {"weights_sha256": sha})
    return folder


def special(folder, trained_model, output, data="labelled.xyz", **options):
    options = {"settings": SETTINGS, "warm": True, "val_fraction": 0.25, "seed": 1, **options}
    options = {"cutoffs": folder / "cutoffs.json", "reference_energies": "none", **options}
    (model,) = fcl.train(output, data=folder / data, pretrained=trained_model, **options)
    return model


@pytest.fixture(scope="module")
def done(folder, trained_model, tmp_path_factory):
    return special(folder, trained_model, tmp_path_factory.mktemp("out"))


def loss(file, store):
    data = GraphData(read_store(store), torch.float64)
    found = evaluate(load(file, dtype=torch.float64), data, cutoff_rule(CUTOFFS, torch.float64, "cpu"), 8).metrics()
    return found["force_mae_ev_per_angstrom"]


def test_it_is_better_at_its_cutoffs_and_says_which_they_are(done, trained_model, folder):
    store = done.file.parent / "stores" / "val.h5"
    assert loss(done.file, store) == pytest.approx(done.force_mae, rel=1e-4)
    assert done.force_mae < loss(trained_model, store)
    card = json.loads(done.file.with_suffix(".json").read_text())
    given = json.loads(trained_model.with_suffix(".json").read_text())
    assert card["cutoffs_angstrom"] == CUTOFFS and card["start_sha256"] == given["weights_sha256"]
    assert (card["kind"], card["r_max_angstrom"], card["r_min_angstrom"]) == ("fcl", 7.0, 3.5)
    shown = CliRunner().invoke(app, ["info", str(done.file)])
    assert "specialised for H 3.60  C 4.10  N 4.00  O 3.90 A" in shown.stdout


def test_its_cutoffs_are_the_default_and_others_a_warning(done, folder):
    atoms = read(folder / "labelled.xyz")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CutoffWarning)
        energies = [
            FCLCalculator(done.file, cutoffs, device="cpu").get_potential_energy(atoms)
            for cutoffs in (None, CUTOFFS, folder / "cutoffs.json", {"H": 3.6, "C": 4.1, "N": 4.0, "O": 3.9})
        ]
    assert np.ptp(energies) == 0.0
    for cutoffs in (5.0, {**CUTOFFS, "H": 3.7}):
        with pytest.warns(CutoffWarning, match="not those for which the model was specialised"):
            FCLCalculator(done.file, cutoffs, device="cpu")


def test_again_and_with_other_cutoffs(done, folder, trained_model, tmp_path):
    assert not special(folder, trained_model, done.file.parent).new
    write_cutoffs(tmp_path / "other.json", {**CUTOFFS, "H": 3.7}, {})
    with pytest.raises(ValueError, match="was trained with other settings or data"):
        special(folder, trained_model, done.file.parent, cutoffs=tmp_path / "other.json")


def test_the_flexible_model_as_teacher(folder, trained_model, tmp_path):
    """Its labels are those at 6 A, beyond the cutoffs of the specialised model."""
    output = special(folder, trained_model, tmp_path, "bare.xyz", teacher=True, reference_energies=None)
    labels = read_store(tmp_path / "stores" / "train.h5")
    calculator = FCLCalculator(trained_model, 6.0, device="cpu", radial="network")
    taught = np.array([calculator.get_potential_energy(atoms) for atoms in read(folder / "bare.xyz", ":")])
    for energy in labels.energy:  # float32
        assert abs(taught - energy).min() < 1e-5 * abs(energy)
    assert output.force_mae < output.trivial_force_mae


def test_total_energies_are_refused_as_for_any_given_model(folder, trained_model, tmp_path):
    frames = read(folder / "labelled.xyz", ":")
    for atoms in frames:
        atoms.calc.results["energy"] -= 500.0 * len(atoms)
    write(folder / "total.xyz", frames, format="extxyz")
    with pytest.raises(ValueError, match="these look like total energies"):
        special(folder, trained_model, tmp_path, "total.xyz", reference_energies=None)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--from", "MODEL", "--data", "DATA"], "is a flexible model; FCL starts from a static one, or give cutoffs"),
        (["--data", "DATA", "--cutoffs", "CUTOFFS"], "needs the model of --from"),
        (["--from", "MODEL", "--data", "DATA", "--cutoffs", "FAR"], "far.json: cutoffs: H: cutoff 9.0 A is not within"),
        (["--from", "MODEL", "--data", "DATA", "--cutoffs", "FEW"], "few.json: no cutoff is given for H"),
    ],
)
def test_what_does_not_fit_is_said(folder, trained_model, arguments, message, tmp_path):
    write_cutoffs(folder / "far.json", {**CUTOFFS, "H": 9.0}, {})
    write_cutoffs(folder / "few.json", {symbol: a for symbol, a in CUTOFFS.items() if symbol != "H"}, {})
    names = {"MODEL": trained_model, "DATA": folder / "labelled.xyz", "CUTOFFS": folder / "cutoffs.json"}
    names |= {"FAR": folder / "far.json", "FEW": folder / "few.json"}
    arguments = [str(names.get(one, one)) for one in arguments]
    found = CliRunner().invoke(app, ["train", *arguments, "-o", str(tmp_path / "new")])
    assert found.exit_code != 0 and message in " ".join(found.stderr.split())


def test_nothing_is_left_to_choose(done, folder):
    found = CliRunner().invoke(
        app,
        ["calibrate", str(done.file), str(folder / "labelled.xyz"), "--lambda", "0.001", "-o", str(folder / "x.json")],
    )
    assert found.exit_code == 1 and "was specialised for cutoffs of its own" in found.stderr
