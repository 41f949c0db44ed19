"""Cutoffs for a tolerance: a problem with a known answer, and a trained model with held-out structures."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fcl.calibration.folds import errors_at
from fcl.calibration.path import CalibrationPlan
from fcl.calibration.system import Goal, calibrate_own
from fcl.calibration.tolerance import cheapest_within, labelled_by
from fcl.data.batch import GraphData
from fcl.data.groups import split_groups
from fcl.data.read import frames_of
from fcl.data.store import arrays_from_frames
from fcl.evaluation.errors import error_bound, force_rmse, joined, relative_increase
from fcl.models.files import load
from known_models import Shrinking

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def data(crystals):
    return GraphData(arrays_from_frames(frames_of(crystals, subset="SHIFTML-molcrys"), 7.0), torch.float32)


@pytest.fixture(scope="module")
def training(crystals):
    path = crystals.with_name("train.xyz.gz")
    return GraphData(arrays_from_frames(frames_of(path, subset="SHIFTML-molcrys"), 7.0), torch.float32)


@pytest.fixture
def model(trained_model):
    return load(trained_model)


def plan(**values):
    return CalibrationPlan.for_structures(
        12, on_path=True, **({"lower_bound": 3.5, "upper_bound": 7.0, "batch_size": 4} | values)
    )


@pytest.mark.parametrize(("power", "limit"), [(1.0, 0.75), (0.5, 0.9)], ids=["convex", "concave"])
def test_the_cheapest_cutoffs_of_a_known_problem(data, power, limit):
    """Error (6 - a)^power <= limit at a = 6 - limit^(1/power); no lambda ends there where the error is concave."""
    cutoffs, best, trials = cheapest_within(
        Shrinking(1.0, power), data, plan(), limit, indices=torch.arange(12), seed=0, margin=0.0, refinements=6
    )
    assert best.force_rmse <= limit
    passing = [trial for trial in trials if trial.force_rmse <= limit]
    assert best.pairs_per_atom == min(trial.pairs_per_atom for trial in passing) < trials[0].pairs_per_atom
    failing = [trial for trial in trials[2:] if trial.force_rmse > limit]
    assert min(trial.position for trial in failing) > best.position > 0
    assert best.force_rmse == pytest.approx(limit, abs=0.03)
    found = force_rmse(errors_at(Shrinking(1.0, power), data, cutoffs))
    assert found == pytest.approx(limit, abs=0.05)


def test_when_the_lower_bound_is_good_enough_nothing_is_optimised(data):
    cutoffs, best, trials = cheapest_within(Shrinking(0.1), data, plan(), 1.0, indices=torch.arange(12), seed=0)
    assert set(cutoffs.values()) == {3.5} and len(trials) == 2 and best.lam is None


def test_a_limit_that_the_start_exceeds_is_an_error(data):
    with pytest.raises(ValueError, match=r"force RMSE at 5 A is 1 eV/A already, above the limit of 0.5"):
        cheapest_within(Shrinking(1.0), data, plan(initial_cutoff=5.0), 0.5, indices=torch.arange(4), seed=0)
    with pytest.raises(ValueError, match="structures of 1 groups cannot be split into 2 parts"):
        cheapest_within(Shrinking(1.0), data, plan(), 2.0, indices=torch.arange(1), seed=0)


def test_each_path_is_judged_by_structures_that_it_leaves_out(data, monkeypatch):
    """All structures of ``indices``, each once, never by the path that saw it or another one of its group."""
    seen, judged = [], []
    assert len(set(data.groups()[1:11].tolist())) < 10  # of the crystals some are variants of each other
    monkeypatch.setattr(
        "fcl.calibration.folds.CutoffPath", lambda *_, indices, **options: seen.append(indices) or Fixed()
    )
    monkeypatch.setattr(
        "fcl.calibration.folds.errors_at",
        lambda model, data, cutoffs, indices: judged.append(indices) or errors_at(model, data, cutoffs, indices),
    )
    used = torch.arange(1, 11)
    cheapest_within(Shrinking(1.0), data, plan(), 0.75, indices=used, seed=0)
    assert len(seen) == 3
    for fit, left_out in zip(seen * (len(judged) // 3), judged, strict=True):
        assert sorted(torch.cat([fit, left_out]).tolist()) == used.tolist()
        assert not set(data.groups()[fit].tolist()) & set(data.groups()[left_out].tolist())


class Fixed:
    """A path that stays where it begins."""

    def __init__(self):
        self.tables = []

    def extend(self, lam):
        pass

    def at(self, position):
        return dict.fromkeys(["H", "C", "N", "O", "S", "P", "Si", "Cl", "K", "Ca"], 6.0)


def test_joined_errors_are_those_of_all_structures(model, data):
    parts = map(torch.as_tensor, split_groups(data.groups().tolist(), (2, 1), 0))
    together = joined([errors_at(model, data, 5.0, part) for part in parts])
    assert together.metrics() == pytest.approx(errors_at(model, data, 5.0).metrics())


def test_warm_start(model, data):
    """A second optimisation goes on from the cutoffs that it is given."""
    from fcl.calibration.optimise import calibrate
    from fcl.training.loss import LOSS

    start = {"H": 4.2, "C": 5.1}
    short = CalibrationPlan(epochs=1, lower_bound=3.5, upper_bound=7.0, batch_size=12)
    row = calibrate(model, data, short, LOSS, 1e-3, seed=0, start=start).history[0]
    assert (row["cutoff_H"], row["cutoff_C"], row["cutoff_O"]) == (pytest.approx(4.2), pytest.approx(5.1), 6.0)


def test_cutoffs_within_a_tolerance_are_checked_on_new_structures(model, data, training, capsys):
    from fcl.cli.calibrate import print_answer

    trials = []
    calibrate_own(model, training, Goal(max_increase=10.0), held_out=data, epochs=1, on_trial=trials.append)
    worst = trials[1].bound / trials[0].force_rmse - 1.0  # at the lower bound: a tolerance between makes work
    assert worst > 0.0
    trials.clear()
    found = calibrate_own(
        model, training, Goal(max_increase=worst / 2), held_out=data, epochs=1, on_trial=trials.append
    )
    limit = (1.0 + worst / 2) * trials[0].force_rmse
    chosen = found.expected
    assert chosen in trials and any(trial.bound > limit for trial in trials)
    assert chosen.force_rmse < chosen.bound <= limit
    assert chosen.pairs_per_atom == min(trial.pairs_per_atom for trial in trials if trial.bound <= limit)
    assert found.saving > 0.1
    assert found.sizes == {"calibration": 96, "held_out": 12}
    rise, uncertainty = found.increase()
    assert math.isfinite(rise) and 0.0 < uncertainty < 0.5
    unchanged = replace(found, cutoffs=dict.fromkeys(found.cutoffs, 6.0), chosen=found.reference)
    assert unchanged.kept_reference and not found.kept_reference
    print_answer(unchanged, Path("own.json"))  # "0% fewer" alone could be taken for a result
    assert f"no smaller cutoffs met the goal in {len(found.trials)} trials" in capsys.readouterr().out
    facts = found.facts()
    assert facts["force_rmse_increase"] == rise and facts["labels"] == "of the data"
    assert facts["pairs_per_atom"] < facts["reference_pairs_per_atom"]


def test_without_labels_the_added_error_is_bounded(model, data):
    """Labels that are there do not matter; by the triangle inequality the true RMSE rises by no more than is said."""
    blind = GraphData(arrays_from_frames(frames_of_without_labels(data), 7.0), torch.float32)
    goal = Goal(lam=1e-4)
    found = calibrate_own(model, blind, goal, labels=False, reference_cutoff=6.5, epochs=4)
    lone = copy.copy(data)
    lone._groups = blind.groups()  # which name no parents
    same = calibrate_own(model, lone, goal, labels=False, reference_cutoff=6.5, epochs=4)
    assert found.cutoffs == same.cutoffs
    assert found.increase() is None and "added_force_rmse_ev_per_angstrom" in found.facts()
    assert force_rmse(found.reference) < 1e-5  # rounding in float32
    held_out = torch.as_tensor(split_groups(range(len(data)), (3, 1), 0)[1])  # these frames name no parents
    before, after = (force_rmse(errors_at(model, data, cutoffs, held_out)) for cutoffs in (6.5, found.cutoffs))
    assert after - before <= found.facts()["added_force_rmse_ev_per_angstrom"] + 1e-6


def frames_of_without_labels(data):
    """The structures of `data` with labels that are zero."""
    from fcl.data.frames import Frame

    frames = []
    for k in range(len(data)):
        batch = data.batch(torch.tensor([k]))
        zero = torch.zeros(batch.n_atoms, 3).numpy()
        cell = batch.cells[0].double().numpy()
        periodic = torch.ones(3, dtype=torch.bool).numpy()
        numbers, positions = batch.numbers.numpy(), batch.positions.double().numpy()
        frames.append(Frame(numbers, positions, cell, periodic, 0.0, zero, "default", ""))
    return frames


def test_own_labels_are_the_models(model, data):
    own = labelled_by(model, data, 6.0)
    assert force_rmse(errors_at(model, own, 6.0)) < 1e-5
    assert force_rmse(errors_at(model, own, 4.5)) > 0.0
    assert force_rmse(errors_at(model, data, 6.0)) > 0.1  # the data are not touched


def test_own_labels_stand_in_for_energies_that_are_missing(model, data):
    lacking = copy.copy(data)
    lacking.energy_mask, lacking.without_energy = torch.arange(len(data)) != 1, 1
    own = labelled_by(model, lacking, 6.0, torch.tensor([0, 1, 3]))
    assert torch.nonzero(own.energy_mask).flatten().tolist() == [0, 1, 3] and own.without_energy == len(data) - 3
    assert lacking.without_energy == 1 and labelled_by(model, lacking, 6.0).without_energy == 0
    own.require_energies("calibration", torch.tensor([0, 1, 3]))


def test_a_separate_file_of_held_out_structures(model, data):
    found = calibrate_own(model, data, Goal(lam=1e-3), held_out=data, epochs=1)
    assert found.sizes == {"calibration": 12, "held_out": 12}
    reference = errors_at(model, data, 6.0)
    assert relative_increase(found.reference, found.chosen)[0] == pytest.approx(
        force_rmse(found.chosen) / force_rmse(reference) - 1.0
    )


def test_the_margin_is_a_standard_error(model, data):
    """Of the rise, not of the RMSE, where there is a reference; none where nothing changes."""
    reference, errors = errors_at(model, data, 6.0), errors_at(model, data, 4.5)
    rise, uncertainty = relative_increase(reference, errors)
    assert rise == pytest.approx(force_rmse(errors) / force_rmse(reference) - 1.0)
    assert error_bound(errors, reference) == pytest.approx(force_rmse(reference) * (1.0 + rise + uncertainty))
    assert error_bound(reference, reference) == pytest.approx(force_rmse(reference))
    assert error_bound(errors, reference, 0.0) == pytest.approx(force_rmse(errors))
    assert error_bound(errors) > force_rmse(errors)
    # the standard error of a mean square by theory, through the square root; groups of equal structures count once
    errors = replace(errors, groups=np.arange(len(data)))
    squares = errors.force_square / (3 * errors.atoms)
    expected = squares.std() / len(squares) ** 0.5 / (2 * force_rmse(errors))
    assert error_bound(errors) - force_rmse(errors) == pytest.approx(expected, rel=0.3)
    twice = joined([errors, errors])
    assert error_bound(twice) - force_rmse(twice) == pytest.approx(error_bound(errors) - force_rmse(errors))


def test_goals_and_bounds(model, data, small_settings):
    from fcl.models.files import build_model

    with pytest.raises(ValueError, match="one goal is needed"):
        Goal()
    with pytest.raises(ValueError, match="one goal is needed"):
        Goal(lam=1e-3, max_increase=0.01)
    with pytest.raises(ValueError, match="max_increase must be positive"):
        Goal(max_increase=-0.01)
    with pytest.raises(ValueError, match="a percentage of it has no meaning"):
        calibrate_own(model, data, Goal(max_increase=0.01), labels=False)
    with pytest.raises(ValueError, match="for structures without labels"):
        calibrate_own(model, data, Goal(max_added=0.01))
    with pytest.raises(ValueError, match=r"initial cutoff of 7.5 A is not within \[3.5, 7.0\] A"):
        calibrate_own(model, data, Goal(lam=1e-3), reference_cutoff=7.5)
    with pytest.raises(ValueError, match="a static model has one cutoff, 5.0 A"):
        calibrate_own(build_model("static", small_settings, 5.0, 20.0), data, Goal(lam=1e-3))
    with pytest.raises(ValueError, match="give a lower bound"):
        calibrate_own(build_model("fcl", small_settings, 7.0), data, Goal(lam=1e-3))
