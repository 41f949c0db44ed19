"""Exploration: what a run keeps, how it ends, and that it repeats."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk

from fcl.active import extract
from fcl.active.label import atoms_of, plain
from fcl.active.settings import ExploreSettings, SelectSettings
from fcl.active.uncertainty import Features, Grade
from fcl.models.files import build_model, save_model
from fcl.runs.files import write_json

CUBE = plain(bulk("Cu", cubic=True))


@pytest.fixture(scope="module")
def models(small_settings, tmp_path_factory):
    """An untrained model, and the grade of slightly rattled crystals."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.readouts.parameters():
            parameter *= 1e-3  # forces so weak that the atoms fly straight on
    save_model(model, folder / "a.safetensors", {"stage": "train_fcl", "seed": 0, "r_min_angstrom": 3.5})
    found = extract.Models((str(folder / "a.safetensors"),), str(folder / "grade.json"), 4.0)
    features, known = Features(found.calculator()), []
    for seed in range(40):
        atoms = atoms_of(CUBE)
        atoms.rattle(0.05, seed=seed)
        known.append(features.of(atoms))
    write_json(found.grade, Grade.fitted(np.concatenate(known), np.full(160, 29)).record())
    return found


def explored(tmp_path, models, structure=CUBE, temperature=300.0, seed=1, select=None, **explore):
    choice = SelectSettings(**(select or {}))
    settings = ExploreSettings(**({"steps": 40, "interval": 4, "shear": 0.0} | explore))
    file = tmp_path / f"{seed}.json"
    extract.explore(
        structure, temperature, 1.0, [0, 1, seed], models, settings.model_dump(), choice.model_dump(), str(file)
    )
    return json.loads(file.read_text())


def test_frames_above_the_threshold_are_candidates(tmp_path, models):
    select = {"above": 1.5, "stop": 1e9}
    run = explored(tmp_path, models, select=select)
    assert run["frames"] == 11 and run["ended"] == "all steps"
    assert 0 < len(run["candidates"]) < 11 and all(frame["score"] > 1.5 for frame in run["candidates"])
    measure = models.measures([4.0, 5.0])["grade"]
    frame = run["candidates"][-1]
    assert measure(atoms_of(frame["structure"])) == pytest.approx(frame["score"])
    assert run["control"]["frame"] in range(11)
    assert explored(tmp_path, models, select=select) == run
    assert explored(tmp_path, models, select=select, seed=2)["candidates"] != run["candidates"]


def test_a_run_ends_at_the_threshold_and_keeps_that_frame(tmp_path, models):
    run = explored(tmp_path, models, select={"above": 1.5, "stop": 3.0}, temperature=3000.0)
    assert "above 3" in run["ended"] and run["frames"] < 11
    assert run["candidates"][-1]["score"] > 3.0 > max(frame["score"] for frame in run["candidates"][:-1])


def test_atoms_that_collide_end_a_run_and_are_not_kept(tmp_path, models):
    run = explored(tmp_path, models, select={"above": 1.0, "stop": 1e9, "shortest": 0.9}, temperature=20000.0)
    assert "covalent distances" in run["ended"] and 0 < run["frames"] < 11
    nothing = explored(tmp_path, models, select={"shortest": 2.0})
    assert nothing["frames"] == 0 and nothing["control"] is None and nothing["candidates"] == []


def test_a_cell_of_one_atom_is_deformed(tmp_path, models):
    run = explored(tmp_path, models, plain(bulk("Cu")), select={"above": 1e-9, "stop": 1e9}, shear=0.02)
    cells = {str(frame["structure"]["cell"]) for frame in run["candidates"]}
    assert run["frames"] == len(cells) == 11


def test_a_model_that_is_missing_is_an_error(tmp_path, models):
    lost = extract.Models((str(tmp_path / "lost.safetensors"),), models.grade, 4.0)
    with pytest.raises((OSError, ValueError), match="lost"):
        explored(tmp_path, lost)
