"""The graph store: one HDF5 file a split with flat arrays and the neighbour list at r_max, computed once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from fcl.data.frames import DUPLICATE_DISTANCE, Frame, FrameError, read_frames
from fcl.data.neighbors import half_pairs
from fcl.files import atomic_path

FORMAT = "fcl-graph-store-1"
_PER_ATOM = ("numbers", "positions", "forces")
_PER_STRUCTURE = ("cells", "pbc", "energy", "subset")
_PER_PAIR = ("pair_i", "pair_j", "pair_shifts", "pair_distances")


@dataclass(frozen=True)
class StoreArrays:
    """The arrays of a store in host memory; shapes and units as in `fcl.data`.

    ``pair_i`` and ``pair_j`` are local to the structure; ``pair_ptr`` [n_structures + 1] is the first pair of each
    structure; ``pair_distances`` is float32 and serves to select pairs before anything else is gathered.
    """

    r_max: float
    subset_names: tuple[str, ...]
    ptr: np.ndarray
    pair_ptr: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    cells: np.ndarray
    pbc: np.ndarray
    energy: np.ndarray
    subset: np.ndarray
    pair_i: np.ndarray
    pair_j: np.ndarray
    pair_shifts: np.ndarray
    pair_distances: np.ndarray

    def __len__(self) -> int:
        return len(self.energy)


def smallest_integer_type(values: np.ndarray, what: str) -> np.dtype:
    """The narrowest of int8/uint8/int16/uint16 that holds ``values``; `OverflowError` when none does."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.int8, np.uint8, np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise OverflowError(f"{what}: values {low} to {high} do not fit in 16 bits")


def arrays_from_frames(frames: list[Frame], r_max: float, names: list[str] | None = None) -> StoreArrays:
    """Pack frames into flat arrays and compute every neighbour list at ``r_max`` (A).

    ``names`` [n_frames] label the frames in error messages. Raises `ValueError` for atoms on top of each other.
    """
    pairs_i, pairs_j, pairs_s, pairs_d, counts = [], [], [], [], []
    for index, frame in enumerate(frames):
        pair_index, shifts, distances = half_pairs(frame.positions, frame.cell, frame.pbc, r_max)
        if distances.size and distances.min() < DUPLICATE_DISTANCE:
            worst = distances.argmin()
            i, j = pair_index[:, worst]
            label = names[index] if names else f"frame {index}"
            raise ValueError(
                f"{label}: positions: atoms {i} and {j} are {distances[worst]:.3g} A apart (duplicate atoms?)"
            )
        pairs_i.append(pair_index[0].astype(np.int32))
        pairs_j.append(pair_index[1].astype(np.int32))
        pairs_s.append(shifts.astype(np.int32))
        pairs_d.append(distances.astype(np.float32))
        counts.append(len(distances))
    subset_names = tuple(sorted({frame.subset for frame in frames}))
    i, j, shifts = np.concatenate(pairs_i), np.concatenate(pairs_j), np.concatenate(pairs_s)
    index_type = smallest_integer_type(np.concatenate([i, j]), "atom index within a structure")
    return StoreArrays(
        r_max=float(r_max),
        subset_names=subset_names,
        ptr=np.concatenate([[0], np.cumsum([len(frame) for frame in frames])]).astype(np.int64),
        pair_ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        positions=np.concatenate([frame.positions for frame in frames]),
        forces=np.concatenate([frame.forces for frame in frames]),
        cells=np.stack([frame.cell for frame in frames]),
        pbc=np.stack([frame.pbc for frame in frames]),
        energy=np.array([frame.energy for frame in frames]),
        subset=np.array([subset_names.index(frame.subset) for frame in frames], dtype=np.int16),
        pair_i=i.astype(index_type),
        pair_j=j.astype(index_type),
        pair_shifts=shifts.astype(smallest_integer_type(shifts, "cell shift")).reshape(-1, 3),
        pair_distances=np.concatenate(pairs_d),
    )


def build_store(
    source: str | Path,
    target: str | Path,
    *,
    r_max: float,
    split: str | None = None,
    max_frames_per_subset: int | None = None,
) -> dict:
    """Read ``source`` (extended XYZ), compute neighbour lists at ``r_max`` (A) and write ``target`` (HDF5).

    ``max_frames_per_subset`` keeps the first frames of each subset. Returns counts (structures, atoms, pairs, bytes per
    pair) and the content hash. Raises `FrameError` naming file, frame and key; nothing is left half-written.
    """
    from fcl.progress import progress

    source, target = Path(source), Path(target)
    frames, names, kept = [], [], {}
    for index, frame in enumerate(progress(read_frames(source, split), f"reading {source.name}")):
        if max_frames_per_subset is None or kept.get(frame.subset, 0) < max_frames_per_subset:
            kept[frame.subset] = kept.get(frame.subset, 0) + 1
            frames.append(frame)
            names.append(f"{source}: frame {index}")
    if not frames:
        raise FrameError(source, 0, "frame", "no frame is left after max_frames_per_subset")
    arrays = arrays_from_frames(frames, r_max, names)
    digest = content_hash(arrays)
    write_store(arrays, target, {"source": source.name, "split": split or "", "content_sha256": digest})
    pairs = int(arrays.pair_ptr[-1])
    return {
        "structures": len(arrays),
        "atoms": int(arrays.ptr[-1]),
        "pairs": pairs,
        "frames_per_subset": kept,
        "bytes_per_pair": target.stat().st_size / max(pairs, 1),
        "content_sha256": digest,
    }


def content_hash(arrays: StoreArrays) -> str:
    """SHA-256 over r_max, the subset names and every array (values, type and shape)."""
    digest = hashlib.sha256(f"{FORMAT} {arrays.r_max!r} {arrays.subset_names!r}".encode())
    for name in ("ptr", "pair_ptr", *_PER_ATOM, *_PER_STRUCTURE, *_PER_PAIR):
        values = np.ascontiguousarray(getattr(arrays, name))
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def write_store(arrays: StoreArrays, target: str | Path, attributes: dict[str, str]) -> None:
    """Write the arrays beside ``target`` and rename; shuffled gzip keeps a pair at a few bytes."""
    with atomic_path(Path(target)) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update({"format": FORMAT, "r_max": arrays.r_max, **attributes})
        file.attrs["subset_names"] = list(arrays.subset_names)
        for name in ("ptr", "pair_ptr", *_PER_ATOM, *_PER_STRUCTURE, *_PER_PAIR):
            values = getattr(arrays, name)
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.size else {}
            file.create_dataset(name, data=values, track_times=False, **packed)


def read_store(path: str | Path) -> StoreArrays:
    """Load a store into memory. Raises `FileNotFoundError`, or `ValueError` when the file is not a graph store."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such graph store")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError(f"{path}: not a graph store of format {FORMAT}")
            arrays = {name: file[name][()] for name in ("ptr", "pair_ptr", *_PER_ATOM, *_PER_STRUCTURE, *_PER_PAIR)}
            names = tuple(str(name) for name in file.attrs["subset_names"])
            return StoreArrays(r_max=float(file.attrs["r_max"]), subset_names=names, **arrays)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as HDF5 ({error})") from error
