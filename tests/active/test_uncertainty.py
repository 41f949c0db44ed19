"""Measures of uncertainty: features, MaxVol, grades, committees, and how they are judged."""

import itertools

import numpy as np
import pytest
import torch
from ase.build import bulk

from fcl.active.uncertainty import Features, Grade, disagreement, judged, maxvol, measures
from fcl.models.files import build_model, save_model
from fcl.simulation.calculator import FCLCalculator


def cu(seed=0, scale=0.1):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(scale, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def models(small_settings, tmp_path_factory):
    """Files of two untrained models."""
    folder, files = tmp_path_factory.mktemp("models"), []
    for seed in range(2):
        torch.manual_seed(seed)
        model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
        save_model(model, folder / f"{seed}.safetensors", {"stage": "train_fcl", "seed": seed, "r_min_angstrom": 3.5})
        files.append(folder / f"{seed}.safetensors")
    return files


def test_site_energies_are_linear_in_the_features(models):
    atoms = cu()
    atoms.calc = FCLCalculator(models[0], 5.0, radial="network")
    features = Features(atoms.calc).of(atoms)
    weights, shift = (value.detach().numpy() for value in atoms.calc.model.last_layer())
    assert features @ weights + shift == pytest.approx(atoms.get_potential_energies(), abs=1e-10)


def test_maxvol_finds_a_dominant_volume():
    random = np.random.default_rng(0)
    rows = random.standard_normal((14, 3))
    chosen = maxvol(rows)
    weights = rows @ np.linalg.inv(rows[chosen])
    assert np.abs(weights).max() <= 1.0 + 1e-3
    best = max(abs(np.linalg.det(rows[list(three)])) for three in itertools.combinations(range(14), 3))
    assert abs(np.linalg.det(rows[chosen])) > 0.6 * best


def test_maxvol_exchanges_rows():
    """A start (by QR) that is not dominant: Kahan's matrix and one row that is better than the chosen ones."""
    n, c = 12, 0.3
    s = np.sqrt(1.0 - c * c)
    kahan = np.diag(s ** np.arange(n)) @ (np.eye(n) - c * np.triu(np.ones((n, n)), 1))
    rows = np.vstack([kahan.T, 0.9 * np.eye(n) * s ** np.arange(n)])
    assert np.abs(rows @ np.linalg.inv(rows[maxvol(rows)])).max() <= 1.0 + 1e-3


def test_grades():
    random = np.random.default_rng(0)
    features, numbers = random.standard_normal((200, 5)) * [1, 10, 0.1, 3, 0], np.repeat([29, 79], 100)
    grade = Grade.fitted(features, numbers)
    inside = grade.of(features, numbers)
    assert inside.max() <= 1.0 + 1e-3 and inside.min() > 0.0
    assert grade.of(3.0 * features, numbers) == pytest.approx(3.0 * inside)
    new = features[:1].copy()
    new[0, 4] = 1.0  # a feature that has always been zero
    assert grade.of(new, numbers[:1]) > 100.0
    assert grade.of(features[:1], np.array([13])) == np.inf
    again = Grade.restored(grade.record())
    assert (again.of(features, numbers) == inside).all()


def test_grade_is_per_element():
    features = np.vstack([np.eye(2), 0.1 * np.eye(2)])
    grade = Grade.fitted(features, np.array([29, 29, 79, 79]))
    assert grade.of(np.eye(2), np.array([29, 79])) == pytest.approx([1.0, 10.0])


def test_disagreement():
    forces = np.zeros((2, 3, 3))
    forces[0, 1], forces[1, 1] = [1, 0, 0], [-1, 2, 0]
    assert disagreement(forces) == pytest.approx([0.0, 2**0.5, 0.0])


def test_measures(models):
    atoms = cu()
    alone = measures(models[:1], 5.0, (4.5, 6.0), None)
    assert set(alone) == {"cutoffs"}
    calculators = [FCLCalculator(models[0], cutoff) for cutoff in (4.5, 6.0)]
    expected = disagreement(np.array([calculator.get_forces(atoms) for calculator in calculators])).max()
    assert alone["cutoffs"](atoms) == pytest.approx(expected, rel=1e-9) and atoms.calc is None
    features = Features(FCLCalculator(models[0], 5.0))
    known = [cu(seed, 0.02) for seed in range(30)]
    grade = Grade.fitted(np.concatenate([features.of(one) for one in known]), np.full(120, 29))
    both = measures(models, 5.0, (4.5, 6.0), grade)
    assert set(both) == {"cutoffs", "committee", "grade"}
    expected = disagreement(np.array([FCLCalculator(model, 5.0).get_forces(atoms) for model in models])).max()
    assert both["committee"](atoms) == pytest.approx(expected, rel=1e-9)
    assert both["grade"](known[0]) <= 1.01 < both["grade"](cu(0, 0.4))


def test_judged():
    errors = np.arange(40.0)
    right, wrong = judged(errors**2, errors), judged(-errors, errors)
    assert right == {"structures": 40, "rank_correlation": pytest.approx(1.0), "worst_found": 1.0}
    assert wrong["rank_correlation"] == pytest.approx(-1.0) and wrong["worst_found"] == 0.0
    half = errors.copy()
    half[39] = -1.0  # one of the two worst is missed
    assert judged(half, errors)["worst_found"] == 0.5
    assert np.isnan(judged(errors[:2], errors[:2])["rank_correlation"])
    assert np.isnan(judged(np.ones(5), errors[:5])["rank_correlation"])
