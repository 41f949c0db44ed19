"""What physics demands of the models: exact symmetries, additivity, isolated atoms (float64).

Energy, forces and dE/da on molecules, a wire, layers and crystals, random ones and shipped ones, with a cutoff of its
own for every atom and both mixing rules; every side of a comparison has a neighbour list of its own.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from differences import cutoff_gradient
from examples import CONTRACTS, contract_model, labelled, sampled_cutoffs
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from tolerances import EQUAL, SAME_SYSTEM, ZERO_FORCE


@pytest.fixture(scope="module", params=CONTRACTS, ids=" ".join)
def model(request, small_settings):
    architecture, mixing = request.param
    return contract_model(small_settings, "fcl", mixing, architecture=architecture)


@pytest.fixture(scope="module")
def cases(contract_frames):
    """ASE structures with per-atom cutoffs (A)."""
    return [
        (
            Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc),
            sampled_cutoffs(len(frame), k),
        )
        for k, frame in enumerate(contract_frames)
        if len(frame) > 1
    ]


def predict(model, atoms, cutoffs):
    """Energy (eV), forces [n, 3] (eV/A) and dE/da [n] (eV/A) from a neighbour list of this very structure."""
    data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)
    batch = data.select_pairs(data.batch(torch.tensor([0])), cutoffs, model.selector)
    result = model(batch, cutoffs)
    return result["energy"][0], result["forces"], cutoff_gradient(model, data, 0, cutoffs)


def assert_same(mine, theirs, tolerance=SAME_SYSTEM):
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_rotation_and_inversion(model, cases, determinant):
    matrix = determinant * Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    for atoms, cutoffs in cases:
        turned = Atoms(atoms)
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        energy, forces, slopes = predict(model, atoms, cutoffs)
        assert_same(predict(model, turned, cutoffs), (energy, forces @ torch.as_tensor(matrix.T), slopes))


def test_translation_and_other_images(model, cases):
    """Moving everything, and single atoms by lattice vectors along periodic directions."""
    rng = np.random.default_rng(4)
    for atoms, cutoffs in cases:
        moved = Atoms(atoms)
        images = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
        moved.positions += images @ atoms.cell.array + [1.7, -23.0, 0.4]
        assert_same(predict(model, moved, cutoffs), predict(model, atoms, cutoffs))


def test_another_cell_of_the_same_lattice(model, cases):
    """A cell of other lattice vectors (sheared by whole vectors, left-handed) that spans the same lattice."""
    seen = 0
    for atoms, cutoffs in cases:
        if not atoms.pbc.all():
            continue
        other = Atoms(atoms)
        other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 1, -1]]) @ atoms.cell.array)
        assert np.linalg.det(other.cell.array) * np.linalg.det(atoms.cell.array) < 0
        assert_same(predict(model, other, cutoffs), predict(model, atoms, cutoffs))
        seen += 1
    assert seen >= 8


def test_permutation(model, cases):
    for atoms, cutoffs in cases:
        order = torch.randperm(len(atoms), generator=torch.Generator().manual_seed(1))
        energy, forces, slopes = predict(model, atoms, cutoffs)
        permuted = predict(model, atoms[order.tolist()], cutoffs[order])
        assert_same(permuted, (energy, forces[order], slopes[order]))


def test_supercell(model, cases):
    """A crystal repeated 2 x 2 x 2 (a layer 2 x 2, a wire 2) has eight (four, two) times the energy and the same forces
    and dE/da, also from cells much smaller than the cutoffs, where an atom sees many images of one neighbour."""
    seen = 0
    for atoms, cutoffs in cases:
        if not atoms.pbc.any():
            continue
        count = 2 ** int(atoms.pbc.sum())
        energy, forces, slopes = predict(model, atoms, cutoffs)
        big = predict(model, atoms.repeat([2 if periodic else 1 for periodic in atoms.pbc]), cutoffs.repeat(count))
        assert_same(big, (count * energy, forces.repeat(count, 1), slopes.repeat(count)))
        seen += 1
    assert seen >= 12


def test_the_order_and_orientation_of_pairs_do_not_matter(model, cases):
    for atoms, cutoffs in cases:
        data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)
        batch = data.select_pairs(data.batch(torch.tensor([0])), cutoffs, model.selector)
        order = torch.randperm(batch.pair_index.shape[1], generator=torch.Generator().manual_seed(3))
        turned = torch.arange(len(order)) % 2 == 0  # every other pair the other way round
        pairs = torch.where(turned, batch.pair_index.flip(0), batch.pair_index)[:, order]
        shifts = torch.where(turned[:, None], -batch.pair_shifts, batch.pair_shifts)[order]
        other = replace(batch, pair_index=pairs, pair_shifts=shifts)
        for backend in (name for name in ("fast", "reference") if name in model.backends):
            model.backend = backend
            for key in ("energy", "forces"):
                torch.testing.assert_close(model(other, cutoffs)[key], model(batch, cutoffs)[key], **EQUAL)
    model.backend = "auto"


def test_batch_equals_single(model, contract_graphs):
    """A structure's results do not depend on what else is in its batch, nor on its place there."""
    order = torch.randperm(len(contract_graphs), generator=torch.Generator().manual_seed(6))
    batch = contract_graphs.batch(order)
    cutoffs = sampled_cutoffs(batch.n_atoms, 3)
    together = model(contract_graphs.select_pairs(batch, cutoffs, model.selector), cutoffs)
    for place, k in enumerate(order.tolist()):
        single, own = contract_graphs.batch(torch.tensor([k])), batch.structure == place
        alone = model(contract_graphs.select_pairs(single, cutoffs[own], model.selector), cutoffs[own])
        torch.testing.assert_close(alone["energy"][0], together["energy"][place], **EQUAL)
        torch.testing.assert_close(alone["forces"], together["forces"][own], **EQUAL)


