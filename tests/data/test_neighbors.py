"""Neighbour lists: all pairs, each once, in any cell; the superset at r_max pruned to the pair cutoffs."""

import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from ase.geometry import complete_cell
from ase.neighborlist import primitive_neighbor_list
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list

from examples import ARITHMETIC
from fcl.cutoffs.edges import RadialSelector
from fcl.cutoffs.mixing import MIXING_RULES
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.data import neighbors
from fcl.data.batch import GraphData, average_neighbors
from fcl.data.frames import Frame
from fcl.data.neighbors import half_pairs
from fcl.data.store import arrays_from_frames
from tolerances import SAME_DISTANCE, TIE

R_MAX = 7.0
#: Two programs for neighbour lists that share no code with vesin, which we use, nor with each other.
LIBRARIES = ("matscipy", "ase")
GENERATED = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False
)


def directed_pairs(library, frame, cutoff):
    """All directed pairs within ``cutoff`` (A) by another library: rows (i, j, shift) [n, 5] and distances [n].

    Both need three independent vectors (a missing one makes ASE wrong): the others are normal to the periodic ones.
    """
    _, _, basis = np.linalg.svd(np.where(frame.pbc[:, None], frame.cell, 0.0))
    box = frame.cell.copy()
    box[~frame.pbc] = 4.0 * basis[frame.pbc.sum() :]
    if library == "ase":
        quantities = primitive_neighbor_list("ijSd", frame.pbc, box, frame.positions, cutoff)
    else:
        quantities = neighbour_list("ijSd", positions=frame.positions, cell=box, pbc=frame.pbc, cutoff=cutoff)
    i, j, shifts, distances = quantities
    return np.column_stack([i, j, shifts]).astype(int).reshape(-1, 5), distances


def both_directions(pair_index, shifts):
    """Undirected pairs as rows (i, j, shift) of both directions."""
    i, j = pair_index
    return np.concatenate([np.column_stack([i, j, shifts]), np.column_stack([j, i, -shifts])]).astype(int)


def counted(rows):
    return Counter(map(tuple, rows.tolist()))


def hundredths(low, high):
    """Numbers with two decimals: what matters is geometry, not the smallest floats."""
    return st.integers(round(100 * low), round(100 * high)).map(lambda value: value / 100)


@st.composite
def generated_frames(draw):
    """Structures of up to five atoms in cells of every kind: tiny or huge, flat, long, skewed, left-handed; any pbc.

    Atoms are anywhere, also far outside the cell; vectors along directions without periodicity may be missing.
    """
    length = st.one_of(hundredths(1.3, 3.0), hundredths(3.0, 9.0), hundredths(9.0, 60.0))
    cell = np.diag([draw(length) for _ in range(3)])
    for row, column in ((1, 0), (2, 0), (2, 1)):  # skewed by up to two whole vectors; the volume stays
        cell[row, column] = draw(hundredths(-2.0, 2.0)) * cell[column, column]
    cell = cell[list(draw(st.permutations(range(3))))]
    if draw(st.booleans()):
        cell[draw(st.integers(0, 2))] *= -1.0
    pbc = np.array(draw(st.sampled_from(list(product([True, False], repeat=3)))))
    if draw(st.booleans()):
        cell[~pbc] = 0.0
    fractions = draw(st.lists(st.tuples(*[hundredths(-3.0, 4.0)] * 3), min_size=1, max_size=5, unique=True))
    n = len(fractions)
    return Frame(
        numbers=np.full(n, 6), positions=np.array(fractions) @ complete_cell(cell), cell=cell, pbc=pbc, energy=0.0,
        forces=np.zeros((n, 3)), subset="default", split="train",
    )  # fmt: skip


