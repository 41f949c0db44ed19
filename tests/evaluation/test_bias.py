"""Slope of predicted against true forces."""

import numpy as np
import pytest

from fcl.evaluation.bias import force_slope, slope_by_size


def test_slope():
    random = np.random.default_rng(0)
    true = random.standard_normal((5000, 3))
    assert force_slope(0.9 * true, true) == pytest.approx(0.9)
    assert force_slope(0.9 * true + 0.3 * random.standard_normal(true.shape), true) == pytest.approx(0.9, abs=0.02)
    with pytest.raises(ValueError, match="all true forces are zero"):
        force_slope(true, 0.0 * true)
    with pytest.raises(ValueError, match="shapes"):
        force_slope(true[:1], true)


def test_slope_by_size():
    true = np.zeros((8, 3))
    true[:, 0] = [1, -8, 2, -7, 3, 6, 4, 5]
    predicted = np.where(np.abs(true) > 4, 0.5, 1.0) * true
    (small, one), (large, half) = slope_by_size(predicted, true, 2)
    assert (one, half) == (1.0, 0.5) and small == pytest.approx(7.5**0.5) and large == pytest.approx(43.5**0.5)
