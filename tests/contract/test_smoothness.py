"""Nothing jumps where a pair ends: the taper, and energies, forces and dE/da at every pair's own m_ij.

For whole p the taper of Eq. 1 factorises, s(x) = (1 - x)^3 sum_{k < p} (k + 1)(k + 2) / 2 x^k with x = r / m. So the
value, the slope and the curvature vanish at x = 1, for p = 5 and for every other p, in r and in m alike; the first that
does not is the third derivative, s''' = -p (p + 1)(p + 2) / m^3, which is -210 / m^3 for p = 5. (p decides how flat s
is at small r: 1 - s is of order x^p.) Hence the energy is C2 in positions and cutoffs when pairs are selected anew:
energy, forces and dE/da and the first derivatives of all three are continuous, the second derivatives of forces and
dE/da are not.
"""

from dataclasses import replace

import pytest
import torch

from differences import copies
from examples import CONTRACTS, contract_model, sampled_cutoffs
from fcl.models.conditioning import taper
from tolerances import EQUAL, ORDER, TAPER, TAPER_FLOAT32


@pytest.fixture(scope="module", params=CONTRACTS, ids=" ".join)
def model(request, small_settings):
    architecture, mixing = request.param
    return contract_model(small_settings, "fcl", mixing, architecture=architecture)


def derivatives(function, x, count):
    """[f, f', ..., f^(count)] of a function of one number by repeated automatic differentiation."""
    x = torch.tensor(float(x), requires_grad=True)
    values = [function(x)]
    for _ in range(count):
        values.append(torch.autograd.grad(values[-1], x, create_graph=True)[0])
    return [float(value.detach()) for value in values]


@pytest.mark.parametrize("p", [1, 2, 5, 6])
def test_taper_and_its_derivatives(p):
    """Value, slope and curvature vanish at r = m; the third derivative is -p (p + 1)(p + 2) / m^3 (in m: plus)."""
    m = 4.7
    jump = p * (p + 1) * (p + 2) / m**3
    m_tensor, r_tensor = torch.tensor(m), torch.tensor(m)
    for values, third in (
        (derivatives(lambda r: taper(r, m_tensor, p), m, 3), -jump),
        (derivatives(lambda cutoff: taper(r_tensor, cutoff, p), m, 3), jump),
    ):
        assert values[:3] == pytest.approx([0.0, 0.0, 0.0], abs=TAPER)
        assert values[3] == pytest.approx(third, rel=TAPER)
    assert p != 5 or jump == pytest.approx(210 / m**3)


@pytest.mark.parametrize("p", [1, 2, 5, 6])
def test_taper_is_one_inside_and_nothing_outside(p):
    """s falls from 1 to 0 without turning, is the polynomial that Eq. 1 prints, and exactly zero beyond m."""
    m = torch.tensor(5.0)
    r = torch.linspace(1e-3, 5.0, 400)
    x = r / m
    printed = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    values = taper(r, m, p)
    torch.testing.assert_close(values, printed, rtol=0, atol=TAPER)
    assert (values.diff() < TAPER).all()
    assert float(values[0]) == pytest.approx(1.0, abs=(p + 1) * (p + 2) * float(x[0]) ** p)
    assert taper(torch.tensor([5.0 + 1e-9, 6.0, 1e4]), m, p).abs().max() == 0


def test_taper_in_single_precision():
    """Training runs in float32: there too the taper ends without a step, never below zero, with the right slope."""
    m = torch.tensor(5.0, dtype=torch.float64)
    r = (m * (1 - torch.logspace(-6, -2, 300, dtype=torch.float64))).requires_grad_(True)
    single = r.detach().float().requires_grad_(True)
    exact, values = taper(r, m, 5), taper(single, m.float(), 5)
    (slope,), (single_slope,) = (torch.autograd.grad(s.sum(), x) for s, x in ((exact, r), (values, single)))
    assert (values >= 0).all()
    torch.testing.assert_close(values.double(), exact, rtol=0, atol=TAPER_FLOAT32)
    torch.testing.assert_close(single_slope.double(), slope, rtol=0, atol=100 * TAPER_FLOAT32)


def test_taper_takes_one_cutoff_a_pair():
    r = torch.tensor([[3.0], [3.0], [4.5]])
    m = torch.tensor([[4.0], [6.0], [4.0]])
    together = taper(r, m, 5)
    assert together.shape == (3, 1) and float(together[2]) == 0.0
    for k in range(3):
        assert float(together[k]) == float(taper(r[k], m[k], 5))


