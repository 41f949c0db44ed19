"""Packing of frames and their neighbour lists into flat arrays, by blocks of structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcl.data.frames import DUPLICATE_DISTANCE, Frame
from fcl.data.neighbors import half_pairs

#: Arrays by the meaning of their first axis; those in `NAMED` are indices into a list of names.
PER_ATOM = ("numbers", "positions", "forces")
LABELS_AND_CELLS = ("cells", "pbc", "energy", "energy_mask", "stress", "stress_mask", "frame")
NAMED = ("subset", "fidelity", "parent")
PER_STRUCTURE = (*LABELS_AND_CELLS, *NAMED)
PER_PAIR = ("pair_i", "pair_j", "pair_shifts", "pair_distances")
#: Integer arrays that are stored in the narrowest type that holds all their values.
NARROWED = {
    "pair_i": "atom index within a structure",
    "pair_j": "atom index within a structure",
    "pair_shifts": "cell shift",
}
INTEGER_TYPES = tuple(map(np.dtype, (np.int8, np.uint8, np.int16, np.uint16)))


@dataclass(frozen=True)
class PackedFrames:
    """A block of structures: arrays as in `fcl.data.store.StoreArrays`, counts instead of pointers, and for `NAMED` the
    name of each structure or None."""

    atoms: np.ndarray
    pairs: np.ndarray
    names: dict[str, list[str | None]]
    arrays: dict[str, np.ndarray]


def smallest_integer_type(values: np.ndarray, what: str) -> np.dtype:
    """The narrowest of int8/uint8/int16/uint16 that holds ``values``; `OverflowError` if none does."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return integer_type(low, high, what)


def integer_type(low: int, high: int, what: str) -> np.dtype:
    """The narrowest of int8/uint8/int16/uint16 that holds ``low`` to ``high``; `OverflowError` if none does."""
    for kind in INTEGER_TYPES:
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
    for name, what in NARROWED.items():
        try:
            arrays[name] = arrays[name].astype(smallest_integer_type(arrays[name], what))
        except OverflowError as error:
            raise ValueError(f"positions: {error}") from error
    return arrays


def pack(frames: Sequence[Frame], pairs: Sequence[dict[str, np.ndarray]]) -> PackedFrames:
    """Flat arrays of ``frames`` and of their ``pairs``, as returned by `neighbours`.

    A frame without an index in a file is numbered by its position in ``frames``.
    """
    energy = np.array([frame.energy for frame in frames], dtype=np.float64)
    unknown = np.full((3, 3), np.nan)
    places = [place if frame.index is None else frame.index for place, frame in enumerate(frames)]
    arrays = {
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
    }
    for name in PER_PAIR:
        arrays[name] = np.concatenate([own[name] for own in pairs])
    return PackedFrames(
        atoms=np.array([len(frame) for frame in frames], dtype=np.int64),
        pairs=np.array([len(own["pair_i"]) for own in pairs], dtype=np.int64),
        names={name: [getattr(frame, name) for frame in frames] for name in NAMED},
        arrays=arrays,
    )