def brute_force(frame, cutoff):
    """Sorted distances of all directed pairs by summing over images, and the neighbours of each atom."""
    periodic = frame.pbc
    spans = []
    for axis in range(3):
        if not periodic[axis]:
            spans.append([0])
            continue
        others = [frame.cell[k] for k in range(3) if k != axis and periodic[k]]
        height = np.linalg.norm(frame.cell[axis])
        if len(others) == 2:
            normal = np.cross(*others)
            height = abs(frame.cell[axis] @ normal) / np.linalg.norm(normal)
        elif len(others) == 1:
            height = np.linalg.norm(np.cross(frame.cell[axis], others[0])) / np.linalg.norm(others[0])
        extent = np.linalg.norm(np.ptp(frame.positions, axis=0)) + cutoff
        n = int(np.ceil(extent / height)) + 1
        spans.append(range(-n, n + 1))
    shifts = np.array(np.meshgrid(*spans)).reshape(3, -1).T
    images = frame.positions[None] + (shifts @ np.where(periodic[:, None], frame.cell, 0.0))[:, None]
    distances = np.linalg.norm(images[:, None] - frame.positions[None, :, None], axis=-1)
    home = (shifts == 0).all(1)
    distances[np.ix_(home, range(len(frame)), range(len(frame)))] += np.where(np.eye(len(frame)), np.inf, 0.0)
    kept = distances <= cutoff
    return np.sort(distances[kept]), kept.sum(axis=(0, 2))


@pytest.mark.parametrize("cutoff", [3.0, 7.0])
def test_half_pairs_equal_brute_force(frames, cutoff):
    for frame in frames:
        (i, j), shifts, distances = half_pairs(frame.positions, frame.cell, frame.pbc, cutoff)
        expected, neighbors = brute_force(frame, cutoff)
        np.testing.assert_allclose(np.sort(np.repeat(distances, 2)), expected, rtol=SAME_DISTANCE)
        np.testing.assert_array_equal(np.bincount(np.concatenate([i, j]), minlength=len(frame)), neighbors)
        vectors = frame.positions[j] - frame.positions[i] + shifts @ frame.cell
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), distances, rtol=SAME_DISTANCE)
        rows = [tuple(row) for row in np.column_stack([i, j, shifts])]
        reverse = {(b, a, *(-s for s in shift)) for a, b, *shift in rows}
        assert len(set(rows)) == len(rows) and not reverse & set(rows)


