"""Structures that serve to measure time and memory and nothing else: jittered grids of atoms with random labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fcl.data.frames import Frame

JITTER = 0.15  # of the spacing, either way: neighbours stay 0.7 spacings apart
VACUUM = 25.0  # A


def synthetic_frame(
    rng: np.random.Generator,
    atoms: int,
    volume: float,
    elements: Sequence[int],
    *,
    periodic: int = 3,
    skew: float = 0.0,
    subset: str = "default",
    split: str = "train",
) -> Frame:
    """A structure of ``atoms`` atoms, ``volume`` (A^3) each, of atomic numbers drawn from ``elements``.

    The first ``periodic`` of three directions repeat; two make a layer of two sheets. ``skew`` tilts the cell by up to
    that share of its edges. Labels (eV, eV/A) are random.
    """
    side = math.ceil(math.sqrt(atoms / 2)) if periodic == 2 else math.ceil(atoms ** (1 / 3))
    shape = np.array([side, side, 2 if periodic == 2 else side])
    edges = shape * (volume * atoms / np.prod(shape)) ** (1 / 3)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    places = grid[rng.permutation(len(grid))[:atoms]] + rng.uniform(-JITTER, JITTER, (atoms, 3))
    cell = np.diag(edges) @ (np.eye(3) + rng.uniform(-skew, skew, (3, 3)))
    positions = (places / shape) @ cell
    pbc = np.arange(3) < periodic
    cell[~pbc] = np.eye(3)[~pbc] * (np.ptp(positions, axis=0).max() + VACUUM)
    return Frame(
        numbers=rng.choice(np.asarray(elements, dtype=np.int64), atoms),
        positions=positions,
        cell=cell,
        pbc=pbc,
        energy=float(rng.normal(-4.0, 1.0) * atoms),
        forces=rng.normal(scale=0.5, size=(atoms, 3)),
        subset=subset,
        split=split,
    )
