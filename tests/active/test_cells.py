"""Supercells, deformations and first structures of active learning."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.io import write

from fcl.active.cells import _lattices, deformed, read_cells, shortest_ratio, start_structures, supercell

CU = bulk("Cu")


def test_lattices_are_all_of_them():
    """Numbers of sublattices of index n in three dimensions: OEIS A001001."""
    for index, count in zip(range(1, 9), (1, 7, 13, 35, 31, 91, 57, 155), strict=True):
        found = list(_lattices(index))
        assert len(found) == count == len({matrix.tobytes() for matrix in found})
        assert all(round(np.linalg.det(matrix)) == index for matrix in found)


@pytest.mark.parametrize("atoms", [1, 2, 4, 8])
def test_a_supercell_is_the_same_crystal_and_compact(atoms):
    found = supercell(CU, atoms)
    assert len(found) == atoms and found.get_volume() == pytest.approx(atoms * CU.get_volume())
    energies = []
    for crystal in (CU, found):
        crystal = crystal.copy()
        crystal.calc = EMT()
        energies.append(crystal.get_potential_energy() / len(crystal))
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
    if atoms == 4:  # the cube beats anything longer
        assert np.linalg.norm(found.cell.array, axis=1) == pytest.approx([3.61] * 3)


def test_no_supercell_of_a_number_that_is_no_multiple():
    pair = make_supercell(CU, np.diag([2, 1, 1]))
    assert supercell(pair, 3) is None and supercell(pair, 1) is None and len(supercell(pair, 6)) == 6


def test_deformations():
    random = np.random.default_rng(0)
    cube = supercell(CU, 4)
    same = deformed(cube, 1.05, 0.0, 0.0, random)
    assert same.get_volume() == pytest.approx(1.05**3 * cube.get_volume())
    assert same.get_scaled_positions() == pytest.approx(cube.get_scaled_positions())
    strains = []
    for _ in range(3000):
        deformation = np.linalg.solve(cube.cell.array, deformed(cube, 1.0, 0.02, 0.0, random).cell.array)
        assert np.allclose(deformation, deformation.T)
        strains.append(deformation - np.eye(3))
    spread = np.std(strains, axis=0)
    assert spread == pytest.approx(np.full((3, 3), 0.02), rel=0.1)
    moved = deformed(cube, 1.0, 0.0, 0.1, random)
    assert 0.03 < (moved.positions - cube.positions).std() < 0.3


def test_shortest_distance():
    assert shortest_ratio(CU) == pytest.approx(3.61 / 2**0.5 / 2.64)
    assert shortest_ratio(Atoms("Cu", cell=[30, 30, 30], pbc=True)) == np.inf
    assert shortest_ratio(Atoms("Cu2", [[0, 0, 0], [0, 0, 9.5]], cell=[10, 10, 10], pbc=True)) < 0.2


def test_first_structures_are_varied_and_repeat():
    options = {"number": 12, "shear": 0.03, "rattle": 0.1, "shortest": 0.7}
    found = start_structures([CU], (1, 2, 4, 6), (0.95, 1.05), seed=1, **options)
    again = start_structures([CU], (1, 2, 4, 6), (0.95, 1.05), seed=1, **options)
    other = start_structures([CU], (1, 2, 4, 6), (0.95, 1.05), seed=2, **options)
    assert [len(atoms) for atoms in found] == [1, 2, 4] * 4
    assert all((a.positions == b.positions).all() for a, b in zip(found, again, strict=True))
    assert not any((a.cell.array == b.cell.array).all() for a, b in zip(found, other, strict=True))
    volumes = [atoms.get_volume() / len(atoms) / CU.get_volume() for atoms in found]
    assert 0.8 < min(volumes) < 0.95 and 1.05 < max(volumes) < 1.3
    with pytest.raises(ValueError, match="lower start.rattle"):
        start_structures([CU], (1,), (0.5,), seed=1, **options)


def test_cells_of_a_file(tmp_path):
    write(tmp_path / "good.xyz", [CU, bulk("Au")], format="extxyz")
    assert [len(atoms) for atoms in read_cells([tmp_path / "good.xyz"])] == [1, 1]
    write(tmp_path / "slab.xyz", [CU, Atoms("Cu", cell=[3, 3, 9], pbc=[True, True, False])], format="extxyz")
    with pytest.raises(ValueError, match=r"slab\.xyz: frame 1: pbc"):
        read_cells([tmp_path / "slab.xyz"])
