"""Who judges: comparisons of models from errors of single structures, with intervals, votes and three verdicts.

Structures are resampled by groups (a structure and its variants are one group); models are nested: those that start
from one pre-trained model are not independent. Nothing here needs a model: the tables in ``errors/`` suffice.

- An `Estimate` is a quantity with its interval (95%) and its votes. The interval combines the scatter between
  pre-trained models (Student's t) with that of the resampled groups (degrees of freedom by Welch and Satterthwaite).
- A `Judgement` is an estimate that was asked whether it lies between two bounds. Each model (each pair of models, if
  they are independent) in each resample votes. It holds at 97.5% of the votes and does not hold at 2.5%. It is
  undecided in between, and if the interval contains a bound: votes know nothing of seeds that were not trained, nor of
  groups beyond the few. A single model or a single group decides nothing.
- In a table of comparisons, those that do not survive Holm's correction are undecided (`verdicts`). Its p-values come
  from the scatter of models and groups, not from the votes. A statement with several conditions: `all_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
#: Confidence level of the intervals, and of verdicts (two-sided).
CONFIDENCE = 0.95
RESAMPLES = 2000
#: Fewest models that decide something if they are all that votes.
FEWEST = 3


class NotEvaluated(ValueError):
    """A claim cannot be evaluated from the study's results; the message gives the reason."""


@dataclass(frozen=True)
class Family:
    """Errors of models that differ in their seeds only, on the same structures.

    sums [n_models, n_structures]: what is added up (squares or absolute values); counts [n_structures]: by what it is
    divided (force components, or 1 per structure); groups [n_structures]: equal for structures that are not
    independent; nests [n_models]: equal for models that share a pre-trained model; root: whether the mean is a mean
    square; fixed: no seed changes it (a trivial prediction). Raises `ValueError` for shapes that differ.
    """

    sums: np.ndarray
    counts: np.ndarray
    groups: np.ndarray
    nests: np.ndarray
    root: bool = True
    fixed: bool = False

    def __post_init__(self):
        models, structures = self.sums.shape
        for name, length in (("counts", structures), ("groups", structures), ("nests", models)):
            if getattr(self, name).shape != (length,):
                raise ValueError(f"sums {self.sums.shape} of models and structures, {name} {getattr(self, name).shape}")

    def levels(self, drawn: np.ndarray) -> np.ndarray:
        """[n_models, n_draws] error of each model when each group occurs ``drawn`` [n_draws, n_groups] times."""
        _, group = np.unique(self.groups, return_inverse=True)
        sums = np.stack([np.bincount(group, one) for one in self.sums], axis=1)
        counts = np.bincount(group, self.counts)
        means = (drawn @ sums) / (drawn @ counts)[:, None]
        return (np.sqrt(means) if self.root else means).T

    @property
    def n_groups(self) -> int:
        """Number of different groups."""
        return len(np.unique(self.groups))

    def values(self) -> np.ndarray:
        """[n_models] error of each model on all structures."""
        return self.levels(np.ones((1, self.n_groups)))[:, 0]


@dataclass(frozen=True)
class Judgement:
    """A quantity with its 95% interval, and the ``share`` of the votes for it lying between ``least`` and ``bound``.

    ``models``, ``nests`` and ``groups`` are their numbers, 0 if the quantity has none; ``p_value`` (two-sided) is that
    of the nearer bound.
    """

    value: float
    low: float
    high: float
    bound: float
    share: float
    models: int
    nests: int
    groups: int
    least: float = -math.inf
    p_value: float = 0.0

    @property
    def verdict(self) -> str:
        """Whether the quantity lies between its bounds: `HOLDS`, `FAILS` or `UNDECIDED`."""
        return UNDECIDED if self.reason else HOLDS if self.share >= 0.5 else FAILS

    @property
    def reason(self) -> str:
        """Why it is undecided; empty if it is not."""
        margin = (1.0 - CONFIDENCE) / 2.0
        if 1 in (self.models, self.groups):
            return f"a single {'model' if self.models == 1 else 'group'} decides nothing"
        if 0 < self.models < FEWEST and not self.groups:
            return f"fewer than {FEWEST} models"
        if self.low <= self.bound <= self.high or self.low <= self.least <= self.high:
            return "the interval contains the bound"
        return f"{self.share:.0%} of the votes" if margin < self.share < 1.0 - margin else ""


