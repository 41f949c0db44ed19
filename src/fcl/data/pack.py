"""Frames and their neighbour lists as flat arrays, and arrays that grow on disk."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcl.data.frames import DUPLICATE_DISTANCE, Frame
from fcl.data.neighbors import half_pairs

#: Arrays by the meaning of their first axis; those in `NAMED` are indices into a list of names.
PER_ATOM = ("numbers", "positions", "forces")
NAMED = ("subset", "fidelity", "parent")
PER_STRUCTURE = ("cells", "pbc", "energy", "energy_mask", "stress", "stress_mask", "frame", *NAMED)
PER_PAIR = ("pair_i", "pair_j", "pair_shifts", "pair_distances")
#: Integer arrays that are stored in the narrowest type that holds all their values: what they are, and the widest type.
NARROWED = {
    "pair_i": ("atom index within a structure", np.dtype(np.uint16)),
    "pair_j": ("atom index within a structure", np.dtype(np.uint16)),
    "pair_shifts": ("cell shift", np.dtype(np.int16)),
}
INTEGER_TYPES = tuple(map(np.dtype, (np.int8, np.uint8, np.int16, np.uint16)))


def integer_type(low: int, high: int, what: str, types: Sequence[np.dtype] = INTEGER_TYPES) -> np.dtype:
    """The first of ``types`` that holds ``low`` to ``high``; `OverflowError` if none does."""
    for kind in types:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    raise OverflowError(f"{what}: values {low} to {high} do not fit in 16 bits")


def neighbours(frame: Frame, r_max: float) -> dict[str, np.ndarray]:
    """The pair arrays of one structure; `ValueError` for coinciding atoms or an unphysically thin cell."""
    pair_index, shifts, distances = half_pairs(frame.positions, frame.cell, frame.pbc, r_max)
    if distances.size and distances.min() < DUPLICATE_DISTANCE:
        worst = distances.argmin()
        i, j = pair_index[:, worst]
        raise ValueError(f"positions: atoms {i} and {j} are {distances[worst]:.3g} A apart (duplicate atoms?)")
    values = (*pair_index, shifts, distances.astype(np.float32))
    arrays = dict(zip(PER_PAIR, values, strict=True))
    for name, (what, widest) in NARROWED.items():
        low, high = arrays[name].min(initial=0), arrays[name].max(initial=0)
        try:
            arrays[name] = arrays[name].astype(integer_type(low, high, what, [widest]))
        except OverflowError as error:
            raise ValueError(f"positions: {error}") from error
    return arrays


def pack(frames: Sequence[Frame], pairs: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """A block of structures: flat arrays of ``frames`` and of their ``pairs``, as returned by `neighbours`.

    Names as in `fcl.data.store.StoreArrays`, but ``atoms`` and ``pairs`` [n] are counts instead of pointers, and for
    `NAMED` there is the name of each structure, or None. A frame without an index in a file is numbered by its position
    in ``frames``.
    """
    energy = np.array([frame.energy for frame in frames], dtype=np.float64)
    unknown = np.full((3, 3), np.nan)
    places = [place if frame.index is None else frame.index for place, frame in enumerate(frames)]
    return {
        "atoms": np.array([len(frame) for frame in frames], dtype=np.int64),
        "pairs": np.array([len(own["pair_i"]) for own in pairs], dtype=np.int64),
        "numbers": np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        "positions": np.concatenate([frame.positions for frame in frames]),
        "forces": np.concatenate([frame.forces for frame in frames]),
        "cells": np.stack([frame.cell for frame in frames]),
        "pbc": np.stack([frame.pbc for frame in frames]),
        "energy": energy,
        "energy_mask": ~np.isnan(energy),
        "stress": np.stack([unknown if frame.stress is None else frame.stress for frame in frames]),
        "stress_mask": np.array([frame.stress is not None for frame in frames]),
        "frame": np.array(places, dtype=np.int64),
        **{name: [getattr(frame, name) for frame in frames] for name in NAMED},
        **{name: np.concatenate([own[name] for own in pairs]) for name in PER_PAIR},
    }


class SpooledArray:
    """An array in a raw binary file: rows can be appended, and slices of rows read back, as ``dtype``."""

    def __init__(self, path: Path):
        self._path = path
        self.shape: tuple[int, ...] = (0,)

    def append(self, values: np.ndarray) -> None:
        """Append the rows of ``values``; their type, and all axes but the first, must match the previous rows."""
        self.dtype = self._stored = values.dtype
        self.shape = (self.shape[0] + len(values), *values.shape[1:])
        with self._path.open("ab") as stream:
            np.ascontiguousarray(values).tofile(stream)

    def astype(self, kind: np.dtype) -> SpooledArray:
        """The same array, read back as ``kind``."""
        other = copy.copy(self)
        other.dtype = kind
        return other

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, end, _ = rows.indices(self.shape[0])
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        offset = first * width * self._stored.itemsize
        values = np.fromfile(self._path, self._stored, max(end - first, 0) * width, offset=offset)
        return values.reshape(-1, *self.shape[1:]).astype(self.dtype, copy=False)
