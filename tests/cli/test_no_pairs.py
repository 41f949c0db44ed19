"""Structures without any pair of atoms: right values, or one sentence that says why not; and error bars of one."""

import json

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from commands import copy_model, run
from examples import SMALL_MODEL
from fcl.cutoffs.file import read_cutoffs

pytestmark = pytest.mark.heavy

GOALS = {
    "lambda": ("--lambda", "1e-3"),
    "adam": ("--lambda", "1e-3", "--optimiser", "adam"),
    "percentage": ("--max-error-increase", "5%"),
    "unlabelled": ("--no-labels", "--max-added-error", "5"),
}


def labelled(symbols, positions, forces):
    atoms = Atoms(symbols, positions)
    atoms.calc = SinglePointCalculator(atoms, energy=0.5, forces=forces)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained_model, crystals):
    folder = tmp_path_factory.mktemp("no-pairs")
    alone = [labelled(symbol, [[0, 0, 0]], np.zeros((1, 3))) for symbol in "HCNOHCNO"]
    apart = [labelled("HO", [[0, 0, 0], [d, 0, 0]], np.full((2, 3), 0.1)) for d in np.linspace(20, 30, 8)]
    rng = np.random.default_rng(0)
    water = [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]
    waters = [labelled("OHH", water + 0.05 * rng.normal(size=(3, 3)), rng.normal(size=(3, 3))) for _ in range(6)]
    for name, frames in {"alone": alone, "apart": apart, "some": waters + alone, "water": waters}.items():
        write(folder / f"{name}.xyz", frames, format="extxyz")
    write(folder / "one.xyz", waters[0], format="extxyz")
    write(folder / "one-and-more.xyz", [waters[0], *apart[:2]], format="extxyz")
    (folder / "small.yaml").write_text(yaml.safe_dump({"model": {**SMALL_MODEL, "radial_mlp": [16, 16]}}))
    copy_model(trained_model, folder)
    return folder


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("data", ["alone", "apart"])
def test_a_calibration_of_nothing_is_refused(data, goal):
    done = run("calibrate", "small.safetensors", f"{data}.xyz", *GOALS[goal], "-o", "none.json")
    assert done.exit_code == 1 and done.stderr.startswith(f"error: {data}.xyz: calibration: in none of 6 structures")
    assert not done.stdout and "\n" not in done.stderr.strip()


@pytest.mark.parametrize("goal", GOALS)
def test_a_calibration_goes_by_the_structures_that_have_pairs(goal):
    arguments = ("some.xyz", *GOALS[goal], "--held-out", "water.xyz", "-o", f"{goal}.json")
    done = run("calibrate", "small.safetensors", *arguments)
    assert done.exit_code == 0, done.output
    assert "nan" not in done.stdout
    found = read_cutoffs(f"{goal}.json")
    assert found.provenance.not_calibrated == ["C", "N"] and found.cutoffs["C"] == found.cutoffs["N"] == 6.0


def test_structures_to_check_the_answer_have_pairs_too():
    held_out = ("--held-out", "apart.xyz")
    done = run("calibrate", "small.safetensors", "water.xyz", "--lambda", "1e-3", *held_out, "-o", "c.json")
    assert done.exit_code == 1 and "error: apart.xyz: held-out structures: in none of 8 structures" in done.stderr


def test_a_path_without_pairs_is_named_before_anything_is_optimised():
    arguments = (*GOALS["percentage"], "--held-out", "water.xyz", "-o", "fold.json")
    done = run("calibrate", "small.safetensors", "one-and-more.xyz", *arguments)
    message = "error: one-and-more.xyz: calibration: cross-validation: in none of"
    assert done.exit_code == 1 and done.stderr.startswith(message), done.output


def test_no_error_bar_of_one_structure():
    arguments = ("water.xyz", "--lambda", "1e-3", "--held-out", "one.xyz", "-o", "bar.json", "--overwrite")
    done = run("calibrate", "small.safetensors", *arguments)
    assert done.exit_code == 0 and "+-" not in done.stdout and "no error bar: a single group" in done.stdout
    provenance = json.loads(run("calibrate", "small.safetensors", *arguments, "--json").stdout)["provenance"]
    assert provenance["force_rmse_increase_standard_error"] is None and provenance["force_rmse_increase"] is not None


def test_errors_and_predictions():
    rows = json.loads(run("evaluate", "small.safetensors", "alone.xyz", "--json").stdout)["results"]
    assert rows[0]["pairs_per_atom"] == 0.0 and rows[0]["force_rmse_ev_per_angstrom"] == 0.0
    assert run("predict", "small.safetensors", "some.xyz", "-o", "p.xyz", "--overwrite").exit_code == 0
    energies = [atoms.get_potential_energy() for atoms in read("p.xyz", ":")]
    assert np.isfinite(energies).all() and energies[0] != 0.0 and energies[6:] == [energies[6]] * 8


@pytest.mark.parametrize("kind", ["static", "fcl"])
def test_training_on_structures_without_pairs_is_refused(kind, tmp_path):
    options = ("--config", "small.yaml", "--batch-size", "4", "--epochs", "1", "--kind", kind)
    cutoff = ("--cutoff", "6") if kind == "static" else ()
    arguments = ("train", "--train", "apart.xyz", "--val", "water.xyz", *options, *cutoff)
    done = run(*arguments, "-o", str(tmp_path))
    assert done.exit_code == 1, done.output
    assert "error: training data: in none of 8 structures two atoms are within 6 A" in done.stderr


def test_training_where_some_have_pairs(tmp_path):
    options = ("--config", "small.yaml", "--batch-size", "4", "--epochs", "1", "--pretrain-epochs", "1")
    done = run("train", "--train", "some.xyz", "--val", "alone.xyz", *options, "-o", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    assert all(np.isfinite(model["energy_mae"]) for model in json.loads(done.stdout))