@dataclass(frozen=True)
class Estimate:
    """A quantity that can be judged: ``offset`` + ``factor`` * x, or exp(x) instead of x if it is ``logarithmic``.

    ``mean``, ``low``, ``high`` and ``votes`` are values of x; ``p_of``: two-sided p-value of an x. Numbers as there.
    """

    mean: float
    low: float
    high: float
    votes: np.ndarray
    p_of: Callable[[float], float]
    models: int = 0
    nests: int = 0
    groups: int = 0
    logarithmic: bool = True
    factor: float = 1.0
    offset: float = 0.0

    @property
    def value(self) -> float:
        """The quantity itself."""
        return self._quantity(self.mean)

    def times(self, factor: float, plus: float = 0.0) -> Estimate:
        """``factor`` * quantity + ``plus``: another unit, or 1 - ratio."""
        return replace(self, factor=factor * self.factor, offset=factor * self.offset + plus)

    def judged(self, bound: float = math.inf, least: float = -math.inf) -> Judgement:
        """Whether the quantity lies between ``least`` and ``bound``."""
        lower, upper = sorted((self._coordinate(least), self._coordinate(bound)))
        low, high = sorted((self._quantity(self.low), self._quantity(self.high)))
        share = float(((self.votes > lower) & (self.votes < upper)).mean())
        p_value = max((self.p_of(x) for x in (lower, upper) if math.isfinite(x)), default=0.0)
        numbers = (self.models, self.nests, self.groups)
        return Judgement(self.value, low, high, bound, share, *numbers, least=least, p_value=p_value)

    def _quantity(self, x: float) -> float:
        return self.offset + self.factor * (math.exp(x) if self.logarithmic else x)

    def _coordinate(self, quantity: float) -> float:
        x = (quantity - self.offset) / self.factor
        return x if not self.logarithmic else math.log(x) if x > 0.0 else -math.inf


