"""Differences of measured quantities with error bars, against tolerances; with the verdicts of `statistics`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fcl.evaluation.statistics import CONFIDENCE, FAILS, HOLDS, RESAMPLES, UNDECIDED


@dataclass(frozen=True)
class Difference:
    """A difference and the half-width of its 95% interval."""

    value: float
    half_width: float


def within_tolerance(difference: Difference, tolerance: float) -> str:
    """Verdict on whether a difference is within +-``tolerance``: its whole interval is, or is not.

    An interval wider than the tolerances is undecided wherever it lies: such a measurement cannot see what is asked.
    """
    size, half = abs(difference.value), difference.half_width
    if half > tolerance or size - half <= tolerance < size + half:
        return UNDECIDED
    return HOLDS if size + half <= tolerance else FAILS


def difference_with_errors(first: tuple[float, float], second: tuple[float, float], freedom: int) -> Difference:
    """first - second of two values with standard errors, each with ``freedom`` degrees of freedom or more."""
    from scipy.stats import t

    half = float(t.ppf(0.5 + CONFIDENCE / 2.0, freedom)) * math.hypot(first[1], second[1])
    return Difference(first[0] - second[0], half)


def distance_of_curves(first: np.ndarray, second: np.ndarray, seed: int = 0) -> Difference:
    """Sum of absolute differences of two curves, each sampled in blocks [n_blocks, n_points] of a run.

    Noise alone gives a positive sum. By the triangle inequality it changes the sum by at most the sum of its absolute
    values; the 95th percentile of that, from random signs of the blocks' deviations, is the half-width. It is widened
    as Student's t is compared with the normal distribution, since errors from few blocks are uncertain.
    """
    from scipy.stats import norm, t

    deviations = np.concatenate([_standardised(blocks) for blocks in (first, second)])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(RESAMPLES, len(deviations)))
    noise = np.abs(signs @ deviations).sum(axis=1)
    value = np.abs(first.mean(axis=0) - second.mean(axis=0)).sum()
    at = 0.5 + CONFIDENCE / 2.0
    widened = np.quantile(noise, CONFIDENCE) * t.ppf(at, min(len(first), len(second)) - 1) / norm.ppf(at)
    return Difference(float(value), float(widened))


def _standardised(blocks: np.ndarray) -> np.ndarray:
    """Deviations of the blocks from their mean, so that the squares sum up to that of the standard error."""
    return (blocks - blocks.mean(axis=0)) / math.sqrt(len(blocks) * (len(blocks) - 1))
