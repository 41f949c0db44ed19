"""Models with cutoffs and weights that depend on positions: derivatives, batches, symmetry, smoothness.

Every registered architecture, on molecules, a wire, layers and crystals, some smaller than a cutoff.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from differences import copies, force_differences, stress_differences
from examples import ARITHMETIC, CONTRACTS, contract_model
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.edges import EdgeSelector, Kept, indices_within
from fcl.cutoffs.schemes import DynamicCutoffs, NeighbourCutoffs
from fcl.models.interface import evaluated_pairs
from tolerances import DIFFERENCE, EQUAL, SAME_SYSTEM

#: Numbers of neighbours that these structures have within the bounds: most atoms are inside, some at each bound.
SCHEMES = [
    NeighbourCutoffs(9.5),
    NeighbourCutoffs({"H": 6, "C": 14, "O": 22}),
    DynamicCutoffs(14),
    DynamicCutoffs(40, upper=6.5),
]
CARD = {"r_min_angstrom": 3.5}
#: Atoms of these elements have a number in the second scheme.
COVERED = {1, 6, 8}


class Weighted(EdgeSelector):
    """Eq. 4, and weights of pairs that fall where another atom is near one of them: pairs vanish before r = m."""

    def reach(self, cutoffs):
        return cutoffs.max()

    def select(self, candidates, cutoffs, margin=0.0):
        i, j, r = candidates.i, candidates.j, candidates.distances
        near = torch.relu(1.0 - (r / 4.0) ** 2) ** 3
        crowd = torch.zeros_like(cutoffs).index_add(0, i, near).index_add(0, j, near)
        m = ARITHMETIC.pair_cutoffs(i, j, cutoffs)
        return Kept(indices_within(r.detach(), m, margin), m, 1.0 / (1.0 + 0.2 * crowd[i] * crowd[j]))


class AtPositions:
    """A model with a selector that depends on positions, called like the model."""

    def __init__(self, model, selector):
        self.model, self.chosen, self.selector = model, selector, model.selector

    def __call__(self, batch, cutoffs, **options):
        return self.model(batch, cutoffs, selector=self.chosen, **options)


@pytest.fixture(scope="module")
def models(small_settings):
    @functools.cache
    def model_of(architecture="mace", mixing="arithmetic", backend="auto"):
        model = contract_model(small_settings, "fcl", mixing, architecture=architecture, backend=backend)
        model.card = CARD
        return model

    return model_of


def chosen(model, scheme):
    """The model with a scheme, and the candidates' cutoff (A)."""
    choice = CutoffChoice(model, scheme)
    return AtPositions(model, choice.selector), float(choice.per_atom)


def members(graphs, scheme):
    """Structures of ``graphs`` whose elements the scheme covers."""
    every = range(len(graphs))
    if not isinstance(getattr(scheme, "neighbours", None), dict):
        return list(every)
    return [k for k in every if set(graphs.batch(torch.tensor([k])).numbers.tolist()) <= COVERED]


def places(graphs, model, scheme, names=("lower", "inside", "upper")):
    """How many atoms of all structures have a cutoff at the bounds or between them."""
    one, reach = chosen(model, scheme)
    scheme, found = one.chosen.scheme, dict.fromkeys(names, 0)
    for k in members(graphs, scheme):
        n = int(graphs.ptr[k + 1] - graphs.ptr[k])
        batch = copies(graphs, k, torch.full((1, n), reach), model.selector)
        i, j = batch.pair_index
        vectors = batch.positions[j] - batch.positions[i] + batch.pair_shifts @ batch.cells[0]
        r = vectors.norm(dim=1)
        a = scheme.cutoffs(torch.cat([r, r]), torch.cat([i, j]), batch.numbers)
        found["lower"] += int((a == scheme.lower).sum())
        found["upper"] += int((a == scheme.upper).sum())
        found["inside"] += int(((a > scheme.lower) & (a < scheme.upper)).sum())
    return found


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("contract", [("mace", "arithmetic"), ("mace", "geometric")], ids=" ".join)
def test_forces_and_stress(models, contract_graphs, scheme, contract):
    """All components, where atoms lie at the bounds and between them."""
    model, reach = chosen(models(*contract), scheme)
    assert places(contract_graphs, model.model, scheme)["inside"] > 10
    largest = 0.0
    for k in members(contract_graphs, scheme):
        n = int(contract_graphs.ptr[k + 1] - contract_graphs.ptr[k])
        cutoffs = torch.full((n,), reach)
        periodic = float(torch.linalg.det(contract_graphs.cells[k]).abs()) > 0.0
        output = model(copies(contract_graphs, k, cutoffs[None], model.selector), cutoffs, stress=periodic)
        numeric = force_differences(model, contract_graphs, k, cutoffs)
        torch.testing.assert_close(output["forces"], numeric, **DIFFERENCE)
        largest = max(largest, float(numeric.abs().max()))
        if periodic:
            numeric = stress_differences(model, contract_graphs, k, cutoffs)
            torch.testing.assert_close(output["stress"][0], numeric, **DIFFERENCE)
    assert largest > 0.1


