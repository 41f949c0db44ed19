"""Models with fixed cutoffs as TorchScript, without mace-torch: the same numbers as the calculator's."""

import numpy as np
import pytest
import torch

from export_examples import CUTOFFS, TOLERANCE, all_structures, expected, export_model
from fcl.cutoffs.choice import CutoffChoice
from fcl.data.neighbors import half_pairs
from fcl.models.files import build_model
from fcl.models.mace.frozen import freeze

KINDS = [("fcl", "arithmetic"), ("fcl", "geometric"), ("static", "arithmetic")]


def evaluated(frozen, atoms, reach=7.0):
    """Site energies and forces from pairs within ``reach`` (A), more than belong to the cutoffs."""
    dtype = frozen.cutoffs.dtype
    pairs, shifts, _ = half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), reach)
    i, j = pair_index = torch.as_tensor(pairs)
    positions = torch.tensor(atoms.positions, requires_grad=True)
    vectors = (positions[j] - positions[i] + torch.as_tensor(shifts @ atoms.cell.array)).to(dtype)
    energies = frozen(torch.as_tensor(atoms.numbers), pair_index, vectors)
    (gradient,) = torch.autograd.grad(energies.sum(), positions, materialize_grads=True)
    return energies.detach().numpy(), -gradient.numpy()


@pytest.mark.parametrize("kind, mixing", KINDS)
def test_energies_and_forces_are_those_of_the_calculator(small_settings, kind, mixing):
    model = export_model(small_settings, kind=kind, mixing=mixing)
    cutoffs = CUTOFFS if kind == "fcl" else None
    frozen = torch.jit.script(freeze(model, CutoffChoice(model, cutoffs)))
    largest = 0.0
    for atoms in all_structures():
        energies, forces = evaluated(frozen, atoms)
        reference = expected(model, atoms, cutoffs, radial="network")
        np.testing.assert_allclose(energies, reference.get_potential_energies(), rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(forces, reference.get_forces(), rtol=0, atol=TOLERANCE)
        largest = max(largest, np.abs(forces).max())
    assert largest > 0.01  # there is something to compare


def test_the_model_of_the_paper(model_settings):
    """Other widths and depths than those of the small model; one cutoff for all elements; float32."""
    model = export_model(model_settings)
    frozen = freeze(model, CutoffChoice(model, 5.5), torch.float32)
    assert frozen.elements == list(range(1, 101)) and frozen.largest_cutoff == 5.5
    assert {tensor.dtype for tensor in frozen.state_dict().values()} == {torch.float32, torch.int64}
    atoms = all_structures()[2]
    energies, forces = evaluated(frozen, atoms)
    reference = expected(model, atoms, 5.5, radial="network")
    np.testing.assert_allclose(energies, reference.get_potential_energies(), rtol=1e-5)
    np.testing.assert_allclose(forces, reference.get_forces(), atol=1e-4 * np.abs(reference.get_forces()).max())


def test_range_and_elements(model):
    frozen = freeze(model, CutoffChoice(model, {"O": 5.0, "H": 4.0}))
    assert frozen.elements == [1, 8] and frozen.cutoffs.tolist() == [4.0, 5.0]
    assert frozen.interaction_range == 2 * frozen.largest_cutoff == 10.0


def test_no_device_is_written_into_the_program(model):
    """A program that was made on a CPU has to run on a GPU."""
    graph = torch.jit.script(freeze(model, CutoffChoice(model, CUTOFFS))).inlined_graph
    constants = graph.findAllNodes("prim::Constant")
    assert constants and not [node for node in constants if str(node.output().type()) == "Device"]


def test_what_is_not_covered_is_refused(model, small_settings):
    with pytest.raises(ValueError, match="atom by atom cannot be exported"):
        freeze(model, CutoffChoice(model, np.array([4.0, 5.0])))
    with pytest.raises(ValueError, match="Z = 1-100, not Lr"):
        freeze(model, CutoffChoice(model, {"H": 4.0, "Lr": 5.0}))
    other = build_model("fcl", small_settings.model_copy(update={"correlation": 2}), 7.0)
    with pytest.raises(ValueError, match="correlation 1"):
        freeze(other, CutoffChoice(other, 5.0))
