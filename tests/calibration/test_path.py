"""The path of cutoffs over lambda: warm starts, what is kept of a calibration, positions between two lambdas."""

import pytest
import torch

from fcl.calibration.optimise import Calibration
from fcl.calibration.path import CalibrationPlan, CutoffPath
from fcl.training.loss import LOSS

LBFGS = {"lower_bound": 3.5, "upper_bound": 7.0}
BOUNDS = LBFGS | {"optimiser": "adam"}


@pytest.fixture
def calls(monkeypatch):
    """A calibration that goes 0.1 A down a step for four steps, in hydrogen only; its calls are recorded."""
    made = []

    def calibrate(model, data, plan, loss, lam, *, seed, indices, start):
        made.append({"lam": lam, "seed": seed, "indices": indices.tolist(), "start": dict(start)})
        rows = [{"step": k + 1, "cutoff_H": start["H"] - 0.1 * k} for k in range(4)]
        return Calibration({"H": start["H"] - 0.4}, rows)

    monkeypatch.setattr("fcl.calibration.path.calibrate", calibrate)
    return made


def path(structures, plan):
    return CutoffPath(None, None, plan, LOSS, indices=torch.arange(structures), start={"H": 6.0, "C": 6.0}, seed=5)


def test_each_lambda_starts_where_the_one_before_ended_and_elements_that_do_not_occur_stay(calls):
    followed = path(4, CalibrationPlan.for_structures(4, on_path=True, **BOUNDS))
    for lam in (1e-4, 1e-3):
        followed.extend(lam)
    assert [call["lam"] for call in calls] == [1e-4, 1e-3]
    assert calls[1]["start"] == followed.at(1) == {"H": pytest.approx(5.75), "C": 6.0}  # the mean of steps 3 and 4
    assert followed.at(2) == {"H": pytest.approx(5.5), "C": 6.0}
    assert followed.at(0) == {"H": 6.0, "C": 6.0}
    assert followed.at(1.25)["H"] == pytest.approx(5.75 - 0.25 * 0.25)
    assert path(4, None).at(0) == {"H": 6.0, "C": 6.0}


def test_many_structures_are_sampled_anew_at_each_lambda(calls):
    plan = CalibrationPlan.for_structures(10_000, on_path=True, **BOUNDS)
    assert plan.epochs == 1 and plan.sample < 1000
    followed = path(10_000, plan)
    followed.extend(1e-4)
    followed.extend(1e-3)
    first, second = (call["indices"] for call in calls)
    assert len(first) == len(set(first)) == plan.sample and set(first) != set(second)


def test_a_plan_is_long_enough_for_its_task():
    """Adam moves a cutoff by the learning rate a step at most: alone through the interval, on a path through a part."""
    alone = CalibrationPlan.for_structures(64, **BOUNDS)
    assert alone.learning_rate * alone.epochs * 8 > 3.5 and alone.sample is None
    on_path = CalibrationPlan.for_structures(64, on_path=True, **BOUNDS)
    assert 0.35 < on_path.learning_rate * on_path.epochs * 8 < 3.5
    with pytest.raises(ValueError, match="bounds: 7.0 A is not between 0 and 3.5 A"):
        CalibrationPlan.for_structures(4, lower_bound=7.0, upper_bound=3.5)


def test_lbfgs_goes_on_from_the_end_and_follows_one_objective(calls):
    """Neither a mean over steps nor new structures at each lambda."""
    plan = CalibrationPlan.for_structures(10_000, on_path=True, **LBFGS)
    assert plan.optimiser == "lbfgs" and plan.sample < 1000
    followed = path(10_000, plan)
    for lam in (1e-4, 1e-3):
        followed.extend(lam)
    assert followed.at(1)["H"] == pytest.approx(5.6) and calls[1]["start"] == followed.at(1)
    assert len(calls[0]["indices"]) == plan.sample and calls[0]["indices"] == calls[1]["indices"]
    assert CalibrationPlan.for_structures(10_000, **LBFGS).sample is None