@given(frame=generated_frames(), cutoff=st.sampled_from([1.5, R_MAX]))
@settings(GENERATED, max_examples=40)
def test_the_tree_finds_the_pairs_of_vesin(frame, cutoff):
    """Also with the shifts of vesin, and in the same order."""
    found = []
    for limits in ((0, 0), (1e9, 1e9)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(neighbors, "FEW_CUBES", limits[0])
            patched.setattr(neighbors, "MANY_CUBES", limits[1])
            found.append(half_pairs(frame.positions, frame.cell, frame.pbc, cutoff))
    assume(not (np.abs(np.concatenate([found[0][2], found[1][2]]) - cutoff) < TIE).any())
    for tree, vesin in zip(*found, strict=True):
        np.testing.assert_allclose(tree, vesin, rtol=SAME_DISTANCE, atol=SAME_DISTANCE)


FAR = {
    "line": ([0, 0, 0], [False] * 3, [[1, 0, 0]]),
    "plane": ([0, 0, 0], [False] * 3, [[1, 0, 0], [0, 1, 0]]),
    "space": ([0, 0, 0], [False] * 3, [[1, 0, 0], [0, 1, 0], [1, 1, -1]]),
    "layer": ([5, 6, 0], [True, True, False], [[0, 0, 1], [0, 0, -1]]),
    "layer of a far third vector": ([5, 6, "far"], [True, True, False], [[0, 0, 1], [0, 0, -0.5]]),
    "wire": ([0, 5, 0], [False, True, False], [[1, 0, 0], [1, 0, 1]]),
    "long cell": ([5, 6, "far"], [True] * 3, [[0, 0, 0.5], [0, 0, 0.3]]),
    "wide cell": ([5, "far", "far"], [True] * 3, [[0, 0.5, 0.5], [0, 0, 0.3]]),
}


@pytest.mark.parametrize("far", [4_000.0, 30_000.0, 9e5])
@pytest.mark.parametrize("kind", FAR)
def test_atoms_may_be_far_apart(kind, far):
    """Two atoms here and two at each of some places far away: the pairs of each couple, found within a second.

    vesin needs minutes for layers and wires (the time grows as the square), and dies of a division by zero where the
    region has a hundred thousand times the cutoff in some direction, but not in all.
    """
    lengths, pbc, directions = FAR[kind]
    cell, pbc = np.diag([far if length == "far" else length for length in lengths]).astype(float), np.array(pbc)
    couple = np.array([[0.5, 0.5, 0.5], [1.7, 0.5, 0.5]])
    positions = np.concatenate([couple + far * np.array(direction) for direction in ([0, 0, 0], *directions)])
    started = time.perf_counter()
    (i, j), shifts, distances = half_pairs(positions, cell, pbc, R_MAX)
    assert time.perf_counter() - started < 5.0
    near = Frame(
        numbers=np.full(2, 6), positions=couple, cell=np.where(cell == far, 50.0, cell), pbc=pbc, energy=0.0,
        forces=np.zeros((2, 3)), subset="default", split="train",
    )  # fmt: skip
    expected, _ = brute_force(near, R_MAX)
    np.testing.assert_allclose(
        np.sort(np.repeat(distances, 2)), np.sort(np.tile(expected, len(positions) // 2)), atol=1e-9
    )
    assert (i // 2 == j // 2).all() and not shifts[:, ~pbc].any()
    vectors = positions[j] - positions[i] + shifts @ cell
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), distances, atol=1e-9)


def assert_same_pairs(frame, pair_index, shifts, rows, distances, cutoffs):
    """Undirected pairs are those of the directed ``rows`` within ``cutoffs`` [len(rows)] (A), as multisets.

    Pairs at their cutoff (`tolerances.TIE`) may be on either side.
    """
    wanted, border = counted(rows[distances < cutoffs - TIE]), counted(rows[np.abs(distances - cutoffs) <= TIE])
    got = counted(both_directions(pair_index, shifts))
    assert not got - wanted - border, f"pairs that are none: {got - wanted - border} in {frame}"
    assert not wanted - got, f"pairs are missing: {wanted - got} in {frame}"


@pytest.mark.parametrize("library", LIBRARIES)
@given(frame=generated_frames(), cutoff=st.sampled_from([1.5, 3.5, R_MAX]))
@settings(GENERATED, max_examples=60)
def test_half_pairs_equal_another_library(library, frame, cutoff):
    """The same pairs with the same shifts and distances, each once, in cells of every kind."""
    (i, j), shifts, distances = half_pairs(frame.positions, frame.cell, frame.pbc, cutoff)
    rows, theirs = directed_pairs(library, frame, cutoff)
    assert_same_pairs(frame, (i, j), shifts, rows, theirs, np.full(len(rows), cutoff))
    vectors = frame.positions[j] - frame.positions[i] + shifts @ frame.cell
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), distances, rtol=SAME_DISTANCE, atol=SAME_DISTANCE)
    assert (i <= j).all() and not shifts[:, ~frame.pbc].any()
    assert max(counted(both_directions((i, j), shifts)).values(), default=1) == 1


@pytest.mark.parametrize("mixing", MIXING_RULES)
@pytest.mark.parametrize("library", LIBRARIES)
@given(frame=generated_frames(), seed=st.integers(0, 10**6))
@settings(GENERATED, max_examples=40)
def test_superset_then_prune_equals_direct(library, mixing, frame, seed):
    """Pairs kept from the 7 A list are those that another library finds within m_ij (section 3 of the paper), with m_ij
    computed here."""
    (i, j), _, distances = half_pairs(frame.positions, frame.cell, frame.pbc, R_MAX)
    assume(not len(distances) or distances.min() > 0.1)  # atoms on top of each other are refused
    data = GraphData(arrays_from_frames([frame], R_MAX), torch.float64)
    cutoffs = sample_cutoffs(len(frame), 3.5, R_MAX, torch.Generator().manual_seed(seed), torch.float64)
    kept = data.select_pairs(data.batch(torch.tensor([0])), cutoffs, RadialSelector(mixing))
    rows, theirs = directed_pairs(library, frame, R_MAX)
    first, second = (cutoffs.numpy()[rows[:, column]] for column in (0, 1))
    pair_cutoffs = {"arithmetic": (first + second) / 2, "geometric": (first * second) ** 0.5}[mixing]
    assert_same_pairs(frame, kept.pair_index.numpy(), kept.pair_shifts.numpy(), rows, theirs, pair_cutoffs)


