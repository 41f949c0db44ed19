"""The judge, on synthetic errors with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from fcl.evaluation import statistics
from fcl.evaluation.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Family,
    NotEvaluated,
    all_of,
    contrast,
    error,
    error_over_folds,
    exact,
    holm,
    level,
    over_seeds,
    ratio,
    ratio_of_deviations,
    ratio_over_folds,
    relative,
    verdicts,
    vote,
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


@pytest.mark.parametrize("options", [{}, {"seeds": 1, "groups": 150}, {"seeds": 1, "groups": 5, "between": 0.005}])
def test_a_table_of_null_effects_hardly_ever_has_a_verdict(options):
    """Ten comparisons without an effect, with three pre-trained models and with many or few groups: at most 6.5% of 100
    tables (or 2 more, by chance) have any verdict. Without Holm's correction it would be a third in the second case."""
    rng = np.random.default_rng(7)
    tables = [[relative(*both(rng, 0.0, **options), paired=True) for _ in range(10)] for _ in range(100)]
    assert sum(set(verdicts(table)) != {UNDECIDED} for table in tables) <= 8
    if options.get("groups") == 150:
        assert sum({one.verdict for one in table} != {UNDECIDED} for table in tables) > 20


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


def test_absolute_errors():
    sums = np.array([[1.0, 3.0, 8.0]])
    one = Family(sums, np.ones(3), np.arange(3), np.zeros(1), root=False)
    assert level(one).value == pytest.approx(4.0)


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
    clear, weak = over_seeds({1: 1.0, 2: 1.01, 3: 0.99}, {}), over_seeds({1: 1.0, 2: 1.2, 3: 0.8}, {})
    clear, weak = (one.judged(least=0.0) for one in (clear, weak))
    assert (clear.verdict, weak.verdict) == (HOLDS, HOLDS) and 0.01 < weak.p_value < 0.02 and clear.p_value < 1e-4
    assert verdicts([clear, weak]) == [HOLDS, HOLDS]
    assert verdicts([clear, weak, weak, weak, weak]) == [HOLDS, *[UNDECIDED] * 4]
    assert verdicts([]) == []


def test_bounds_on_both_sides_and_other_units():
    groups, counts = np.arange(40), np.ones(40)
    one, two = (Family(np.full((2, 40), size**2), counts, groups, np.arange(2)) for size in (1.02, 1.0))
    found = ratio(one, two, paired=True)
    assert found.judged(1.03, least=0.97).verdict == HOLDS and found.judged(1.01, least=0.97).verdict == FAILS
    saved = found.times(-1.0, 1.0)  # 1 - ratio
    assert saved.value == pytest.approx(-0.02)
    assert saved.judged(least=-0.03).verdict == HOLDS and saved.judged(-0.03).verdict == FAILS
    assert saved.judged(-0.01, least=-0.03).share == 1.0
    # what both errors change by alike drops out of a contrast of ratios
    assert contrast([one, two], [two, two]).value == pytest.approx(1.02)
    assert contrast([one, one], [one, two]).value == pytest.approx(1.02)
    assert exact(3.0).judged(4.0, least=2.0).verdict == HOLDS and exact(3.0).judged(2.0).verdict == FAILS


def test_a_single_model_or_group_decides_nothing_but_a_trivial_prediction_is_not_a_model():
    rng = np.random.default_rng(8)
    first, second = both(rng, -0.5, seeds=1, nests=1)
    assert relative(first, second, paired=True).verdict == UNDECIDED
    three = family(rng, -0.5, seeds=1)
    alone = Family(three.sums, three.counts, np.zeros(len(three.counts)), three.nests)
    assert level(three, 3.0).verdict == HOLDS and level(alone, 3.0).verdict == UNDECIDED
    trivial = Family(3.0 * three.sums[:1], three.counts, three.groups, np.array([-1]))
    assert relative(three, trivial, paired=False).verdict == UNDECIDED
    fixed = Family(trivial.sums, trivial.counts, trivial.groups, trivial.nests, fixed=True)
    assert relative(three, fixed, paired=False).verdict == HOLDS and error(fixed).models == 0


