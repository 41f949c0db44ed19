"""Forces, stress and derivatives with respect to the cutoffs are those of the energy: central differences.

On molecules, a wire, layers and crystals, random ones and shipped ones, some with several images of one neighbour,
every atom with a cutoff of its own. All components are compared, not a choice of them.
"""

import functools

import pytest
import torch

from differences import (
    STEP,
    both_sides,
    copies,
    cutoff_differences,
    cutoff_gradient,
    force_differences,
    quotient,
    stress_differences,
)
from examples import contract_model, labelled, random_structures, sampled_cutoffs
from fcl.cutoffs.rules import element_cutoffs
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.models.registry import ARCHITECTURES
from tolerances import DIFFERENCE

#: Architecture, kind, mixing rule and backend: every registered architecture is among them.
OTHERS = [*(name for name in ARCHITECTURES if name != "mace"), "converted"]
FLEXIBLE = ["mace fcl arithmetic fast", "mace fcl geometric fast", "mace fcl arithmetic reference"]
FLEXIBLE += [f"{name} fcl arithmetic auto" for name in OTHERS]
ALL = [*FLEXIBLE, "mace static arithmetic fast", "mace static arithmetic reference"]
ALL += [f"{name} static arithmetic auto" for name in OTHERS]


@pytest.fixture(scope="module")
def models(small_settings):
    """Models by architecture, kind and mixing rule, made when they are asked for."""

    @functools.cache
    def model_of(architecture, kind, mixing):
        return contract_model(small_settings, kind, mixing, architecture=architecture)

    return model_of


@pytest.fixture
def model(request, models):
    architecture, kind, mixing, backend = request.param.split()
    model = models(architecture, kind, mixing)
    model.backend = backend
    return model


def cutoffs_of(model, graphs, k):
    """A cutoff (A) for every atom of structure ``k``; the only one that a static model has."""
    count = int(graphs.ptr[k + 1] - graphs.ptr[k])
    return sampled_cutoffs(count, k) if model.flexible else torch.full((count,), model.cutoff_limit)


@pytest.mark.parametrize("model", ALL, indirect=True)
def test_forces(model, contract_graphs):
    """F = -dE/dx."""
    largest = 0.0
    for k in range(len(contract_graphs)):
        cutoffs = cutoffs_of(model, contract_graphs, k)
        batch = copies(contract_graphs, k, cutoffs[None], model.selector)
        forces = model(batch, cutoffs)["forces"]
        torch.testing.assert_close(forces, force_differences(model, contract_graphs, k, cutoffs), **DIFFERENCE)
        largest = max(largest, float(forces.abs().max()))
    assert largest > 0.1


@pytest.mark.parametrize("model", ALL, indirect=True)
def test_stress(model, contract_graphs):
    """stress = dE/dstrain / V for all nine components of the strain, in crystals and in layers."""
    periodic = torch.nonzero(torch.linalg.det(contract_graphs.cells).abs() > 0).flatten().tolist()
    assert len(periodic) >= 12
    for k in periodic:
        cutoffs = cutoffs_of(model, contract_graphs, k)
        batch = copies(contract_graphs, k, cutoffs[None], model.selector)
        stress = model(batch, cutoffs, stress=True)["stress"][0]
        assert stress.abs().max() > 1e-4
        torch.testing.assert_close(stress, stress_differences(model, contract_graphs, k, cutoffs), **DIFFERENCE)


@pytest.mark.parametrize("model", FLEXIBLE, indirect=True)
def test_cutoff_of_each_atom(model, contract_graphs):
    """dE/da_i where no pair enters or leaves within the step (cutoffs drawn at random do not hit a distance)."""
    largest, quiet = 0.0, 0
    for k in range(len(contract_graphs)):
        cutoffs = cutoffs_of(model, contract_graphs, k)
        numeric, pairs = cutoff_differences(model, contract_graphs, k, cutoffs)
        gradient = cutoff_gradient(model, contract_graphs, k, cutoffs)
        torch.testing.assert_close(gradient, numeric, **DIFFERENCE)
        largest, quiet = max(largest, float(gradient.abs().max())), quiet + int((pairs[0] == pairs[1]).sum())
    assert largest > 0.01 and quiet > 0.9 * len(contract_graphs.numbers)


