"""The judge, on synthetic errors with known answers."""

import numpy as np
import pytest

from fcl.evaluation import statistics
from fcl.evaluation.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Difference,
    Family,
    Judgement,
    difference_with_errors,
    distance_of_curves,
    holm,
    level,
    relative,
    verdicts,
    within_tolerance,
)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)


def family(rng, effect=0.0, nests=3, seeds=3, groups=30, members=4, between=0.03, within=0.01, common=None):
    """Errors of nests x seeds models: a factor for each nest, one for each model, one for each group shared by all."""
    if common is None:
        common = rng.lognormal(0.0, 0.6, size=groups)
    nest = np.repeat(np.arange(nests), seeds)
    factor = np.exp(effect + between * rng.normal(size=nests)[nest] + within * rng.normal(size=nests * seeds))
    of_structure = np.repeat(common, members)
    noise = np.exp(0.1 * rng.normal(size=(nests * seeds, groups))).repeat(members, axis=1)
    squares = 30.0 * (factor[:, None] * of_structure * noise) ** 2
    counts = np.full(groups * members, 30.0)
    return Family(squares, counts, np.repeat(np.arange(groups), members), nest)


def both(rng, effect, **options):
    common = rng.lognormal(0.0, 0.6, size=options.get("groups", 30))
    return family(rng, effect, common=common, **options), family(rng, 0.0, common=common, **options)


@pytest.mark.parametrize("paired", [True, False])
def test_a_null_effect_is_hardly_ever_found(paired):
    """Two families of the same distribution: false verdicts in at most 6.5% of 1 000 draws, of both kinds together."""
    rng = np.random.default_rng(1)
    verdicts = [relative(*both(rng, 0.0), paired=paired).verdict for _ in range(1000)]
    assert verdicts.count(HOLDS) + verdicts.count(FAILS) <= 65


def test_the_interval_holds_the_truth_at_its_level():
    """Coverage of the 95% interval over 400 draws with nested models and correlated structures: within 3% of it."""
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(400):
        found = relative(*both(rng, 0.05), paired=False)
        inside += found.low <= np.expm1(0.05) <= found.high
    assert inside / 400 >= 0.92


@pytest.mark.parametrize("paired", [True, False])
def test_a_real_effect_is_found(paired):
    rng = np.random.default_rng(3)
    found = [relative(*both(rng, -0.3), paired=paired) for _ in range(50)]
    assert [one.verdict for one in found].count(HOLDS) >= 48
    assert np.mean([one.value for one in found]) == pytest.approx(np.expm1(-0.3), abs=0.02)
    assert [relative(*both(rng, 0.3), paired=paired).verdict for _ in range(50)].count(FAILS) >= 48


def test_groups_are_resampled_not_structures():
    """Ten variants of each parent say no more than one: as if they were independent, the interval would be a third."""
    rng = np.random.default_rng(4)
    one = family(rng, groups=20, members=10, seeds=1, nests=1)
    alone = Family(one.sums, one.counts, np.arange(len(one.counts)), one.nests)
    grouped, single = level(one), level(alone)
    assert grouped.value == pytest.approx(single.value) and (grouped.groups, single.groups) == (20, 200)
    assert grouped.high - grouped.low > 2.0 * (single.high - single.low)


def test_models_of_one_checkpoint_are_not_independent():
    """Nine models of three checkpoints whose spread is between checkpoints: nested, the interval is wider."""
    rng = np.random.default_rng(5)
    nested = family(rng, between=0.2, within=0.001, groups=200)
    free = Family(nested.sums, nested.counts, nested.groups, np.arange(9))
    assert level(nested).value == pytest.approx(level(free).value)
    assert level(nested).high - level(nested).low > 1.5 * (level(free).high - level(free).low)
    assert (level(nested).nests, level(free).nests) == (3, 9)


def test_few_seeds_give_a_wide_interval():
    """Two models that differ by 30%: Student's t with one degree of freedom."""
    groups = np.arange(500)
    sums = np.array([1.0, 1.3])[:, None] ** 2 * np.ones((2, 500))
    two = level(Family(sums, np.ones(500), groups, np.arange(2)))
    assert two.value == pytest.approx(1.3**0.5)
    assert np.log(two.high / two.value) == pytest.approx(12.706 * np.log(1.3) / 2, rel=1e-3)
    assert level(Family(sums, np.ones(500), groups, np.arange(2)), 1.5).verdict == UNDECIDED  # though all votes hold
    one = level(Family(sums[:1], np.ones(500), groups, np.arange(1)))
    assert one.low == one.high == pytest.approx(1.0)  # all groups alike, and nothing is known of other seeds


def test_each_pair_of_models_votes():
    """One of three models is worse than all others: no verdict, though the mean is clearly lower."""
    groups, counts = np.arange(50), np.ones(50)
    good = Family(np.array([0.25, 0.25, 1.21])[:, None] * np.ones((3, 50)), counts, groups, np.arange(3))
    other = Family(np.ones((3, 50)), counts, groups, np.arange(3))
    found = relative(good, other, paired=False)
    assert found.share == pytest.approx(2.0 / 3.0) and found.verdict == UNDECIDED and found.value < 0.0


def test_absolute_errors_and_members():
    sums = np.array([[1.0, 3.0, 8.0]])
    one = Family(sums, np.ones(3), np.arange(3), np.zeros(1), root=False)
    assert level(one).value == pytest.approx(4.0) and level(one.of(np.array([True, True, False]))).value == 2.0


def test_bounds():
    groups, counts = np.arange(40), np.ones(40)
    one = Family(np.full((2, 40), 1.02**2), counts, groups, np.arange(2))
    two = Family(np.ones((2, 40)), counts, groups, np.arange(2))
    assert relative(one, two, 0.03, paired=True).verdict == HOLDS
    assert relative(one, two, 0.01, paired=True).verdict == FAILS
    assert level(one, 1.03).verdict == HOLDS and level(one, 1.01).verdict == FAILS


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []
    clear = Judgement(-0.2, -0.3, -0.1, 0.0, 1.0, 3, 3, 30)
    weak = Judgement(-0.2, -0.3, -0.01, 0.0, 0.98, 3, 3, 30)
    assert verdicts([clear, weak]) == [HOLDS, HOLDS] and weak.verdict == HOLDS
    assert verdicts([clear, weak, weak, weak]) == [HOLDS, UNDECIDED, UNDECIDED, UNDECIDED]
    assert verdicts([]) == []


def test_what_cannot_be_compared():
    rng = np.random.default_rng(6)
    first, second = both(rng, 0.0)
    with pytest.raises(ValueError, match="different structures"):
        relative(first, second.of(np.arange(40)), paired=False)
    other = Family(second.sums, second.counts, second.groups, np.arange(9))
    with pytest.raises(ValueError, match="the same models"):
        relative(first, other, paired=True)
    with pytest.raises(ValueError, match="nests"):
        Family(first.sums, first.counts, first.groups, np.arange(4))
    with pytest.raises(ValueError, match="120 structures"):
        Family(first.sums, first.counts[1:], first.groups, first.nests)


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
