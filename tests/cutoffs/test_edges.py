"""Which pairs are kept: Eq. 4 against brute force, also in TorchScript and NumPy; forces through a selector that looks
at positions."""

import math

import numpy as np
import pytest
import torch

from examples import ARITHMETIC
from fcl.cutoffs.edges import Candidates, EdgeSelector, Kept, RadialSelector, indices_within
from fcl.cutoffs.mixing import MIXING_RULES
from fcl.cutoffs.plain import NUMPY_RULES, numpy_rule, within
from fcl.data.neighbors import half_pairs

#: m of two numbers; the last rule is one that the library does not have.
BY_HAND = {
    "arithmetic": lambda a, b: (a + b) / 2,
    "geometric": lambda a, b: math.sqrt(a * b),
    "harmonic": lambda a, b: 2 * a * b / (a + b),
}


@pytest.fixture(autouse=True)
def third(monkeypatch):
    monkeypatch.setitem(MIXING_RULES, "harmonic", lambda a, b: 2 * a * b / (a + b))


def random_candidates(seed, n_atoms=12, n=400):
    """Pairs at distances around the cutoffs, and the cutoffs."""
    draw = torch.Generator().manual_seed(seed)
    i, j = torch.randint(n_atoms, (2, n), generator=draw)
    cutoffs = 3.5 + 3.5 * torch.rand(n_atoms, generator=draw, dtype=torch.float64)
    return Candidates(i, j, 2.0 + 6.0 * torch.rand(n, generator=draw, dtype=torch.float64)), cutoffs


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_of_brute_force(name, seed):
    candidates, cutoffs = random_candidates(seed)
    kept = RadialSelector(name).select(candidates, cutoffs)
    pairs = zip(candidates.i.tolist(), candidates.j.tolist(), candidates.distances.tolist(), strict=True)
    m = {k: BY_HAND[name](float(cutoffs[i]), float(cutoffs[j])) for k, (i, j, _) in enumerate(pairs)}
    expected = [k for k, r in enumerate(candidates.distances.tolist()) if r <= m[k]]
    assert kept.index.tolist() == expected and 50 < len(expected) < 350
    assert kept.pair_cutoffs.tolist() == pytest.approx([m[k] for k in expected], rel=1e-14)
    assert kept.weights is None and kept.topology is kept.index


def test_a_pair_at_its_cutoff_is_kept():
    m = torch.tensor([3.7, 5.0, 6.3], dtype=torch.float64)
    atoms = torch.arange(3)
    for distances, count in ((m, 3), (torch.nextafter(m, 2 * m), 0), (torch.nextafter(m, 0 * m), 3)):
        assert len(ARITHMETIC.select(Candidates(atoms, atoms, distances), m).index) == count


@pytest.mark.parametrize("name", BY_HAND)
def test_no_pair_is_kept_beyond_the_reach(name):
    candidates, cutoffs = random_candidates(7)
    selector = RadialSelector(name)
    kept = selector.select(candidates, cutoffs)
    reach = selector.reach(cutoffs)
    assert float(reach) == float(selector.reach(cutoffs.numpy())) == float(cutoffs.max())
    assert bool((kept.candidate_cutoffs <= reach * (1 + 1e-12)).all())
    assert float(candidates.distances[kept.index].max()) <= float(reach) < float(candidates.distances.max())


def test_a_rule_that_exceeds_both_cutoffs_makes_no_selector(monkeypatch):
    monkeypatch.setitem(MIXING_RULES, "sum", lambda a, b: a + b)
    with pytest.raises(ValueError, match="'sum' is no mean: .* reach as far as the larger one"):
        RadialSelector("sum")


def test_a_margin_keeps_all_that_may_come_near():
    """And a later selection with known m_ij is that of a fresh one."""
    candidates, cutoffs = random_candidates(11)
    wide = ARITHMETIC.select(candidates, cutoffs, margin=0.5)
    shorter = Candidates(candidates.i, candidates.j, candidates.distances - 0.5)
    assert wide.index.tolist() == ARITHMETIC.select(shorter, cutoffs).index.tolist()
    i, j, distances = (v[wide.index] for v in (candidates.i, candidates.j, candidates.distances))
    known = ARITHMETIC.select(Candidates(i, j, distances, pair_cutoffs=wide.pair_cutoffs), cutoffs)
    fresh = ARITHMETIC.select(candidates, cutoffs)
    assert wide.index[known.index].tolist() == fresh.index.tolist()
    assert torch.equal(known.pair_cutoffs, fresh.pair_cutoffs)


