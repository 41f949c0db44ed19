"""Forces of the data: counts by hand, and a tail whose shape is known."""

import numpy as np
import pytest
from scipy.stats import genpareto

from fcl.evaluation.forces import force_distribution, tail_prediction, tail_shape, zero_force_errors

BODY = np.linspace(0.0, 0.01, 900)


def heavy(shape, size=3000, seed=0):
    """Squares of structures of one atom, with a tail of that shape above 0.01 in one structure of ten."""
    tail = 0.01 + genpareto.rvs(shape, scale=0.02, size=size // 10, random_state=seed)
    return 3.0 * np.concatenate([np.resize(BODY, size - len(tail)), tail])


def test_the_rms_is_over_components_and_its_interval_over_groups():
    square, atoms = np.array([12.0, 0.0, 6.0]), np.array([1, 2, 1])
    alone = force_distribution(square, np.array([3.0, 0.0, 2.0]), atoms, np.array([0, 1, 2]))
    assert alone["force_rms"] == pytest.approx(np.sqrt(18 / 12))
    assert alone["without_forces"] == 1 and alone["structure_rms_max"] == 2.0
    assert alone["share_of_largest_5_percent"] == pytest.approx(12 / 18)
    assert alone["force_rms_low"] < alone["force_rms"] < alone["force_rms_high"]
    one = force_distribution(square, np.array([3.0, 0.0, 2.0]), atoms, np.zeros(3))
    assert one["force_rms_low"] == one["force_rms_high"] == pytest.approx(one["force_rms"])


def test_a_part_scatters_more_than_the_whole():
    square, atoms = heavy(0.1), np.ones(3000)
    found = zero_force_errors(square, atoms, [100, 3000])
    assert found[3000][0] == pytest.approx(found[3000][1]) == pytest.approx(np.sqrt(square.sum() / 9000))
    assert found[100][0] < found[3000][0] < found[100][1]


@pytest.mark.parametrize("shape", [-0.3, 0.1, 0.5])
def test_the_shape_of_the_tail_is_found(shape):
    threshold, found, _ = tail_shape(heavy(shape, 20_000), np.ones(20_000))
    assert threshold == pytest.approx(0.01, rel=0.02)
    assert found == pytest.approx(shape, abs=0.1)


def test_further_structures_are_predicted_with_the_uncertainty_of_the_fit():
    square, atoms = heavy(0.1, 1000), np.ones(1000)
    true = np.sqrt(0.9 * BODY.mean() + 0.1 * (0.01 + 0.02 / 0.9))
    found = tail_prediction(square, atoms, 3000, bound=true, refits=50)
    assert found["rmse_low"] < true < found["rmse_high"]
    assert found["tail_shape_low"] < 0.1 < found["tail_shape_high"]
    assert tail_prediction(square, atoms, 3000, bound=0.0, refits=2)["above"] == 1.0
    few = tail_prediction(heavy(0.1, 300), np.ones(300), 3000, bound=true, refits=50)
    assert few["rmse_high"] - few["rmse_low"] > found["rmse_high"] - found["rmse_low"]
    assert tail_prediction(square[:100], atoms[:100], 3000, bound=true, refits=50) is None
