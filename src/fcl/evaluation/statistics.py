"""Who judges: comparisons of models from errors of single structures, with intervals, votes and three verdicts.

Structures are resampled by groups (a structure and its variants are one group); models are nested: those that start
from one pre-trained model are not independent. Nothing here needs a model: the tables in ``errors/`` suffice.

- An interval (95%) combines the scatter between pre-trained models (Student's t) with that of the resampled groups,
  with degrees of freedom by Welch and Satterthwaite.
- A verdict is a vote: each model (each pair of models, if they are independent) in each resample of the groups says
  whether the condition holds. It holds at 97.5% of the votes and does not hold at 2.5%. It is undecided in between, and
  if the interval contains the bound: votes know nothing of seeds that were not trained, nor of groups beyond the few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
VERDICTS = (HOLDS, FAILS, UNDECIDED)
#: Confidence level of the intervals, and of verdicts (two-sided).
CONFIDENCE = 0.95
RESAMPLES = 2000


class NotEvaluated(Exception):
    """A claim cannot be evaluated from the study's results; the message gives the reason."""


@dataclass(frozen=True)
class Family:
    """Errors of models that differ in their seeds only, on the same structures.

    sums [n_models, n_structures]: what is added up (squares or absolute values); counts [n_structures]: by what it is
    divided (force components, or 1 per structure); groups [n_structures]: equal for structures that are not
    independent; nests [n_models]: equal for models that share a pre-trained model; root: whether the mean is a mean
    square. Raises `ValueError` for shapes that differ.
    """

    sums: np.ndarray
    counts: np.ndarray
    groups: np.ndarray
    nests: np.ndarray
    root: bool = True

    def __post_init__(self):
        n_models, n_structures = self.sums.shape
        if self.counts.shape != (n_structures,) or self.groups.shape != (n_structures,):
            raise ValueError(f"{n_structures} structures, {self.counts.shape} counts and {self.groups.shape} groups")
        if self.nests.shape != (n_models,):
            raise ValueError(f"{n_models} models and {self.nests.shape} nests")

    def levels(self, drawn: np.ndarray) -> np.ndarray:
        """[n_models, n_draws] error of each model when each group occurs ``drawn`` [n_draws, n_groups] times."""
        _, group = np.unique(self.groups, return_inverse=True)
        sums = np.zeros((drawn.shape[1], len(self.sums)))
        counts = np.zeros(drawn.shape[1])
        np.add.at(sums, group, self.sums.T)
        np.add.at(counts, group, self.counts)
        means = (drawn @ sums) / (drawn @ counts)[:, None]
        return (np.sqrt(means) if self.root else means).T

    def of(self, members: np.ndarray) -> Family:
        """The family on some of the structures (mask or indices)."""
        return replace(self, sums=self.sums[:, members], counts=self.counts[members], groups=self.groups[members])


@dataclass(frozen=True)
class Judgement:
    """A quantity with its 95% interval, and the ``share`` of the votes that say that it is below ``bound``.

    ``models``, ``nests`` and ``groups`` are their numbers.
    """

    value: float
    low: float
    high: float
    bound: float
    share: float
    models: int
    nests: int
    groups: int

    @property
    def p_value(self) -> float:
        """Two-sided: twice the smaller share of the votes."""
        return min(1.0, 2.0 * min(self.share, 1.0 - self.share) + 1.0 / RESAMPLES)

    @property
    def verdict(self) -> str:
        """Whether the quantity is below the bound; one of `VERDICTS`."""
        margin = (1.0 - CONFIDENCE) / 2.0
        if self.low <= self.bound <= self.high:
            return UNDECIDED
        return HOLDS if self.share >= 1.0 - margin else FAILS if self.share <= margin else UNDECIDED


