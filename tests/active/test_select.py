"""Farthest points, and structures as points."""

import numpy as np

from fcl.active.select import Descriptor, drawn, farthest_points


def test_farthest_points_by_brute_force():
    random = np.random.default_rng(0)
    candidates, known = random.standard_normal((40, 3)), random.standard_normal((5, 3))
    chosen = farthest_points(candidates, known, 10, 0.0)
    assert len(set(chosen)) == 10
    for step, index in enumerate(chosen):
        before = np.vstack([known, candidates[chosen[:step]]])
        distances = np.linalg.norm(candidates[:, None] - before, axis=2).min(axis=1)
        assert index == distances.argmax()


def test_near_duplicates_are_not_chosen():
    known = np.array([[0.0, 0.0]])
    candidates = np.array([[0.01, 0.0], [1.0, 0.0], [1.0, 0.01], [0.0, 2.0], [0.0, 2.0]])
    assert farthest_points(candidates, known, 9, 0.05) == [3, 2]
    assert farthest_points(candidates, known, 9, 5.0) == [] and farthest_points(candidates[:0], known, 9, 0.1) == []
    assert farthest_points(candidates, known, 1, 0.05) == [3]
    assert farthest_points(candidates[3:], known, 9, 0.0) == [0]


def test_a_structure_and_its_supercell_are_one_point():
    random = np.random.default_rng(1)
    known = random.standard_normal((50, 6)) * [1, 2, 3, 4, 5, 0] + 7.0
    descriptor = Descriptor(known)
    structure = known[:4] + 0.1
    point = descriptor.of(structure)
    assert point.shape == (10,) and np.allclose(point, descriptor.of(np.tile(structure, (3, 1))))
    shifted = descriptor.of(structure + known.std(axis=0))  # each feature by one standard deviation
    assert np.isclose(np.linalg.norm(shifted - point), 1.0)
    assert not np.allclose(point, descriptor.of(structure[:3]))


def test_drawn_at_random():
    random = np.random.default_rng(2)
    assert drawn("abc", 5, random) == ["a", "b", "c"] and drawn("", 2, random) == [] and drawn("abc", 0, random) == []
    counts = np.zeros(4)
    for _ in range(400):
        chosen = drawn(range(4), 2, random)
        assert chosen == sorted(chosen) and len(chosen) == 2
        counts[chosen] += 1
    assert (abs(counts - 200) < 50).all()
