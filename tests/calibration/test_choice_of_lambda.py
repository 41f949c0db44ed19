"""The choice of lambda: a problem with a known answer, its spread, and groups that stay together."""

import numpy as np
import pytest
import torch

from fcl.calibration.choice import cheapest, choose_lambda
from fcl.calibration.path import CalibrationPlan
from fcl.data.batch import GraphData
from fcl.data.frames import FrameRules
from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames
from known_models import Offset

pytestmark = pytest.mark.heavy
LAMBDAS = (1e-2, 1e-4, 1.5e-3)


@pytest.fixture(scope="module")
def data(crystals):
    frames = [f for f in read_frames(crystals, rules=FrameRules(parent="parent")) if f.subset == "SHIFTML-molcrys"]
    return GraphData(arrays_from_frames(frames, 7.0), torch.float32)


def chosen(data, tolerance, **options):
    plan = CalibrationPlan.for_structures(12, on_path=True, lower_bound=3.5, upper_bound=7.0, batch_size=12)
    model = Offset(0.1)
    return choose_lambda(model, data, plan, LAMBDAS, tolerance, indices=torch.arange(12), seed=0, folds=2, **options)


def test_the_cheapest_lambda_within_the_tolerance(data):
    """The gradients of cost and error, 3 lambda a^2 and 0.1, are equal at 14.9, 4.71 and 1.83 A, within [3.5, 6]."""
    found = chosen(data, 1.0)
    assert found.lambdas == (None, 1e-4, 1.5e-3, 1e-2)
    increases = [increase for increase, _ in found.increases]
    assert increases == pytest.approx([0.0, 0.0, 0.129, 0.25], abs=2e-3)
    assert found.lam == 1e-2 and found.shares[3] == 1.0
    between = chosen(data, 0.2)
    assert between.lam == 1.5e-3 and between.shares == [0.0, 0.0, 1.0, 0.0]
    assert [trial["lambda"] for trial in between.trials()] == list(found.lambdas)


def test_fewest_pairs_of_those_within_and_the_start_otherwise():
    pairs, rises = np.array([60.0, 50.0, 30.0, 40.0]), np.array([[0.0, 0.01, 0.2, 0.02], [0.0, 0.5, 0.5, 0.5]])
    assert cheapest(pairs, rises, 0.03).tolist() == [3, 0]
    assert cheapest(pairs, np.array([0.1, 0.01, 0.02, 0.02]), 0.0) == 0  # even if its margin exceeds the tolerance


def test_structures_of_one_group_cannot_be_cross_validated(data):
    with pytest.raises(ValueError, match="structures of 1 groups"):
        choose_lambda(Offset(0.1), data, CalibrationPlan(1, 3.5, 7.0), LAMBDAS, 0.1, indices=torch.arange(1), seed=0)