def test_torchscript_keeps_the_same_pairs():
    candidates, cutoffs = random_candidates(3)
    kept = ARITHMETIC.select(candidates, cutoffs)
    scripted = torch.jit.script(indices_within)
    assert torch.equal(scripted(candidates.distances, kept.candidate_cutoffs), kept.index)
    wide = ARITHMETIC.select(candidates, cutoffs, margin=0.3)
    assert torch.equal(scripted(candidates.distances, kept.candidate_cutoffs, 0.3), wide.index)


@pytest.mark.parametrize("name", NUMPY_RULES)
def test_numpy_keeps_the_same_pairs(name):
    candidates, cutoffs = random_candidates(5)
    kept = RadialSelector(name).select(candidates, cutoffs)
    m = numpy_rule(name)(*(cutoffs.numpy()[index.numpy()] for index in (candidates.i, candidates.j)))
    np.testing.assert_array_equal(m, kept.candidate_cutoffs.numpy())
    np.testing.assert_array_equal(np.flatnonzero(within(candidates.distances.numpy(), m)), kept.index.numpy())


def test_numpy_has_the_rules_of_the_library():
    assert [*NUMPY_RULES, "harmonic"] == list(MIXING_RULES)


# -- a selector that depends on positions ------------------------------------------------------------------------------


class Crowded(EdgeSelector):
    """Cutoffs that shrink where an atom has many neighbours, which are counted smoothly; weights fall to 0 at m_ij."""

    def reach(self, cutoffs):
        return cutoffs.max()

    def select(self, candidates, cutoffs, margin=0.0):
        i, j, r = candidates.i, candidates.j, candidates.distances.to(cutoffs.dtype)
        near = torch.relu(1.0 - (r / self.reach(cutoffs)) ** 2) ** 3
        crowd = torch.zeros_like(cutoffs).index_add(0, i, near).index_add(0, j, near)
        own = cutoffs / (1.0 + 0.3 * crowd)
        m = 0.5 * (own[i] + own[j])
        return Kept(indices_within(r.detach(), m.detach(), margin), m, torch.relu(1.0 - (r / m) ** 2) ** 3)


class Structure:
    """Some atoms in a cell, whose energy is a sum over the pairs that a selector keeps."""

    def __init__(self, positions, cell=None, pbc=False):
        self.positions = torch.tensor(positions, dtype=torch.float64)
        self.cell = torch.zeros(3, 3, dtype=torch.float64) if cell is None else torch.tensor(cell, dtype=torch.float64)
        self.pbc = np.full(3, pbc)
        self.cutoffs = torch.linspace(4.2, 5.0, len(self.positions), dtype=torch.float64)

    def kept(self, selector, positions, strain):
        """Kept pairs and all distances, from a list made for these very positions."""
        deformation = torch.eye(3, dtype=torch.float64) + strain
        x, cell = positions @ deformation, self.cell @ deformation
        reach = float(selector.reach(self.cutoffs.detach()))
        (i, j), shifts, _ = half_pairs(x.detach().numpy(), cell.detach().numpy(), self.pbc, reach + 1e-6)
        i, j = torch.as_tensor(i), torch.as_tensor(j)
        vectors = x[j] - x[i] + torch.as_tensor(shifts, dtype=torch.float64) @ cell
        candidates = Candidates(i, j, torch.linalg.vector_norm(vectors, dim=1), vectors)
        return selector.select(candidates, self.cutoffs), candidates

    def energy(self, selector, positions, strain):
        kept, candidates = self.kept(selector, positions, strain)
        weights = 1.0 if kept.weights is None else kept.weights
        return (weights * torch.exp(-0.5 * candidates.distances[kept.index]) * kept.pair_cutoffs).sum()

    def gradients(self, selector):
        """dE/dx and dE/dstrain by differentiation."""
        x, strain = self.positions.clone().requires_grad_(True), torch.zeros(3, 3, dtype=torch.float64)
        strain.requires_grad_(True)
        return torch.autograd.grad(self.energy(selector, x, strain), (x, strain))

    def differences(self, selector, step=1e-4):
        """The same by central differences, every energy from a list and a selection of its own."""
        zero = torch.zeros(3, 3, dtype=torch.float64)
        numeric = torch.zeros_like(self.positions), torch.zeros_like(zero)
        for which, gradient in enumerate(numeric):
            for place in np.ndindex(*gradient.shape):
                for sign in (1.0, -1.0):
                    inputs = [self.positions.clone(), zero.clone()]
                    inputs[which][place] += sign * step
                    gradient[place] += sign * float(self.energy(selector, *inputs)) / (2.0 * step)
        return numeric