def verdicts(judgements: Sequence[Judgement]) -> list[str]:
    """The verdicts of a table of comparisons: those that do not survive `holm` are undecided."""
    adjusted = holm([one.p_value for one in judgements])
    return [UNDECIDED if p > 1.0 - CONFIDENCE else one.verdict for one, p in zip(judgements, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for several comparisons (Holm): in ascending order times n, n - 1, ..., never decreasing."""
    adjusted, largest = np.empty(len(p_values)), 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()


def vote(votes: Sequence[bool]) -> str:
    """Verdict of models that have one vote each."""
    share, margin = sum(votes) / max(len(votes), 1), (1.0 - CONFIDENCE) / 2.0
    if len(votes) < FEWEST or margin < share < 1.0 - margin:
        return UNDECIDED
    return HOLDS if share >= 1.0 - margin else FAILS


def all_of(found: Iterable[str]) -> str:
    """Verdict of a statement whose conditions have the verdicts ``found``."""
    kinds = set(found)
    return FAILS if FAILS in kinds else HOLDS if kinds == {HOLDS} else UNDECIDED


# -- estimates ---------------------------------------------------------------------------------------------------------


def error(family: Family, seed: int = 0) -> Estimate:
    """The error of a family: geometric mean over its models."""
    values, draws = _logarithms(family, seed)
    found = _estimate(values, draws, family.nests, family.n_groups)
    return replace(found, models=0, nests=0) if family.fixed else found


def ratio(first: Family, second: Family, *, paired: bool, seed: int = 0) -> Estimate:
    """first / second of the errors.

    ``paired``: both hold the same models in the same order (at two cutoffs, say), see `contrast`. Otherwise they are
    independent, and each pair of models votes. Raises `ValueError` for families on different structures.
    """
    if paired:
        return contrast([first], [second], seed)
    _check_structures(first, second)
    (a, all_a), (b, all_b) = (_logarithms(one, seed) for one in (first, second))
    values, draws = a - _nested_mean(b, second.nests), all_a - _nested_mean(all_b, second.nests)
    found = _estimate(values, draws, first.nests, first.n_groups, (_between(b, second.nests),))
    models = min((len(one.nests) for one in (first, second) if not one.fixed), default=0)
    return replace(found, votes=(all_a[:, None] - all_b[None, :]).ravel(), models=models)


def contrast(above: Sequence[Family], below: Sequence[Family], seed: int = 0) -> Estimate:
    """Product of the errors ``above`` / product of those ``below``, model by model.

    Raises `ValueError` for families on different structures or of different models.
    """
    first, *others = [*above, *below]
    for other in others:
        _check_structures(first, other)
        if not np.array_equal(first.nests, other.nests):
            raise ValueError("paired families hold the same models in the same order")
    logs = [(sign, _logarithms(one, seed)) for sign, side in ((1.0, above), (-1.0, below)) for one in side]
    return _estimate(*(sum(sign * log[n] for sign, log in logs) for n in (0, 1)), first.nests, first.n_groups)


def level(family: Family, bound: float = math.inf, seed: int = 0) -> Judgement:
    """The `error` of a family, and the votes on whether it is below ``bound``."""
    return error(family, seed).judged(bound)


def relative(first: Family, second: Family, bound: float = 0.0, *, paired: bool, seed: int = 0) -> Judgement:
    """Relative difference first / second - 1 of the errors, and the votes on whether it is below ``bound``: `ratio`."""
    return ratio(first, second, paired=paired, seed=seed).times(1.0, -1.0).judged(bound)


def error_over_folds(folds: Sequence[Family], seed: int = 0) -> Estimate:
    """The error in cross-validation, as for `ratio_over_folds`."""
    return _over_folds([_logarithms(one, seed + k) for k, one in enumerate(folds)], folds)


def ratio_over_folds(first: Sequence[Family], second: Sequence[Family], seed: int = 0) -> Estimate:
    """first / second of the errors in cross-validation.

    Each fold has models of its own, and structures that no other fold tests: ``first`` and ``second`` hold one family
    per fold, on the same structures. Folds differ by their models and by their groups, so the scatter between them
    contains that of the resampled groups, and the larger of the two variances counts. A vote is a resample: of the
    folds, and of the groups of each. Raises `ValueError` for different folds or structures.
    """
    logs = []
    for k, (one, other) in enumerate(zip(first, second, strict=True)):
        _check_structures(one, other)
        parts = zip(_logarithms(one, seed + k), _logarithms(other, seed + k), strict=True)
        logs.append([a - _nested_mean(b, other.nests) for a, b in parts])
    return _over_folds(logs, first)


def _over_folds(logs: Sequence[Sequence[np.ndarray]], folds: Sequence[Family]) -> Estimate:
    """From logarithms per fold, [n_models] on all groups and [n_models, n_resamples]."""
    values, draws = (
        np.array([_nested_mean(one, fold.nests) for one, fold in zip(part, folds, strict=True)])
        for part in zip(*logs, strict=True)
    )
    (n, resamples), n_groups = draws.shape, sum(fold.n_groups for fold in folds)
    part = max(_between(values, np.arange(n)), (float(draws.mean(0).var()), n_groups - n))
    picked = draws[np.random.default_rng(0).integers(n, size=(n, resamples)), np.arange(resamples)]
    models = sum(len(fold.nests) for fold in folds)
    return _student(float(values.mean()), [part], picked.mean(0), models, n, n_groups)


def over_seeds(values: Mapping[int, float], nests: Mapping[int, int]) -> Estimate:
    """Mean of a quantity of each model, by seed; ``nests``: seed of its pre-trained model, if there is one.

    Raises `NotEvaluated` if there is no value.
    """
    if not values:
        raise NotEvaluated("no value of any seed")
    numbers, names = np.array([(values[seed], nests.get(seed, -1 - seed)) for seed in sorted(values)], dtype=float).T
    return replace(_estimate(numbers, numbers[:, None], names, 0), logarithmic=False)


def exact(value: float) -> Estimate:
    """A number that no seed and no sample changes."""
    return Estimate(value, value, value, np.array([value]), lambda x: float(x == value), logarithmic=False)


def ratio_of_deviations(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Standard deviation of ``first`` / that of ``second``, independent values, with the interval of the F-test.

    With three values each it reaches from a sixth to six times the ratio. Raises `NotEvaluated` for fewer than two
    values, or no deviation.
    """
    from scipy.stats import f

    if min(len(first), len(second)) < 2:
        raise NotEvaluated("a standard deviation needs at least two seeds")
    spreads = [float(np.std(values, ddof=1)) for values in (first, second)]
    if 0.0 in spreads:
        raise NotEvaluated("values without any scatter")
    free, x = (len(first) - 1, len(second) - 1), math.log(spreads[0] / spreads[1])
    below, above = (0.5 * math.log(f.ppf(0.5 + CONFIDENCE / 2.0, *dofs)) for dofs in (free, free[::-1]))
    models = min(len(first), len(second))

    def p_of(other: float) -> float:
        return float(2.0 * min(tail(math.exp(2.0 * (x - other)), *free) for tail in (f.cdf, f.sf)))

    return Estimate(x, x - below, x + above, np.array([x]), p_of, models, models)


def resampled(groups: np.ndarray, *columns: np.ndarray, resamples: int = 1000, seed: int = 0) -> list[np.ndarray]:
    """Sums [resamples] of each column [n] over bootstrap samples of the ``groups`` [n]; the same for the same seed."""
    _, group = np.unique(groups, return_inverse=True)
    sums = [np.bincount(group, column) for column in columns]
    draws = np.random.default_rng(seed).integers(len(sums[0]), size=(resamples, len(sums[0])))
    return [column[draws].sum(1) for column in sums]


@lru_cache(maxsize=1)  # a table compares many families on the same structures; for all of MAD it is 150 MB
def _resampled(n_groups: int, resamples: int, seed: int) -> np.ndarray:
    """[resamples, n_groups]: how often each group is drawn, with replacement; the same for the same seed."""
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=resamples)
    return draws.astype(float)


def _check_structures(first: Family, second: Family) -> None:
    if not all(map(np.array_equal, (first.groups, first.counts), (second.groups, second.counts))):
        raise ValueError("errors on different structures cannot be compared")


def _logarithms(family: Family, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the errors of each model: [n_models] on all groups and [n_models, n_resamples]."""
    return np.log(family.values()), np.log(family.levels(_resampled(family.n_groups, RESAMPLES, seed)))


def _estimate(
    values: np.ndarray, draws: np.ndarray, nests: np.ndarray, n_groups: int,
    others: tuple[tuple[float, int], ...] = (),
) -> Estimate:  # fmt: skip
    """Interval and votes from ``values`` [n_models] on all groups and ``draws`` [n_models, n_resamples].

    ``others``: further variances of the mean with their degrees of freedom.
    """
    parts = [_between(values, nests), (float(_nested_mean(draws, nests).var()), n_groups - 1), *others]
    mean, n_nests = float(_nested_mean(values, nests)), len(np.unique(nests))
    return _student(mean, parts, draws.ravel(), len(values), n_nests, n_groups)


def _student(mean: float, parts: Sequence[tuple[float, int]], votes: np.ndarray, *numbers: int) -> Estimate:
    """An estimate whose variance is the sum of ``parts``: variances with their degrees of freedom."""
    from scipy.stats import t

    variance, half, tail = sum(part for part, _ in parts), 0.0, _tail_of_sum(parts)
    squares = sum(part**2 / max(dof, 1) for part, dof in parts if part > 0.0)
    if squares > 0.0:
        half = float(t.ppf(0.5 + CONFIDENCE / 2.0, variance**2 / squares)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, votes, lambda x: 2.0 * tail(abs(x - mean)), *numbers)


def _tail_of_sum(parts: Iterable[tuple[float, int]]) -> Callable[[float], float]:
    """P(X > x) for x >= 0, where X is the sum of Student's t times the deviation of each part (variance, freedom).

    This is the solution of Behrens and Fisher. The single t of the interval finds far too much at the small p-values of
    a long table: the scatter of three pre-trained models is small by chance once in a while, and then counts as known.
    """
    from scipy.stats import t

    known = sorted((max(dof, 1), math.sqrt(variance)) for variance, dof in parts if variance > 0.0)
    if not known:
        return lambda x: 0.5 * (x == 0.0)
    (heaviest, scale), *others = known
    shift = sum((deviation * _quantiles(dof, n) for n, (dof, deviation) in enumerate(others)), np.zeros(1))
    return lambda x: float(t.sf((x - shift) / scale, heaviest).mean())


@lru_cache
def _quantiles(freedom: int, number: int) -> np.ndarray:
    """Student's t at evenly spaced probabilities, in a random order of its own for each ``number``."""
    from scipy.stats import t

    return np.random.default_rng(number).permutation(t.ppf((np.arange(1000) + 0.5) / 1000.0, freedom))


def _nested_mean(values: np.ndarray, nests: np.ndarray) -> np.ndarray:
    """Mean over nests of the means over their models, along the first axis."""
    return np.mean([values[nests == nest].mean(0) for nest in np.unique(nests)], axis=0)


def _between(values: np.ndarray, nests: np.ndarray) -> tuple[float, int]:
    """Variance of the mean over nests, and its degrees of freedom.

    With a single nest that of the mean over its models: nothing is known of the scatter between nests.
    """
    names = np.unique(nests)
    means = np.array([values[nests == nest].mean() for nest in names]) if len(names) > 1 else values
    if len(means) < 2:
        return 0.0, 1
    return float(means.var(ddof=1) / len(means)), len(means) - 1