@pytest.mark.parametrize("architecture, mixing", CONTRACTS)
def test_every_architecture_and_backend(models, graphs, architecture, mixing):
    backends = ("fast", "reference") if architecture == "mace" and mixing == "arithmetic" else ("auto",)
    for backend in backends:
        model, reach = chosen(models(architecture, mixing, backend), NeighbourCutoffs(9.5))
        for k in (0, 3, 4):
            n = int(graphs.ptr[k + 1] - graphs.ptr[k])
            cutoffs = torch.full((n,), reach)
            forces = model(copies(graphs, k, cutoffs[None], model.selector), cutoffs)["forces"]
            torch.testing.assert_close(forces, force_differences(model, graphs, k, cutoffs), **DIFFERENCE)


def test_weights_that_depend_on_positions(models, graphs):
    """The way for envelopes that look at third atoms: forces and stress follow."""
    model, change = AtPositions(models(), Weighted()), 0.0
    for k in range(len(graphs)):
        n = int(graphs.ptr[k + 1] - graphs.ptr[k])
        cutoffs = torch.linspace(5.0, 6.8, n)
        batch = copies(graphs, k, cutoffs[None], model.selector)
        periodic = float(torch.linalg.det(graphs.cells[k]).abs()) > 0.0
        output = model(batch, cutoffs, stress=periodic)
        torch.testing.assert_close(output["forces"], force_differences(model, graphs, k, cutoffs), **DIFFERENCE)
        if periodic:
            numeric = stress_differences(model, graphs, k, cutoffs)
            torch.testing.assert_close(output["stress"][0], numeric, **DIFFERENCE)
        change = max(change, float((output["energy"] - model.model(batch, cutoffs)["energy"]).abs()))
    assert change > 0.1


@pytest.mark.parametrize("scheme", [SCHEMES[0], SCHEMES[2]], ids=str)
def test_a_batch_is_its_structures_one_by_one(models, contract_graphs, scheme):
    model, reach = chosen(models(), scheme)
    indices = torch.arange(len(contract_graphs))

    def evaluated(chunk):
        batch = contract_graphs.batch(chunk)
        cutoffs = torch.full((batch.n_atoms,), reach)
        batch = contract_graphs.select_pairs(batch, cutoffs, model.selector)
        output = model(batch, cutoffs)
        pairs = torch.bincount(evaluated_pairs(batch, output), minlength=batch.n_structures)
        assert bool((pairs <= torch.bincount(batch.pair_structure, minlength=batch.n_structures)).all())
        return output, pairs

    together, pairs = evaluated(indices)
    alone = [evaluated(indices[k : k + 1]) for k in range(len(indices))]
    for name in ("energy", "forces", "node_energy"):
        torch.testing.assert_close(together[name], torch.cat([one[name] for one, _ in alone]), **EQUAL)
    assert pairs.tolist() == [int(count) for _, count in alone]