def verdicts(judgements: Sequence[Judgement]) -> list[str]:
    """The verdicts of a table of comparisons: those that do not survive `holm` are undecided."""
    adjusted = holm([one.p_value for one in judgements])
    return [UNDECIDED if p > 1.0 - CONFIDENCE else one.verdict for one, p in zip(judgements, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for several comparisons (Holm): in ascending order times n, n - 1, ..., never decreasing."""
    order = np.argsort(p_values)
    adjusted, largest = np.empty(len(p_values)), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()


@lru_cache(maxsize=1)  # a table compares many families on the same structures; for all of MAD it is 150 MB
def _resampled(n_groups: int, resamples: int, seed: int) -> np.ndarray:
    """[resamples, n_groups]: how often each group is drawn, with replacement; the same for the same seed."""
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=resamples)
    return draws.astype(float)


def level(family: Family, bound: float = math.inf, seed: int = 0) -> Judgement:
    """The error of a family (geometric mean over its models), and the votes on whether it is below ``bound``."""
    (values, draws), limit = _logarithms(family, seed), math.log(bound)
    found = _judged(values, draws, family.nests, family, limit)
    return _from_logarithms(found, math.exp, bound)


def relative(first: Family, second: Family, bound: float = 0.0, *, paired: bool, seed: int = 0) -> Judgement:
    """Relative difference first / second - 1 of the errors, and the votes on whether it is below ``bound``.

    ``paired``: both hold the same models in the same order (at two cutoffs, say). Otherwise they are independent, and
    each pair of models votes. Raises `ValueError` for families on different structures, and for paired families of
    different models.
    """
    if not np.array_equal(first.groups, second.groups) or not np.array_equal(first.counts, second.counts):
        raise ValueError("errors on different structures cannot be compared")
    (a, all_a), (b, all_b) = (_logarithms(one, seed) for one in (first, second))
    limit = math.log1p(bound)
    if paired:
        if not np.array_equal(first.nests, second.nests):
            raise ValueError("paired families hold the same models in the same order")
        found = _judged(a - b, all_a - all_b, first.nests, first, limit)
    else:
        over_b, over_all_b = _nested_mean(b, second.nests), _nested_mean(all_b, second.nests)
        found = _judged(a - over_b, all_a - over_all_b, first.nests, first, limit, (_between(b, second.nests),))
        votes = all_a[:, None] - all_b[None, :] < limit
        found = replace(found, share=float(votes.mean()))
    return _from_logarithms(found, math.expm1, bound)


def _logarithms(family: Family, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the errors of each model: [n_models] on all groups and [n_models, n_resamples]."""
    draws = _resampled(len(np.unique(family.groups)), RESAMPLES, seed)
    return np.log(family.levels(np.ones((1, draws.shape[1])))[:, 0]), np.log(family.levels(draws))


def _from_logarithms(found: Judgement, back: Callable[[float], float], bound: float) -> Judgement:
    """``found`` in logarithms, with value and interval taken ``back`` and the ``bound`` as it was asked for."""
    return replace(found, value=back(found.value), low=back(found.low), high=back(found.high), bound=bound)


def _judged(
    values: np.ndarray, draws: np.ndarray, nests: np.ndarray, family: Family, bound: float,
    others: tuple[tuple[float, int], ...] = (),
) -> Judgement:  # fmt: skip
    """Interval and votes from ``values`` [n_models] on all groups and ``draws`` [n_models, n_resamples].

    ``others``: further variances of the mean with their degrees of freedom.
    """
    from scipy.stats import t

    n_groups = len(np.unique(family.groups))
    parts = [_between(values, nests), (float(_nested_mean(draws, nests).var()), n_groups - 1), *others]
    variance = sum(part for part, _ in parts)
    freedom = sum(part**2 / max(dof, 1) for part, dof in parts if part > 0.0)
    half = float(t.ppf(0.5 + CONFIDENCE / 2.0, variance**2 / freedom)) * math.sqrt(variance) if freedom > 0.0 else 0.0
    mean = float(_nested_mean(values, nests))
    share = float((draws < bound).mean())
    return Judgement(mean, mean - half, mean + half, bound, share, len(values), len(np.unique(nests)), n_groups)


def _nested_mean(values: np.ndarray, nests: np.ndarray) -> np.ndarray:
    """Mean over nests of the means over their models, along the first axis."""
    return np.mean([values[nests == nest].mean(0) for nest in np.unique(nests)], axis=0)


def _between(values: np.ndarray, nests: np.ndarray) -> tuple[float, int]:
    """Variance of the mean over nests, and its degrees of freedom.

    With a single nest that of the mean over its models, which is too small if they share what they start from: nothing
    is known of the scatter between nests.
    """
    names = np.unique(nests)
    means = np.array([values[nests == nest].mean() for nest in names]) if len(names) > 1 else values
    if len(means) < 2:
        return 0.0, 1
    return float(means.var(ddof=1) / len(means)), len(means) - 1


# -- differences between a few seeds, from their means only ------------------------------------------------------------


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


def mean_and_deviation(values: Mapping[int, float]) -> tuple[float, float | None]:
    """Mean over seeds and sample standard deviation; None for a single seed."""
    numbers = np.array(list(values.values()), dtype=float)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None


def _half_width(values: np.ndarray) -> float:
    from scipy.stats import t

    if len(values) < 2:
        return math.inf
    return float(t.ppf(0.5 + CONFIDENCE / 2.0, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
