"""Differences between a few seeds with Student's t confidence intervals (three seeds are too few for a normal one)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


class NotEvaluated(Exception):
    """A claim cannot be evaluated from the study's results; the message gives the reason."""


#: Confidence level of the intervals.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A difference of means and the half-width of its confidence interval (infinite for a single seed)."""

    value: float
    half_width: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return abs(self.value) > self.half_width


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Mean of first - second over seeds, paired by seed. Raises `NotEvaluated` if the seeds differ."""
    if set(first) != set(second):
        raise NotEvaluated(f"different seeds: {sorted(first)} and {sorted(second)}")
    differences = np.array([first[seed] - second[seed] for seed in sorted(first)])
    return Difference(float(differences.mean()), _half_width(differences))


def unpaired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Mean of first - mean of second, for independent models (Welch)."""
    from scipy.stats import ttest_ind

    a, b = (np.array(list(values.values())) for values in (first, second))
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Difference(value, math.inf)
    if a.std() == 0.0 and b.std() == 0.0:
        return Difference(value, 0.0)
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(value, float(high - low) / 2.0)


def mean_and_deviation(values: Mapping[int, float]) -> tuple[float, float | None]:
    """Mean over seeds and sample standard deviation; None for a single seed."""
    numbers = np.array(list(values.values()), dtype=float)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None


def _half_width(values: np.ndarray) -> float:
    from scipy.stats import t

    if len(values) < 2:
        return math.inf
    return float(t.ppf(0.5 + CONFIDENCE / 2.0, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