def test_votes_of_seeds_alone():
    """Three seeds that agree decide, if their interval excludes the bound; nested, they are one."""
    three = over_seeds({1: 1.0, 2: 1.1, 3: 0.9}, {})
    assert three.value == pytest.approx(1.0)
    assert three.judged(0.7).verdict == FAILS and three.judged(0.89).verdict == UNDECIDED  # votes agree, t does not
    half = three.judged().high - 1.0
    assert half == pytest.approx(4.3027 * 0.1 / np.sqrt(3.0), rel=1e-4)
    assert over_seeds({1: 1.0, 2: 1.001}, {}).judged(0.5).verdict == UNDECIDED
    nested = over_seeds({1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}, {1: 0, 2: 0, 3: 7, 4: 7}).judged(0.5)
    assert (nested.models, nested.nests, nested.verdict) == (4, 2, UNDECIDED)
    assert nested.high - nested.value == pytest.approx(12.706 * 0.5, rel=1e-3)
    with pytest.raises(NotEvaluated, match="no value"):
        over_seeds({}, {})
    assert [vote(votes) for votes in ([True] * 3, [False] * 3, [True, True, False], [True] * 2, [])] == [
        HOLDS, FAILS, UNDECIDED, UNDECIDED, UNDECIDED,
    ]  # fmt: skip
    assert all_of([HOLDS, HOLDS]) == HOLDS and all_of([HOLDS, UNDECIDED]) == all_of([]) == UNDECIDED
    assert all_of([HOLDS, UNDECIDED, FAILS]) == FAILS


def test_three_values_say_little_of_a_standard_deviation():
    """The F-test: twice and five times the standard deviation of three seeds are both undecided; seven times is not."""
    three = [1.0, 2.0, 3.0]
    for factor, verdict in ((2.0, UNDECIDED), (5.0, UNDECIDED), (7.0, HOLDS)):
        found = ratio_of_deviations([factor * value for value in three], three)
        assert found.value == pytest.approx(factor) and found.judged(least=1.0).verdict == verdict
        assert found.judged().high / factor == pytest.approx(np.sqrt(39.0), rel=1e-3)
    rng = np.random.default_rng(9)
    alike = [ratio_of_deviations(*rng.normal(size=(2, 3))).judged(least=1.0).verdict for _ in range(1000)]
    assert alike.count(HOLDS) + alike.count(FAILS) <= 65
    with pytest.raises(NotEvaluated, match="two seeds"):
        ratio_of_deviations([1.0], three)
    with pytest.raises(NotEvaluated, match="without any scatter"):
        ratio_of_deviations([1.0, 1.0], three)


def test_what_cannot_be_compared():
    rng = np.random.default_rng(6)
    first, second = both(rng, 0.0)
    with pytest.raises(ValueError, match="different structures"):
        relative(first, replace(second, groups=second.groups + 1), paired=False)
    other = Family(second.sums, second.counts, second.groups, np.arange(9))
    with pytest.raises(ValueError, match="the same models"):
        relative(first, other, paired=True)
    with pytest.raises(ValueError, match="nests"):
        Family(first.sums, first.counts, first.groups, np.arange(4))
    with pytest.raises(ValueError, match="counts"):
        Family(first.sums, first.counts[1:], first.groups, first.nests)


def folds(rng, effect, training, groups=12):
    """Five folds of one model of each kind on structures of their own; ``training``: scatter between trainings."""
    of = {"nests": 1, "seeds": 1, "between": training, "within": 0.0, "groups": groups}
    return zip(*(both(rng, effect, **of) for _ in range(5)), strict=True)


def relative_in_folds(first, second):
    return ratio_over_folds(first, second).times(1.0, -1.0).judged(0.0)


@pytest.mark.parametrize("training", [0.0, 0.1])
def test_cross_validation_finds_no_null_effect(training):
    """No effect, folds of correlated structures: false verdicts in at most 6.5% of 200 draws, whatever scatters."""
    rng = np.random.default_rng(7)
    found = [relative_in_folds(*folds(rng, 0.0, training)).verdict for _ in range(200)]
    assert found.count(HOLDS) + found.count(FAILS) <= 13


def test_cross_validation_finds_an_effect_and_counts_every_group_once():
    rng = np.random.default_rng(8)
    found = [relative_in_folds(*folds(rng, -0.3, 0.05)) for _ in range(40)]
    assert [one.verdict for one in found].count(HOLDS) >= 38
    assert np.mean([one.value for one in found]) == pytest.approx(np.expm1(-0.3), abs=0.02)
    assert {(one.groups, one.models, one.nests) for one in found} == {(60, 5, 5)}


def test_cross_validation_knows_the_scatter_between_trainings():
    """Models that differ by 20% from fold to fold: an interval from the groups alone would be far too narrow."""
    first, second = folds(np.random.default_rng(9), 0.0, 0.2, groups=400)
    groups_only = relative_in_folds(second, second)
    found = relative_in_folds(first, second)
    assert groups_only.low == groups_only.high == 0.0 and found.high - found.low > 0.2
    whole = error_over_folds(second).judged()
    assert whole.low < whole.value < whole.high and whole.groups == 2000
    with pytest.raises(ValueError, match="shorter"):
        relative_in_folds(first, second[:4])
