"""Neighbour lists as undirected half pairs, from the library vesin."""

from __future__ import annotations

import numpy as np


def half_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs within ``cutoff`` (A), each undirected pair once.

    positions [n, 3] A (atoms may lie outside the cell), cell [3, 3] A (rows; may be zero along
    non-periodic directions), pbc [3]. Returns ``pair_index`` [2, n_pairs] int64 with atoms (i, j), integer
    ``shifts`` [n_pairs, 3] and ``distances`` [n_pairs] A, so that r_ij = x_j - x_i + shifts . cell. Of an atom
    and its own image one of the two opposite shifts is kept. Several images of one neighbour
    are several pairs. Pairs are sorted by (i, j, shift), so the result does not depend on the library.
    Raises `ValueError` for no atoms, or lattice vectors of periodic directions that are zero or not independent.
    """
    from ase.geometry import complete_cell
    from vesin import NeighborList

    pbc = np.asarray(pbc, dtype=bool)
    if len(positions) == 0:
        raise ValueError("a structure without atoms has no neighbour list")
    positions, cell = np.ascontiguousarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    if pbc.any() and np.linalg.matrix_rank(cell[pbc]) < pbc.sum():
        raise ValueError(f"the cell has no volume along the periodic directions {pbc.tolist()}")
    # Directions without periodicity may have a zero or meaningless vector: give the library a regular one.
    box = complete_cell(np.where(pbc[:, None], cell, 0.0))
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
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], j, i))
    return np.stack([i, j])[:, order], shifts[order], distances[order]