@pytest.fixture(params=["cluster", "crystal"])
def structure(request):
    points = np.array([[0.1, 0, 0], [2.1, 0.3, 0], [0.2, 2.4, 0.5], [1.9, 2.2, 1.8], [0.4, 0.1, 2.9]])
    crystal = request.param == "crystal"
    return Structure(points, np.diag([4.6, 5.1, 5.6]) + 0.3 * np.eye(3, k=1) if crystal else None, crystal)


def test_forces_and_stress_flow_through_cutoffs_and_weights(structure):
    selector = Crowded()
    kept, candidates = structure.kept(selector, structure.positions, torch.zeros(3, 3, dtype=torch.float64))
    assert 0 < len(kept.index) < len(candidates.i)
    for analytic, numeric in zip(structure.gradients(selector), structure.differences(selector), strict=True):
        torch.testing.assert_close(analytic, numeric, rtol=1e-6, atol=1e-7)


def just_dropped():
    """Three atoms: 0 and 1 are a kept pair; atom 2 is 1 mA beyond m_02 and too far from 1."""
    selector, zero = Crowded(), torch.zeros(3, 3, dtype=torch.float64)

    def beyond(d):
        """r_02 - m_02 with atom 2 at distance d of atom 0."""
        structure = Structure([[0, 0, 0], [2.0, 0, 0], [0, d, 0]])
        kept, candidates = structure.kept(selector, structure.positions, zero)
        pair = int(torch.nonzero((candidates.i == 0) & (candidates.j == 2)))
        return float(candidates.distances[pair] - kept.candidate_cutoffs[pair])

    low, high = 2.0, 4.9
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) < 1e-3 else (low, middle)
    return Structure([[0, 0, 0], [2.0, 0, 0], [0, high, 0]])


def test_a_pair_that_has_just_been_dropped_has_a_force():
    """It shortens the cutoffs of the pair that is left, hence the force on an atom without kept pairs."""
    structure, selector = just_dropped(), Crowded()
    kept, candidates = structure.kept(selector, structure.positions, torch.zeros(3, 3, dtype=torch.float64))
    assert (candidates.i[kept.index].tolist(), candidates.j[kept.index].tolist()) == ([0], [1])
    forces, numeric = structure.gradients(selector)[0], structure.differences(selector)[0]
    torch.testing.assert_close(forces, numeric, rtol=1e-6, atol=1e-8)
    assert float(forces[2].norm()) > 1e-3


def test_the_topology_of_eq_4_is_fixed():
    """Its m_ij are no functions of positions, but of the cutoffs."""
    structure = just_dropped()
    structure.cutoffs.requires_grad_(True)
    x = structure.positions.clone().requires_grad_(True)
    kept, _ = structure.kept(ARITHMETIC, x, torch.zeros(3, 3, dtype=torch.float64))
    cutoffs, positions = torch.autograd.grad(kept.pair_cutoffs.sum(), (structure.cutoffs, x), allow_unused=True)
    assert positions is None
    assert float(cutoffs.sum()) == pytest.approx(len(kept.index))


def test_a_batch_takes_no_weights(contract_graphs):
    batch = contract_graphs.batch(torch.tensor([0]))
    cutoffs = torch.full((batch.n_atoms,), 5.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="gives weights to pairs, and batches have none"):
        contract_graphs.select_pairs(batch, cutoffs, Crowded())