def test_total_force_and_torque_are_zero(model, cases):
    """m_ij = m_ji, so forces come in opposite pairs; without a cell they have no torque either."""
    for atoms, cutoffs in cases:
        _, forces, _ = predict(model, atoms, cutoffs)
        assert forces.sum(0).abs().max() < ZERO_FORCE
        if not atoms.pbc.any():
            torque = torch.linalg.cross(torch.as_tensor(atoms.positions), forces).sum(0)
            assert torque.abs().max() < ZERO_FORCE


def test_an_isolated_atom_has_no_energy_and_no_force(model):
    """An atom without neighbours has exactly the energy zero whatever its element and cutoff: the labels have the
    isolated atoms' energies removed, and q(a) reaches the energy through messages only."""
    for symbol, cutoff in [("H", 3.5), ("O", 5.0), ("Fe", 7.0)]:
        energy, forces, slope = predict(model, Atoms(symbol), torch.tensor([cutoff]))
        assert float(energy) == 0.0 and forces.abs().max() == 0 and float(slope) == 0.0
    cell = Atoms("Fe", cell=[7.1] * 3, pbc=True)  # its own images are out of reach
    assert float(predict(model, cell, torch.tensor([7.0]))[0]) == 0.0
    far = Atoms("HO", positions=[[0, 0, 0], [0, 0, 5.1]])
    energy, forces, slopes = predict(model, far, torch.tensor([4.9, 5.0]))
    assert float(energy) == 0.0 and forces.abs().max() == 0 and slopes.abs().max() == 0


def test_parts_out_of_reach_are_additive(model, cases):
    """Two molecules far apart in one structure have the sum of their energies, each its own forces and dE/da."""
    (first, a), (second, b) = [case for case in cases if not case[0].pbc.any()][:2]
    second = Atoms(second)
    second.positions += [60.0, 0.0, 0.0]
    apart = [predict(model, first, a), predict(model, second, b)]
    energy, forces, slopes = predict(model, first + second, torch.cat([a, b]))
    expected = (apart[0][0] + apart[1][0], torch.cat([apart[0][1], apart[1][1]]), torch.cat([apart[0][2], apart[1][2]]))
    assert_same((energy, forces, slopes), expected)
