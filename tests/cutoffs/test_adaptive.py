"""Cutoffs that follow the environment: equations against brute force, derivatives, bounds, empty shells."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from fcl.cutoffs import adaptive
from fcl.cutoffs.adaptive import NeighbourCount, SchemeSelector, clamped, dynamic_cutoffs, neighbour_cutoffs, solve
from fcl.cutoffs.edges import Candidates, RadialSelector
from fcl.cutoffs.schemes import DynamicCutoffs, NeighbourCutoffs

LOWER, UPPER = 3.5, 7.0
SHAPE = {"width": 1.0, "background": 1.0}
#: A derivative that is zero, after Newton steps of some 1e-13 A.
ROUNDING = -1e-12


def environments(seed, n_atoms=40, most=220):
    """Distances of directed neighbours of atoms that have from none to ``most``, in random order, and receivers."""
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, most, size=n_atoms)
    counts[:3] = [0, 1, most]
    receivers = np.repeat(np.arange(n_atoms), counts)
    distances = 7.0 * draw.uniform((0.9 / 7) ** 3, 1.1, size=len(receivers)) ** (1 / 3)
    order = draw.permutation(len(receivers))
    return torch.as_tensor(distances[order]), torch.as_tensor(receivers[order])


def count_by_hand(distances, a, width=1.0, background=1.0, upper=UPPER):
    """The smooth number of neighbours, term by term."""
    total = background * (a / upper) ** 3
    for r in distances:
        t = min(max((a - r) / width, 0.0), 1.0)
        total += t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
    return total


# -- a number of neighbours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, background", [(1.0, 1.0), (0.3, 0.01), (2.0, 5.0)])
@pytest.mark.parametrize("seed", range(3))
def test_the_solver_finds_the_roots_of_brute_force(seed, width, background):
    distances, receivers = environments(seed)
    target = torch.linspace(2.0, 90.0, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(seed))]
    found = solve(NeighbourCount(distances, receivers, width, background, UPPER), target, LOWER, UPPER)
    inside = 0
    for atom, (n, a) in enumerate(zip(target.tolist(), found.tolist(), strict=True)):
        own = distances[receivers == atom].tolist()

        def excess(x, own=own, n=n):
            return count_by_hand(own, x, width, background) - n

        if excess(LOWER) >= 0.0:
            assert a == LOWER
        elif excess(UPPER) <= 0.0:
            assert a == UPPER
        else:
            assert a == pytest.approx(brentq(excess, LOWER, UPPER, xtol=1e-13), abs=1e-9)
            inside += 1
    assert inside >= 10


def test_the_equation_is_met():
    """To the last digits, also where the slope is smallest: an integer target at the edge of a full shell."""
    distances = torch.cat([torch.full((12,), 3.0), torch.full((6,), 5.9)])
    receivers, target = torch.zeros(18, dtype=torch.int64), torch.tensor([12.0])
    a = solve(NeighbourCount(distances, receivers, 1.0, 1e-3, UPPER), target, LOWER, UPPER)
    assert count_by_hand(distances.tolist(), float(a), background=1e-3) == pytest.approx(12.0, abs=1e-10)


@pytest.mark.parametrize("width, background", [(1.0, 1.0), (0.5, 0.3)])
def test_both_derivatives_of_the_cutoffs(width, background):
    """Of distances and numbers of neighbours, against differences."""
    distances, receivers = environments(5, 6, 24)
    target = torch.linspace(2.0, 7.0, 6).requires_grad_(True)

    def of(r, n):
        return neighbour_cutoffs(r, receivers, n, LOWER, UPPER, width=width, background=background)

    inputs = (distances.requires_grad_(True), target)
    a = of(*inputs)
    assert int(((a > LOWER + 0.5) & (a < UPPER - 0.5)).sum()) >= 2 and int((a == UPPER).sum()) >= 1
    assert torch.autograd.gradcheck(of, inputs, eps=1e-5, atol=1e-7)
    assert torch.autograd.gradgradcheck(of, inputs, eps=1e-5, atol=1e-5)


def test_neighbours_pull_the_cutoff_by_less_than_they_move():
    distances, receivers = environments(9)
    r = distances.requires_grad_(True)
    a = neighbour_cutoffs(r, receivers, torch.full((40,), 30.0), LOWER, UPPER, **SHAPE)
    (slope,) = torch.autograd.grad(a[(a > LOWER + 0.5) & (a < UPPER - 0.5)].sum(), r)
    total = torch.zeros(40).index_add(0, receivers, slope)
    assert float(slope.min()) >= ROUNDING and 0.3 < float(total.max()) < 1.0


def gap(r, background=1.0):
    """An atom with 4 neighbours near and one at ``r``, that asks for 4.2: the shell in question is nearly empty."""
    distances = torch.cat([torch.full((4,), 2.0), r])
    target = torch.tensor([4.2])
    return neighbour_cutoffs(
        distances, torch.zeros(5, dtype=torch.int64), target, 2.5, UPPER, width=1.0, background=background
    )


def test_an_empty_shell_has_a_finite_derivative():
    """Without a neighbour in the shell, N grows with the background only: 4 + (a / 7)^3 = 4.2."""
    alone = 7.0 * 0.2 ** (1 / 3)
    for r in (alone + 1e-3, alone, alone - 1e-3, alone - 0.02, alone - 0.1, alone - 0.5):
        leaf = torch.tensor([r], requires_grad=True)
        a = gap(leaf)
        assert float(a.detach()) == pytest.approx(alone, abs=1e-6 if r > alone - 1e-2 else 0.6)
        (slope,) = torch.autograd.grad(a, leaf, create_graph=True)
        assert ROUNDING <= float(slope.detach()) < 1.0
        assert torch.autograd.gradcheck(gap, (leaf,), eps=1e-6, atol=1e-6)
    curvature = [float(gap(torch.tensor([alone + x]))) for x in np.linspace(-0.2, 0.1, 301)]
    assert np.abs(np.diff(curvature, 3)).max() < 1e-5  # the second derivative has no step: 1e-6 times some 10 / A


def test_an_atom_without_neighbours_has_the_largest_cutoff():
    none = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert neighbour_cutoffs(*none, torch.tensor([5.0, 30.0]), LOWER, UPPER, **SHAPE).tolist() == [UPPER, UPPER]
    assert dynamic_cutoffs(*none, 2, LOWER, UPPER, 40.0, 4.0).tolist() == [UPPER, UPPER]


def test_a_crowded_atom_has_the_smallest_cutoff():
    crowd = torch.linspace(0.8, 2.4, 60), torch.zeros(60, dtype=torch.int64)
    assert neighbour_cutoffs(*crowd, torch.tensor([20.0]), LOWER, UPPER, **SHAPE).tolist() == [LOWER]
    assert dynamic_cutoffs(*crowd, 1, LOWER, UPPER, 20.0, 4.0).tolist() == [LOWER]


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower, upper", [(3.5, 7.0), (4.0, 4.6)])
def test_bounds_are_reached_twice_differentiably(lower, upper):
    a = torch.linspace(lower - 0.3, upper + 0.3, 40_001).requires_grad_(True)
    bounded = clamped(a, lower, upper)
    (slope,) = torch.autograd.grad(bounded.sum(), a, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), a)
    bounded, slope = bounded.detach(), slope.detach()
    assert float(bounded.min()) == lower and float(bounded.max()) == upper
    assert bool((bounded.diff() >= 0.0).all()) and float(slope.max()) < 1.52
    for values in (bounded, slope, curvature):  # continuous: no step larger than the next derivative allows
        assert float(values.diff().abs().max()) < 4e-2
    d = min(0.5, 0.5 * (upper - lower))
    middle = (a >= lower + d) & (a <= upper - d)
    assert torch.equal(bounded[middle], a[middle])
    outside = (a <= lower) | (a >= upper)
    assert float(slope[outside].abs().max()) < 1e-12 and float(curvature[outside].abs().max()) < 1e-9


def test_equal_bounds():
    assert clamped(torch.tensor([1.0, 9.0]), 5.0, 5.0).tolist() == [5.0, 5.0]


# -- smooth dynamic cutoffs --------------------------------------------------------------------------------------------


def dynamic_by_hand(distances, rank, spread, h=UPPER):
    """The formulae of arXiv:2601.21147, neighbour by neighbour."""
    distances = [r for r in distances if r < h]

    def envelope(r, p=50):
        x = r / h
        return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)

    top, bottom = h * 1e-6, 1e-6
    for u, r in enumerate(distances):
        others = [t for k, t in enumerate(distances) if k != u]
        place = sum(envelope(t) / (1 + math.exp(-10 * (r - t))) for t in others)
        normal = math.exp(-((place - rank) ** 2) / (2 * spread**2)) / (spread * math.sqrt(2 * math.pi))
        weight = (1e4 * normal + 1e-6) * envelope(r)
        top, bottom = top + weight * r, bottom + weight
    return top / bottom


@pytest.mark.parametrize("block", [500_000, 1])
@pytest.mark.parametrize("rank, spread", [(40.0, 4.0), (20.0, 4.0), (15.0, 2.0)])
def test_dynamic_cutoffs_are_those_of_the_formula(rank, spread, block, monkeypatch):
    monkeypatch.setattr(adaptive, "LARGEST_BLOCK", block)
    distances, receivers = environments(3, 12, 90)
    by_hand = [dynamic_by_hand(distances[receivers == atom].tolist(), rank, spread) for atom in range(12)]
    found = adaptive._Dynamic.apply(distances, receivers, 12, UPPER, rank, spread)
    np.testing.assert_allclose(found.numpy(), by_hand, atol=1e-9)
    bounded = dynamic_cutoffs(distances, receivers, 12, LOWER, UPPER, rank, spread)
    torch.testing.assert_close(bounded, clamped(torch.tensor(by_hand), LOWER, UPPER), rtol=0, atol=1e-9)
    assert 4 < int(((bounded > LOWER) & (bounded < UPPER)).sum())


def test_a_few_neighbours_shrink_the_dynamic_cutoff():
    """As the authors have it: below the rank all weights are the smallest, and the radius is the mean distance."""
    r = torch.linspace(2.0, 5.0, 10)
    c = adaptive._Dynamic.apply(r, torch.zeros(10, dtype=torch.int64), 1, UPPER, 40.0, 4.0)
    assert float(c) == pytest.approx((float(r.sum()) + UPPER) / 11, abs=1e-3)


@pytest.mark.parametrize("block", [500_000, 1])
def test_the_derivative_of_dynamic_cutoffs(block, monkeypatch):
    monkeypatch.setattr(adaptive, "LARGEST_BLOCK", block)
    distances, receivers = environments(4, 6, 40)

    def of(r):
        return dynamic_cutoffs(r, receivers, 6, LOWER, UPPER, 15.0, 4.0)

    assert torch.autograd.gradcheck(of, (distances.requires_grad_(True),), eps=1e-6, atol=1e-7)
    (slope,) = torch.autograd.grad(of(distances).sum(), distances, create_graph=True)
    assert float(slope.detach().abs().max()) > 0.01
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


# -- pairs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [NeighbourCutoffs(14), DynamicCutoffs(12)], ids=str)
@pytest.mark.parametrize("rule", ["arithmetic", "geometric"])
def test_pairs_are_those_within_the_mean_of_both_cutoffs(scheme, rule):
    draw = np.random.default_rng(2)
    x = torch.as_tensor(draw.uniform(0.0, 9.0, size=(40, 3)))
    i, j = torch.triu_indices(40, 40, 1)
    vectors = x[j] - x[i]
    candidates = Candidates(i, j, vectors.norm(dim=1), vectors, numbers=torch.ones(40, dtype=torch.int64))
    selector = SchemeSelector(scheme.bounded(LOWER, UPPER), RadialSelector(rule))
    bounds = torch.full((40,), UPPER)
    assert float(selector.reach(bounds)) == UPPER
    kept = selector.select(candidates, bounds)
    a = []
    for atom in range(40):
        r = (x - x[atom]).norm(dim=1)
        r = r[torch.arange(40) != atom]
        own = torch.zeros(39, dtype=torch.int64)
        if isinstance(scheme, NeighbourCutoffs):
            a.append(float(neighbour_cutoffs(r, own, torch.tensor([14.0]), LOWER, UPPER, **SHAPE)))
        else:
            a.append(float(dynamic_cutoffs(r, own, 1, LOWER, UPPER, 12.0, 4.0)))
    np.testing.assert_allclose(kept.cutoffs.numpy(), a, atol=1e-9)
    assert np.ptp(a) > 0.5
    mean = {"arithmetic": lambda p, q: (p + q) / 2, "geometric": lambda p, q: math.sqrt(p * q)}[rule]
    expected = [
        k for k, (p, q) in enumerate(zip(i.tolist(), j.tolist(), strict=True))
        if float((x[p] - x[q]).norm()) <= mean(a[p], a[q])
    ]  # fmt: skip
    assert kept.index.tolist() == expected and 0 < len(expected) < len(i)
    assert kept.weights is None
    wide = selector.select(candidates, bounds, margin=0.2)
    assert set(wide.index.tolist()) == set(torch.nonzero(candidates.distances <= UPPER + 0.2).flatten().tolist())


def test_distances_alone_are_not_enough():
    selector = SchemeSelector(NeighbourCutoffs(14, lower=3.5, upper=7.0), RadialSelector("arithmetic"))
    atoms = torch.tensor([0])
    with pytest.raises(ValueError, match="neighbours=14,.* follow the environment: vectors and elements"):
        selector.select(Candidates(atoms, atoms, torch.ones(1)), torch.full((1,), 7.0))