@pytest.mark.parametrize("library", LIBRARIES)
def test_batches_prune_as_single_structures_do(library, contract_graphs, contract_frames):
    """All structures in one batch: the pairs within m_ij, and the atoms and shifts of each still its own."""
    batch = contract_graphs.batch(torch.arange(len(contract_graphs)))
    cutoffs = sample_cutoffs(batch.n_atoms, 3.5, R_MAX, torch.Generator().manual_seed(5), torch.float64)
    kept = contract_graphs.select_pairs(batch, cutoffs, ARITHMETIC)
    for k, frame in enumerate(contract_frames):
        own, mine = cutoffs[batch.structure == k].numpy(), kept.pair_structure == k
        rows, distances = directed_pairs(library, frame, R_MAX)
        pair_cutoffs = (own[rows[:, 0]] + own[rows[:, 1]]) / 2
        pairs = (kept.pair_index[:, mine] - int(batch.ptr[k])).numpy()
        assert_same_pairs(frame, pairs, kept.pair_shifts[mine].numpy(), rows, distances, pair_cutoffs)
    assert kept.pair_index.shape[1] < int(contract_graphs.pair_ptr[-1])


@pytest.mark.parametrize("pbc", list(product([False, True], repeat=3)), ids=str)
def test_a_cubic_lattice_has_the_pairs_that_one_can_count(pbc):
    """One atom in a cube of 1 A: the integer vectors within the cutoff along the periodic directions, halved."""
    grid = np.array(list(product(*(range(-3, 4) if periodic else [0] for periodic in pbc))))
    expected = int((np.linalg.norm(grid, axis=1) <= 2.5).sum() - 1) // 2
    pair_index, shifts, _ = half_pairs(np.array([[0.2, 55.0, -31.0]]), np.eye(3), np.array(pbc), 2.5)
    assert pair_index.shape == (2, expected) and shifts.shape == (expected, 3)


def test_unusable_cells_are_refused():
    """Frames are checked when they are read; positions from elsewhere (a calculator's, say) are checked here."""
    positions = np.array([[0, 0, 0], [1, 0, 0]])
    for cell in (np.zeros((3, 3)), [[3, 0, 0], [3, 0, 0], [0, 0, 3]]):
        with pytest.raises(ValueError, match="no volume along the periodic directions"):
            half_pairs(positions, cell, [True, True, True], 3.0)
    assert half_pairs(positions, np.zeros((3, 3)), [False] * 3, 3.0)[2].tolist() == [1.0]
    for value in (1e6, -1e9, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"positions: not finite, or beyond 1e\+06 A"):
            half_pairs(np.array([[0, 0, 0], [value, 0, 0]]), np.zeros((3, 3)), [False] * 3, 3.0)
    with pytest.raises(ValueError, match="without atoms"):
        half_pairs(np.zeros((0, 3)), np.eye(3), [True] * 3, 3.0)


def test_whole_numbers_and_single_precision_are_taken():
    cell = 4 * np.eye(3, dtype=int)
    whole = half_pairs(np.array([[0, 0, 0], [1, 2, 0]]), cell, [True] * 3, 5.0)
    single = half_pairs(np.array([[0, 0, 0], [1, 2, 0]], dtype=np.float32), cell.astype(np.float32), [True] * 3, 5.0)
    for a, b in zip(whole, single, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole[2].dtype == np.float64


def test_average_neighbors_has_three_meanings(frames):
    arrays = arrays_from_frames(frames, 7.0)
    result = average_neighbors(arrays, 5.0)
    counts = [brute_force(frame, 5.0)[1] for frame in frames]
    flat = np.concatenate(counts)
    assert result["per_atom"] == pytest.approx(flat.mean())
    assert result["per_connected_atom"] == pytest.approx(flat[flat > 0].mean())
    assert result["per_structure"] == pytest.approx(np.mean([count.mean() for count in counts]))
    assert result["per_connected_atom"] > result["per_atom"]