@pytest.mark.parametrize("scheme", [SCHEMES[0], SCHEMES[2]], ids=str)
def test_turned_and_in_another_order(models, contract_graphs, scheme):
    """Energies are the same, forces turn and are renumbered with the atoms, in whatever order the pairs come."""
    model, reach = chosen(models(), scheme)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))[0]
    for k in range(len(contract_graphs)):
        batch = contract_graphs.batch(torch.tensor([k]))
        cutoffs = torch.full((batch.n_atoms,), reach)
        batch = contract_graphs.select_pairs(batch, cutoffs, model.selector)
        output = model(batch, cutoffs)
        turned = replace(batch, positions=batch.positions @ rotation, cells=batch.cells @ rotation)
        new = torch.randperm(batch.n_atoms, generator=torch.Generator().manual_seed(k))  # atom -> its number
        old = torch.argsort(new)
        order = torch.randperm(batch.pair_index.shape[1], generator=torch.Generator().manual_seed(k))
        renumbered = replace(
            batch, numbers=batch.numbers[old], positions=batch.positions[old],
            pair_index=new[batch.pair_index[:, order]], pair_shifts=batch.pair_shifts[order],
        )  # fmt: skip
        for other, forces in ((turned, output["forces"] @ rotation), (renumbered, output["forces"][old])):
            found = model(other, cutoffs)
            torch.testing.assert_close(found["energy"], output["energy"], **SAME_SYSTEM)
            torch.testing.assert_close(found["forces"], forces, **SAME_SYSTEM)
            assert len(found["kept_pairs"]) == len(output["kept_pairs"])


class Nearest(EdgeSelector):
    """The control: cutoffs that reach to the n-th neighbour. Their derivative changes when it is another one."""

    def __init__(self, n):
        self.n = n

    def reach(self, cutoffs):
        return cutoffs.max()

    def select(self, candidates, cutoffs, margin=0.0):
        i, j, r = candidates.i, candidates.j, candidates.distances
        table = torch.full((len(cutoffs), len(cutoffs)), 7.0).index_put((i, j), r).index_put((j, i), r)
        own = torch.sort(table, dim=1).values[:, self.n - 1].clamp(3.5, 7.0)
        m = ARITHMETIC.pair_cutoffs(i, j, own)
        return Kept(indices_within(r.detach(), m.detach(), margin), m, cutoffs=own)


@pytest.mark.parametrize("scheme, smooth", [(SCHEMES[0], True), (SCHEMES[2], True), ("nearest", False)], ids=str)
def test_a_far_atom_that_enters_changes_the_energy_smoothly(models, scheme, smooth):
    """It comes from beyond all cutoffs to 2 A: forces are continuous all the way (except for the control)."""
    from ase import Atoms

    from examples import labelled
    from fcl.data.batch import GraphData
    from fcl.data.store import arrays_from_frames

    draw, model = np.random.default_rng(4), models()
    near = draw.normal(size=(15, 3)) * 2.2
    h = 0.01
    ways = np.arange(8.0, 3.0, -h)
    frames = [labelled(Atoms("C8O7H", positions=np.vstack([near, near[0] + [0.6 * d, 0.0, 0.8 * d]])), 0) for d in ways]
    data = GraphData(arrays_from_frames(frames, 7.0), torch.float64)
    batch = data.batch(torch.arange(len(ways)))
    cutoffs = torch.full((batch.n_atoms,), 7.0)
    if smooth:
        one, _ = chosen(model, scheme)
        batch = data.select_pairs(batch, cutoffs, model.selector)
        output = one(batch, cutoffs)
        energies, forces = output["energy"], output["forces"]
    else:
        parts = []
        for k in range(len(ways)):
            part = data.select_pairs(data.batch(torch.tensor([k])), cutoffs[:16], model.selector)
            parts.append(model(part, cutoffs[:16], selector=Nearest(8)))
        energies, forces = (torch.cat([part[name] for part in parts]) for name in ("energy", "forces"))
    along = forces.view(len(ways), 16, 3)[:, -1] @ torch.tensor([0.6, 0.0, 0.8])
    energies, along = energies.numpy(), along.numpy()
    assert abs(energies[-1] - energies[0]) > 1e-3
    numeric = np.gradient(energies, h)  # the way is walked towards smaller d
    rough = np.abs(numeric - along)[1:-1].max() / np.abs(along).max()
    assert (rough < 0.02) == smooth, rough