def responses(model, batch, cutoffs):
    """Energy, forces and dE/da, and a derivative of each along one fixed direction: the same curvature terms that an
    energy-conserving simulation or a Newton step of the cutoffs would see."""
    positions = batch.positions.clone().requires_grad_(True)
    cutoffs = cutoffs.clone().requires_grad_(True)
    energy = model(replace(batch, positions=positions), cutoffs, forces=False, training=True)["energy"].sum()
    slopes = torch.autograd.grad(energy, (positions, cutoffs), create_graph=True)
    generator = torch.Generator().manual_seed(4)
    along = sum((torch.randn(slope.shape, generator=generator) * slope).sum() for slope in slopes)
    curvatures = torch.autograd.grad(along, (positions, cutoffs))
    return [value.detach() for value in (energy, *slopes, *curvatures)]


def without(batch, pair):
    """The batch without its ``pair``-th pair."""
    kept = torch.arange(batch.pair_index.shape[1]) != pair
    return replace(batch, pair_index=batch.pair_index[:, kept], pair_shifts=batch.pair_shifts[kept])


def distances_of(batch):
    i, j = batch.pair_index
    shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, batch.cells[batch.pair_structure])
    return torch.linalg.vector_norm(batch.positions[j] - batch.positions[i] + shifts, dim=1)


def test_a_pair_at_its_own_cutoff_might_as_well_not_be_there(model, contract_graphs):
    """Energy, forces, dE/da and their first derivatives are the same with and without a pair that has r_ij = m_ij;
    a tenth of an angstrom further in they are not."""
    compared = 0
    for k in range(len(contract_graphs)):
        n = int(contract_graphs.ptr[k + 1] - contract_graphs.ptr[k])
        wide = copies(contract_graphs, k, torch.full((1, n), 6.9), model.selector)
        distances = distances_of(wide)
        candidates = torch.nonzero(distances > 3.6).flatten()
        for pair in candidates[:: max(1, len(candidates) // 2)][:2].tolist():
            i, j = wide.pair_index[:, pair].tolist()
            cutoffs = sampled_cutoffs(n, pair)
            cutoffs[i] = cutoffs[j] = distances[pair]
            # Candidates beyond their cutoffs stay in the list: the taper has to silence them by itself.
            there, gone = responses(model, wide, cutoffs), responses(model, without(wide, pair), cutoffs)
            for mine, theirs in zip(there, gone, strict=True):
                torch.testing.assert_close(mine, theirs, **EQUAL)
            cutoffs[i] += 0.2  # m_ij grows by 0.1 A, or by 0.2 A for an atom and its own image
            there, gone = responses(model, wide, cutoffs), responses(model, without(wide, pair), cutoffs)
            assert (there[0] - gone[0]).abs() > 100 * EQUAL["atol"]
            compared += 1
    assert compared >= 30


def test_how_fast_a_pair_vanishes(model):
    """At a distance d inside m_ij a pair's energy is of order d^3, its force and dE/da of order d^2: halving d divides
    them by 8 and 4. m_ij is the mixed radius, not that of either atom."""
    numbers, pair = torch.tensor([6, 8]), torch.tensor([[0], [1]])
    cutoffs = torch.tensor([4.2, 5.3], requires_grad=True)
    m = float(model.mixing(*cutoffs.detach()))

    def at(depth):
        vectors = torch.tensor([[0.0, 0.0, m - depth]], requires_grad=True)
        energy = model.site_energies(numbers, pair, vectors, cutoffs).sum()
        return [energy.detach(), *(g.abs().sum() for g in torch.autograd.grad(energy, (vectors, cutoffs)))]

    assert all(float(value) == 0.0 for value in at(-1e-6))
    coarse, fine = at(2e-3), at(1e-3)
    for before, after, order in zip(coarse, fine, (3, 2, 2), strict=True):
        assert after.abs() > 0 and float(torch.log2(before / after)) == pytest.approx(order, abs=ORDER)


def test_the_static_taper_is_that_of_mace(small_settings):
    """A static model's pair ends at its one cutoff with the same orders."""
    model = contract_model(small_settings, "static")
    numbers, pair = torch.tensor([6, 8]), torch.tensor([[0], [1]])

    def at(depth):
        vectors = torch.tensor([[0.0, 0.0, model.cutoff_limit - depth]], requires_grad=True)
        energy = model.site_energies(numbers, pair, vectors).sum()
        return float(energy.detach()), float(torch.autograd.grad(energy, vectors)[0].abs().sum())

    assert at(-1e-6) == (0.0, 0.0)
    (energy, force), (half_energy, half_force) = at(2e-3), at(1e-3)
    # Bessel functions of the same range as the taper vanish at the cutoff too: one order more.
    assert energy / half_energy == pytest.approx(16, rel=ORDER) and force / half_force == pytest.approx(8, rel=ORDER)
