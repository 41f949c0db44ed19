"""Cells of active learning: supercells of a given number of atoms, and random deformations of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fcl.data.frames import has_volume


def read_cells(paths: Sequence[Path]) -> list:
    """The unit cells in files, as ASE atoms without labels.

    Raises `ValueError` naming file, frame and key unless they are periodic in three directions with a volume.
    """
    from fcl.data.read import read_structures

    cells = []
    for path in paths:
        for frame, atoms in enumerate(read_structures(path, 118)):
            if not atoms.pbc.all():
                raise ValueError(
                    f"{path}: frame {frame}: pbc: {atoms.pbc.tolist()}, but cells repeat in all directions"
                )
            if not has_volume(atoms.cell.array):
                raise ValueError(f"{path}: frame {frame}: Lattice: no volume")
            bare = atoms.copy()
            bare.calc, bare.constraints, bare.info = None, [], {}
            cells.append(bare)
    if not cells:
        raise ValueError(f"{', '.join(map(str, paths))}: no structures")
    return cells


def supercell(unit, atoms: int):
    """The most compact supercell of ``unit`` with this number of ``atoms``; None if there is no such multiple.

    Of all lattices with the right volume, that with the longest shortest vector, and of these the shortest longest one.
    """
    from ase.build import make_supercell
    from ase.geometry import minkowski_reduce

    copies, rest = divmod(atoms, len(unit))
    if rest or not copies:
        return None

    def compactness(matrix: np.ndarray) -> tuple[float, float]:
        lengths = np.linalg.norm(minkowski_reduce(matrix @ unit.cell.array)[0], axis=1).round(6)
        return lengths.min(), -lengths.max()

    best = max(_lattices(copies), key=compactness)
    _, change = minkowski_reduce(best @ unit.cell.array)
    matrix = change @ best
    if np.linalg.det(matrix) < 0:
        matrix = -matrix
    return make_supercell(unit, matrix)


def _lattices(copies: int) -> Iterator[np.ndarray]:
    """Matrices [3, 3] of all sublattices of an index: Hermite normal forms."""
    for a in (n for n in range(1, copies + 1) if copies % n == 0):
        for c in (n for n in range(1, copies // a + 1) if copies // a % n == 0):
            f = copies // a // c
            for b in range(c):
                for d in range(f):
                    for e in range(f):
                        yield np.array([[a, b, d], [0, c, e], [0, 0, f]])


def deformed(atoms, factor: float, shear: float, rattle: float, random: np.random.Generator):
    """A copy with its lattice scaled by ``factor`` and a random symmetric strain, and displaced atoms.

    ``shear`` is the standard deviation of the six strain components, ``rattle`` (A) that of the displacements.
    """
    copy = atoms.copy()
    strain = np.triu(shear * random.standard_normal((3, 3)))
    strain += np.triu(strain, 1).T
    copy.set_cell(copy.cell.array @ (factor * (np.eye(3) + strain)), scale_atoms=True)
    copy.positions += rattle * random.standard_normal(copy.positions.shape)
    return copy


def shortest_ratio(atoms) -> float:
    """Smallest distance of two atoms in units of the sum of their covalent radii; infinite if all are far apart."""
    from ase.data import covalent_radii

    from fcl.data.neighbors import half_pairs

    radii = covalent_radii[atoms.numbers]
    pairs, _, distances = half_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 3.0 * float(radii.max()))
    return float((distances / (radii[pairs[0]] + radii[pairs[1]])).min()) if len(distances) else float("inf")


def start_structures(
    units: Sequence, cells: Sequence[int], strains: Sequence[float], *, number: int, shear: float, rattle: float,
    shortest: float, seed: int,
) -> list:  # fmt: skip
    """``number`` structures to begin with, in turn from all ``units``: deformed unit cells and small supercells.

    Supercells are those of the two smallest rungs of ``cells`` that fit. Raises `ValueError` if random structures
    keep coming closer than ``shortest`` (`shortest_ratio`).
    """
    random = np.random.default_rng([seed, 0])
    shapes = [[unit, *(cell for cell in map(lambda n, u=unit: supercell(u, n), cells) if cell is not None and
               len(cell) > len(unit))][:3] for unit in units]  # fmt: skip
    structures: list = []
    for attempt in range(50 * number):
        of_unit = shapes[attempt % len(shapes)]
        shape = of_unit[attempt // len(shapes) % len(of_unit)]
        factor = random.uniform(min(strains), max(strains))
        structure = deformed(shape, factor, shear, rattle if len(shape) > 1 else 0.0, random)
        if shortest_ratio(structure) >= shortest:
            structures.append(structure)
        if len(structures) == number:
            return structures
    raise ValueError(
        f"start: only {len(structures)} of {50 * number} deformed cells keep atoms {shortest:g} covalent distances"
        " apart; lower start.rattle or select.shortest"
    )
