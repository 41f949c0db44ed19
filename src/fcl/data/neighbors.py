"""Neighbour lists as undirected half pairs, from the library vesin."""

from __future__ import annotations

import numpy as np

from fcl.data.frames import has_volume

#: A list longer than this is the sign of a cell that is none: real structures of 100 000 atoms stay below.
LARGEST_LIST = 2e8


def half_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs within ``cutoff`` (A), each undirected pair once.

    positions [n, 3] A (atoms may lie outside the cell), cell [3, 3] A (rows; may be zero along
    non-periodic directions), pbc [3]. Returns ``pair_index`` [2, n_pairs] int64 with atoms (i, j), integer
    ``shifts`` [n_pairs, 3] and ``distances`` [n_pairs] A, so that r_ij = x_j - x_i + shifts . cell. Of an atom
    and its own image one of the two opposite shifts is kept. Several images of one neighbour
    are several pairs. Pairs are sorted by (i, j, shift), so the result does not depend on the library. Raises
    `ValueError` for no atoms, for lattice vectors of periodic directions that are zero or not independent, and for a
    cell so thin that the list would fill the memory.
    """
    from vesin import NeighborList

    pbc = np.asarray(pbc, dtype=bool)
    if len(positions) == 0:
        raise ValueError("a structure without atoms has no neighbour list")
    positions, cell = np.ascontiguousarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    if not has_volume(cell, pbc):
        raise ValueError(f"Lattice: no volume along the periodic directions {pbc.tolist()}")
    box = complete_box(cell, pbc)
    _check_size(len(positions), box, pbc, cutoff)
    library = NeighborList(cutoff=float(cutoff), full_list=False)
    i, j, shifts, distances = library.compute(
        points=positions, box=np.ascontiguousarray(box), periodic=pbc, quantities="ijSd"
    )
    i, j, shifts = i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64)
    # One orientation of each pair: i < j, and for an atom and its own image the first non-zero shift is positive.
    first = np.where(shifts[:, 0] != 0, shifts[:, 0], np.where(shifts[:, 1] != 0, shifts[:, 1], shifts[:, 2]))
    flip = (i > j) | ((i == j) & (first < 0))
    i, j = np.where(flip, j, i), np.where(flip, i, j)
    shifts = np.where(flip[:, None], -shifts, shifts)
    order = _order(i, j, shifts, len(positions))
    return np.stack([i, j])[:, order], shifts[order], distances[order]


def complete_box(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The cell with regular vectors along directions without periodicity, where it may hold zeros or anything."""
    if pbc.all():
        return cell
    from ase.geometry import complete_cell

    return complete_cell(np.where(pbc[:, None], cell, 0.0))


def _order(i: np.ndarray, j: np.ndarray, shifts: np.ndarray, n: int) -> np.ndarray:
    """Indices that sort pairs by (i, j, shift): by one integer that holds all of them, where 63 bits suffice."""
    reach = int(np.abs(shifts).max(initial=0))
    base = 2 * reach + 1
    if n * n * base**3 >= 2**63:
        return np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], j, i))
    key = i * n + j
    for axis in range(3):
        key = key * base + (shifts[:, axis] + reach)
    return np.argsort(key)


def _check_size(n: int, box: np.ndarray, pbc: np.ndarray, cutoff: float) -> None:
    """Refuse a cell whose heights (A) along the periodic directions let each atom see too many images."""
    if not pbc.any():
        return
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)[pbc]
    images = float(np.prod(2 * np.ceil(cutoff / heights) + 1))  # those that a search has to look at
    reached = float(np.prod(2 * cutoff / heights))  # those within reach, roughly
    if not max(images * n, reached * n * n) < LARGEST_LIST:
        thinnest = f"a cell {heights.min():.3g} A high"
        raise ValueError(f"Lattice: {n} atoms in {thinnest} have too many neighbours within {cutoff:g} A")
