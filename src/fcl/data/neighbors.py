"""Neighbour lists as undirected half pairs: from the library vesin, or from a k-d tree where atoms are few and far."""

from __future__ import annotations

import numpy as np

from fcl.data.frames import LARGEST_COORDINATE, has_volume

#: A list longer than this is the sign of a cell that is none: real structures of 100 000 atoms stay below.
LARGEST_LIST = 2e8

#: Where the region of the atoms holds more cubes of the cutoff than atoms and than FEW_CUBES, or more than MANY_CUBES,
#: a k-d tree finds the pairs: vesin 0.6 needs seconds for the empty ones, or ends the process (SIGFPE).
FEW_CUBES, MANY_CUBES = 500, 50_000


def half_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs within ``cutoff`` (A), each undirected pair once.

    positions [n, 3] A (atoms may lie outside the cell), cell [3, 3] A (rows; may be zero along
    non-periodic directions), pbc [3]. Returns ``pair_index`` [2, n_pairs] int64 with atoms (i, j), integer
    ``shifts`` [n_pairs, 3] and ``distances`` [n_pairs] A, so that r_ij = x_j - x_i + shifts . cell. Of an atom
    and its own image one of the two opposite shifts is kept. Several images of one neighbour
    are several pairs. Pairs are sorted by (i, j, shift), so the result does not depend on the library. Raises
    `ValueError` for no atoms, for positions that are not finite or beyond `LARGEST_COORDINATE`, for lattice vectors of
    periodic directions that are zero or not independent, and for a cell so thin that the list would fill the memory.
    """
    pbc = np.asarray(pbc, dtype=bool)
    if len(positions) == 0:
        raise ValueError("a structure without atoms has no neighbour list")
    positions, cell = np.ascontiguousarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    if not np.abs(positions).max() < LARGEST_COORDINATE:
        raise ValueError(f"positions: not finite, or beyond {LARGEST_COORDINATE:g} A")
    if not has_volume(cell, pbc):
        raise ValueError(f"Lattice: no volume along the periodic directions {pbc.tolist()}")
    box = complete_box(cell, pbc)
    _check_size(len(positions), box, pbc, cutoff)
    search = _by_tree if _are_sparse(positions, box, pbc, cutoff) else _by_vesin
    i, j, shifts, distances = search(positions, np.ascontiguousarray(box), pbc, float(cutoff))
    i, j, shifts = i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64)
    # One orientation of each pair: i < j, and for an atom and its own image the first non-zero shift is positive.
    first = np.where(shifts[:, 0] != 0, shifts[:, 0], np.where(shifts[:, 1] != 0, shifts[:, 1], shifts[:, 2]))
    flip = (i > j) | ((i == j) & (first < 0))
    i, j = np.where(flip, j, i), np.where(flip, i, j)
    shifts = np.where(flip[:, None], -shifts, shifts)
    order = _order(i, j, shifts, len(positions))
    return np.stack([i, j])[:, order], shifts[order], distances[order]


def _by_vesin(positions, box, pbc, cutoff):
    """Atoms i and j, shifts and distances of the pairs, each in one direction."""
    from vesin import NeighborList

    library = NeighborList(cutoff=cutoff, full_list=False)
    return library.compute(points=positions, box=box, periodic=pbc, quantities="ijSd")


def _are_sparse(positions, box, pbc, cutoff) -> bool:
    fractions = positions @ np.linalg.inv(box)
    lengths = np.where(pbc, 1.0, np.ptp(fractions, axis=0)) * heights_of(box)
    return np.prod(np.maximum(lengths / cutoff, 1.0)) > max(FEW_CUBES, min(len(positions), MANY_CUBES))


def _by_tree(positions, box, pbc, cutoff):
    """As `_by_vesin`, with the images of the atoms near the periodic cell as points of a k-d tree."""
    from scipy.spatial import cKDTree

    fractions = positions @ np.linalg.inv(box)
    home = np.where(pbc, -np.floor(fractions), 0.0)  # shifts into the cell
    fractions = fractions + home
    margin = 1.001 * cutoff / heights_of(box)
    images = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in np.where(pbc, np.ceil(margin), 0.0))), -1)
    images = images.reshape(-1, 3)
    images = images[np.lexsort(np.abs(images).T)]  # the cell itself first
    shifts, atoms = [], []
    for image in images:
        near = ((fractions + image > -margin) & (fractions + image < 1.0 + margin) | ~pbc).all(axis=1).nonzero()[0]
        atoms.append(near)
        shifts.append(home[near] + image)
    atom, shift = np.concatenate(atoms), np.concatenate(shifts)
    points = positions[atom] + shift @ box
    n = len(positions)
    pairs = cKDTree(points[:n]).sparse_distance_matrix(cKDTree(points), cutoff, output_type="ndarray")
    i, k, distances = pairs["i"], pairs["j"], pairs["v"]
    j, between = atom[k], shift[k] - home[i]
    first = np.select([between[:, axis] != 0 for axis in range(3)], between.T, 0.0)
    once = (i < j) | ((i == j) & (first > 0))
    return i[once], j[once], between[once], distances[once]


def heights_of(box: np.ndarray) -> np.ndarray:
    """Distances [3] (A) between opposite faces of a cell (rows are lattice vectors)."""
    return 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)


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
    heights = heights_of(box)[pbc]
    images = float(np.prod(2 * np.ceil(cutoff / heights) + 1))  # those that a search has to look at
    reached = float(np.prod(2 * cutoff / heights))  # those within reach, roughly
    if not max(images * n, reached * n * n) < LARGEST_LIST:
        thinnest = f"a cell {heights.min():.3g} A high"
        raise ValueError(f"Lattice: {n} atoms in {thinnest} have too many neighbours within {cutoff:g} A")
