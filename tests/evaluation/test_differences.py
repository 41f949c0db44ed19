"""Differences with error bars against tolerances."""

import numpy as np
import pytest

from fcl.evaluation.differences import Difference, difference_with_errors, distance_of_curves, within_tolerance
from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED


@pytest.mark.parametrize(
    ("value", "half_width", "verdict"),
    [
        (0.0, 0.0, HOLDS), (-0.1, 0.0, HOLDS), (0.11, 0.0, FAILS), (0.05, 0.05, HOLDS), (0.06, 0.05, UNDECIDED),
        (-0.16, 0.05, FAILS), (0.14, 0.05, UNDECIDED), (0.0, 0.11, UNDECIDED), (9.0, 0.11, UNDECIDED),
    ],
)  # fmt: skip
def test_a_difference_is_within_a_tolerance_with_all_of_its_interval(value, half_width, verdict):
    assert within_tolerance(Difference(value, half_width), 0.1) == verdict


def test_the_interval_of_a_difference_covers_it():
    """Two means of ten normal numbers each: the difference is in the interval 95 times of 100, or a little more."""
    rng = np.random.default_rng(7)
    draws = rng.normal(size=(1000, 2, 10))
    means, errors = draws.mean(axis=2), draws.std(axis=2, ddof=1) / np.sqrt(10)
    found = [difference_with_errors(*zip(m, e, strict=True), freedom=9) for m, e in zip(means, errors, strict=True)]
    assert 940 <= sum(abs(one.value) <= one.half_width for one in found) <= 985


@pytest.mark.parametrize("shift", [0.0, 0.05, 1.0])
def test_the_interval_of_a_distance_of_curves_covers_it(shift):
    """Correlated noise in 40 points; the interval is conservative, but not wider than three times what noise gives."""
    rng = np.random.default_rng(8)
    smooth = np.exp(-0.5 * ((np.arange(40)[:, None] - np.arange(40)) / 3.0) ** 2)
    noise = rng.normal(size=(300, 2, 10, 40)) @ smooth
    missed, widths, distances = 0, [], []
    for seed, (first, second) in enumerate(noise):
        found = distance_of_curves(first, second + shift, seed)
        missed += abs(found.value - 40.0 * abs(shift)) > found.half_width
        widths.append(found.half_width)
        distances.append(found.value)
    assert missed <= 15
    if shift == 0.0:
        assert np.mean(widths) < 3.0 * np.mean(distances)
