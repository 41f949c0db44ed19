"""What physics demands of `FlexibleMACE` with a cutoff of its own for every atom (float64)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from examples import enlarged, labelled, structures
from fcl.cutoffs import sample_cutoffs
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.model.mace import FlexibleMACE

SAME = {"rtol": 1e-9, "atol": 1e-9}  # float64; neighbour lists of the two sides differ in order and images


@pytest.fixture(scope="module")
def model(model_settings):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(8)
    return enlarged(FlexibleMACE(model_settings, 7.0))


@pytest.fixture(scope="module")
def cases():
    """ASE structures with per-atom cutoffs (A)."""
    generator = torch.Generator().manual_seed(2)
    return [
        (atoms, sample_cutoffs(len(atoms), 3.5, 7.0, generator, torch.float64))
        for atoms in structures()
        if len(atoms) > 1
    ]


def predict(model, atoms, cutoffs):
    """Energy (eV) and forces [n, 3] (eV/A) from a neighbour list of this very structure."""
    data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)
    batch = data.select_pairs(data.batch(torch.tensor([0])), cutoffs)
    result = model(batch, cutoffs)
    return result["energy"][0], result["forces"]


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_rotation_and_inversion(model, cases, determinant):
    matrix = determinant * Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    for atoms, cutoffs in cases:
        turned = Atoms(atoms)
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        energy, forces = predict(model, atoms, cutoffs)
        turned_energy, turned_forces = predict(model, turned, cutoffs)
        torch.testing.assert_close(turned_energy, energy, **SAME)
        torch.testing.assert_close(turned_forces, forces @ torch.as_tensor(matrix.T), **SAME)


def test_translation_and_other_images(model, cases):
    """Moving everything, and single atoms by lattice vectors along periodic directions."""
    rng = np.random.default_rng(4)
    for atoms, cutoffs in cases:
        moved = Atoms(atoms)
        images = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
        moved.positions += images @ atoms.cell.array + [1.7, -23.0, 0.4]
        for mine, theirs in zip(predict(model, moved, cutoffs), predict(model, atoms, cutoffs), strict=True):
            torch.testing.assert_close(mine, theirs, **SAME)


def test_permutation(model, cases):
    for atoms, cutoffs in cases:
        order = torch.randperm(len(atoms), generator=torch.Generator().manual_seed(1))
        energy, forces = predict(model, atoms, cutoffs)
        permuted_energy, permuted_forces = predict(model, atoms[order.tolist()], cutoffs[order])
        torch.testing.assert_close(permuted_energy, energy, **SAME)
        torch.testing.assert_close(permuted_forces, forces[order], **SAME)


def test_supercell(model, cases):
    """A repeated crystal has a multiple of the energy and the same forces: also in cells smaller than the cutoffs."""
    seen = 0
    for atoms, cutoffs in cases:
        if not atoms.pbc.any():
            continue
        repeats = [2 if periodic else 1 for periodic in atoms.pbc]
        count = int(np.prod(repeats))
        energy, forces = predict(model, atoms, cutoffs)
        big_energy, big_forces = predict(model, atoms.repeat(repeats), cutoffs.repeat(count))
        torch.testing.assert_close(big_energy, count * energy, **SAME)
        torch.testing.assert_close(big_forces, forces.repeat(count, 1), **SAME)
        seen += 1
    assert seen >= 4


def test_the_order_and_orientation_of_pairs_do_not_matter(model, cases):
    for atoms, cutoffs in cases:
        data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)
        batch = data.select_pairs(data.batch(torch.tensor([0])), cutoffs)
        order = torch.randperm(batch.pair_index.shape[1], generator=torch.Generator().manual_seed(3))
        other = replace(batch, pair_index=batch.pair_index.flip(0)[:, order], pair_shifts=-batch.pair_shifts[order])
        for key in ("energy", "forces"):
            torch.testing.assert_close(model(other, cutoffs)[key], model(batch, cutoffs)[key], **SAME)


def test_an_isolated_atom_has_no_force(model):
    atoms = Atoms("H")
    energy, forces = predict(model, atoms, torch.tensor([5.0]))
    assert torch.isfinite(energy) and forces.abs().max() == 0
    far = Atoms("H2", positions=[[0, 0, 0], [0, 0, 5.1]])
    energy_2, forces_2 = predict(model, far, torch.tensor([5.0, 5.0]))
    torch.testing.assert_close(energy_2, 2 * energy, **SAME)
    assert forces_2.abs().max() == 0