@pytest.mark.parametrize("model", FLEXIBLE, indirect=True)
def test_cutoff_of_each_element(model, contract_graphs):
    """dE/da_Z through the table of Eq. 8, pairs selected anew on both sides."""
    for k in range(len(contract_graphs)):
        numbers = contract_graphs.batch(torch.tensor([k])).numbers
        elements, column = torch.unique(numbers, return_inverse=True)
        values = sampled_cutoffs(len(elements), 50 + k)
        leaf = values.clone().requires_grad_(True)
        cutoffs = element_cutoffs(numbers, torch.full((119,), float("nan")).index_put((elements,), leaf))
        batch = copies(contract_graphs, k, cutoffs[None], model.selector)
        energy = model(batch, cutoffs, forces=False, training=True)["energy"].sum()
        (gradient,) = torch.autograd.grad(energy, leaf, materialize_grads=True)
        many = both_sides(values)[:, column]
        batch = copies(contract_graphs, k, many, model.selector)
        numeric = quotient(model(batch, many.reshape(-1), forces=False)["energy"])
        torch.testing.assert_close(gradient, numeric, **DIFFERENCE)


def pairs_at_their_cutoff(graphs, k, selector, count=3):
    """Cutoffs (A) of structure ``k`` such that one pair lies exactly at its own m_ij: [n_choices, n_atoms]."""
    batch = graphs.batch(torch.tensor([k]))
    batch = graphs.select_pairs(batch, torch.full((batch.n_atoms,), 6.8), selector)
    i, j = batch.pair_index
    vectors = batch.positions[j] - batch.positions[i] + batch.pair_shifts @ batch.cells[0]
    distances = torch.linalg.vector_norm(vectors, dim=1)
    chosen = []
    for pair in torch.nonzero(distances > 3.7).flatten()[:: max(1, len(distances) // count)][:count].tolist():
        cutoffs = sampled_cutoffs(batch.n_atoms, 90 + pair)
        r, first, second = distances[pair], int(i[pair]), int(j[pair])
        cutoffs[first] = cutoffs[second] = r
        if first != second:  # different cutoffs of the two atoms with the same mean
            cutoffs[first] = 1.02 * r
            cutoffs[second] = r / 1.02 if selector.name == "geometric" else 0.98 * r
        chosen.append(cutoffs)
    return chosen


@pytest.mark.parametrize("model", FLEXIBLE, indirect=True)
def test_cutoffs_across_an_entering_pair(model, contract_graphs):
    """dE/da where a pair enters between a - h and a + h: the energy with re-selected pairs is C2 (Eq. 1), so the
    difference quotient is the gradient of the fixed topology."""
    entered = 0
    for k in range(len(contract_graphs)):
        for cutoffs in pairs_at_their_cutoff(contract_graphs, k, model.selector):
            numeric, pairs = cutoff_differences(model, contract_graphs, k, cutoffs)
            gradient = cutoff_gradient(model, contract_graphs, k, cutoffs)
            torch.testing.assert_close(gradient, numeric, **DIFFERENCE)
            entered += int((pairs[0] > pairs[1]).any())
    assert entered >= 30


@pytest.mark.parametrize("model", FLEXIBLE, indirect=True)
def test_forces_across_an_entering_pair(model):
    """F where a displaced atom brings a pair inside or outside its m_ij, with a neighbour list of its own each side."""
    entered = 0
    for atoms in random_structures():
        data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.2), torch.float64)
        for cutoffs in pairs_at_their_cutoff(data, 0, model.selector, count=4):
            forces = model(copies(data, 0, cutoffs[None], model.selector), cutoffs)["forces"]
            moved = both_sides(torch.as_tensor(atoms.positions))
            frames = []
            for positions in moved.numpy():
                other = atoms.copy()
                other.positions = positions
                frames.append(labelled(other, 0))
            sides = GraphData(arrays_from_frames(frames, 7.2), torch.float64)
            batch, many = sides.batch(torch.arange(len(sides))), cutoffs.repeat(len(sides))
            batch = sides.select_pairs(batch, many, model.selector)
            numeric = -quotient(model(batch, many, forces=False)["energy"]).view(-1, 3)
            torch.testing.assert_close(forces, numeric, **DIFFERENCE)
            pairs = torch.bincount(batch.pair_structure, minlength=len(sides)).view(2, -1)
            entered += int((pairs[0] != pairs[1]).any())
    assert entered >= 5


@pytest.mark.parametrize("model", FLEXIBLE[:1], indirect=True)
def test_the_differences_converge_as_the_step_squared(model, contract_graphs):
    """What is left between quotient and gradient is the error of the quotient, h^2, and no small wrong term."""
    cutoffs = sampled_cutoffs(int(contract_graphs.ptr[3] - contract_graphs.ptr[2]), 2)
    gradient = cutoff_gradient(model, contract_graphs, 2, cutoffs)
    errors = [
        float((cutoff_differences(model, contract_graphs, 2, cutoffs, step)[0] - gradient).abs().max())
        for step in (100 * STEP, 10 * STEP)
    ]
    assert 50 < errors[0] / errors[1] < 200
