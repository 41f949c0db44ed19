"""The graph store: one HDF5 file per split with flat arrays and the neighbour list at r_max, computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fcl.config.types import BY_NUMBER
from fcl.data.frames import Frame
from fcl.data.pack import (
    NAMED,
    NARROWED,
    PER_ATOM,
    PER_PAIR,
    PER_STRUCTURE,
    SpooledArray,
    integer_type,
    neighbours,
    pack,
)
from fcl.data.reference_energies import compositions
from fcl.runs.files import FilePath, atomic_path

FORMAT = "fcl-graph-store-2"
ARRAYS = ("ptr", "pair_ptr", *PER_ATOM, *PER_STRUCTURE, *PER_PAIR)
_PIECE_BYTES = 1 << 24


@dataclass(frozen=True)
class StoreArrays:
    """The arrays of a store in host memory; shapes and units as in `fcl.data`.

    ``pair_i`` and ``pair_j`` are indices within the structure; ``pair_ptr`` [n_structures + 1] is the first pair of
    each structure; ``pair_distances`` (float32) is used to select pairs before other arrays are gathered.

    The label is NaN where ``energy_mask`` or ``stress_mask`` is false. ``frame`` [n_structures] is the index of each
    structure in the source file. ``subset``, ``fidelity`` and ``parent`` [n_structures] are indices into their names;
    a structure with parent -1 is the only one of its parent.
    """

    r_max: float
    subset_names: tuple[str, ...]
    fidelity_names: tuple[str, ...]
    parent_names: tuple[str, ...]
    ptr: np.ndarray
    pair_ptr: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    cells: np.ndarray
    pbc: np.ndarray
    energy: np.ndarray
    energy_mask: np.ndarray
    stress: np.ndarray
    stress_mask: np.ndarray
    frame: np.ndarray
    subset: np.ndarray
    fidelity: np.ndarray
    parent: np.ndarray
    pair_i: np.ndarray
    pair_j: np.ndarray
    pair_shifts: np.ndarray
    pair_distances: np.ndarray

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The names that ``subset``, ``fidelity`` and ``parent`` index."""
        return {name: getattr(self, f"{name}_names") for name in NAMED}

    def groups(self) -> np.ndarray:
        """[n_structures] int64: equal for structures of one parent; a structure without a parent has its own number.

        Statistics resample these groups, since structures of one parent are not independent.
        """
        alone = np.cumsum(self.parent < 0) - 1
        return np.where(self.parent < 0, len(self.parent_names) + alone, self.parent).astype(np.int64)


class GrowingStore:
    """A store that grows by blocks of structures; arrays over atoms and pairs are in files of ``folder`` if given."""

    def __init__(self, folder: Path | None = None):
        self._parts: dict[str, Any] = {name: [] for name in ("atoms", "pairs", *PER_ATOM, *PER_STRUCTURE, *PER_PAIR)}
        if folder is not None:
            self._parts |= {name: SpooledArray(folder / name) for name in (*PER_ATOM, *PER_PAIR)}
        self._ranges = dict.fromkeys(NARROWED, (0, 0))

    def append(self, block: Mapping[str, Any]) -> None:
        """Append the structures of a ``block``, as returned by `fcl.data.pack.pack`."""
        for name, parts in self._parts.items():
            (parts.extend if name in NAMED else parts.append)(block[name])
        for name, (low, high) in self._ranges.items():
            self._ranges[name] = int(block[name].min(initial=low)), int(block[name].max(initial=high))

    def finish(self, r_max: float) -> StoreArrays:
        """The whole store; of arrays on disk only dtype, shape and slices of rows are to be used."""
        names, arrays = {}, {}
        for name, parts in self._parts.items():
            if name in NAMED:
                names[f"{name}_names"], arrays[name] = coded(parts)
            else:
                arrays[name] = parts if isinstance(parts, SpooledArray) else np.concatenate(parts)
        kinds = {name: integer_type(*self._ranges[name], what) for name, (what, _) in NARROWED.items()}
        kinds["pair_i"] = kinds["pair_j"]  # i <= j: a type that holds j holds i
        arrays |= {name: arrays[name].astype(kind) for name, kind in kinds.items()}
        ptr, pair_ptr = pointers(arrays.pop("atoms")), pointers(arrays.pop("pairs"))
        return StoreArrays(r_max=float(r_max), ptr=ptr, pair_ptr=pair_ptr, **names, **arrays)


def arrays_from_frames(frames: Sequence[Frame], r_max: float, path: FilePath | None = None) -> StoreArrays:
    """Pack frames into flat arrays and compute their neighbour lists at ``r_max`` (A), in memory.

    Raises `ValueError` for coinciding atoms, naming the file ``path`` if given. `fcl.data.build.build_store` does the
    same for whole files.
    """
    pairs = []
    for index, frame in enumerate(frames):
        try:
            pairs.append(neighbours(frame, r_max))
        except ValueError as error:
            file = "" if path is None else f"{path}: "
            number = index if frame.index is None else frame.index
            raise ValueError(f"{file}frame {number}: {error}") from error
    store = GrowingStore()
    store.append(pack(frames, pairs))
    return store.finish(r_max)


def joined_subset(stores: Sequence[StoreArrays], subset: str) -> StoreArrays:
    """The structures of ``subset`` in all ``stores``, in order. `ValueError` if there is none, or r_max differs."""
    if len({store.r_max for store in stores}) > 1:
        raise ValueError(f"stores of different r_max: {', '.join(f'{store.r_max} A' for store in stores)}")
    joined = GrowingStore()
    for store in stores:
        if subset in store.subset_names:
            joined.append(_block(store, store.subset == store.subset_names.index(subset)))
        elif not any(subset in other.subset_names for other in stores):
            raise ValueError(f"subset {subset!r} is not in the data")
    return joined.finish(stores[0].r_max)


def _block(store: StoreArrays, chosen: np.ndarray) -> dict[str, Any]:
    """The ``chosen`` [n_structures] bool structures, as `fcl.data.pack.pack` returns them."""
    atoms, pairs = np.diff(store.ptr), np.diff(store.pair_ptr)
    rows = dict.fromkeys(PER_STRUCTURE, chosen)
    rows |= dict.fromkeys(PER_ATOM, np.repeat(chosen, atoms)) | dict.fromkeys(PER_PAIR, np.repeat(chosen, pairs))
    block = {name: getattr(store, name)[own] for name, own in rows.items()}
    for name, names in store.names.items():
        block[name] = [(*names, None)[code] for code in block[name]]  # -1, without a name, is the last
    return {"atoms": atoms[chosen], "pairs": pairs[chosen], **block}


def pointers(counts: np.ndarray) -> np.ndarray:
    """[n + 1] int64: index of the first element of each structure, and the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def coded(values: Sequence[str | None]) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct names, sorted, and the index of each value among them, [n] int32; -1 for None."""
    names = tuple(sorted({value for value in values if value is not None}))
    places: dict[str | None, int] = {name: place for place, name in enumerate(names)} | {None: -1}
    return names, np.array([places[value] for value in values], dtype=np.int32)


def content_hash(arrays: StoreArrays) -> str:
    """SHA-256 of r_max, the names (of subsets, fidelities and parents) and all arrays (values, type and shape)."""
    names = list(arrays.names.values())
    digest = hashlib.sha256(f"{FORMAT} {arrays.r_max!r} {json.dumps(names)}".encode())
    for name in ARRAYS:
        values = getattr(arrays, name)
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        for rows in _pieces(values):
            digest.update(np.ascontiguousarray(values[rows]).data)
    return digest.hexdigest()


def write_store(arrays: StoreArrays, target: FilePath, attributes: Mapping[str, Any]) -> None:
    """Write the arrays atomically, compressed (shuffle, gzip) to a few bytes per pair."""
    with atomic_path(Path(target)) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update({"format": FORMAT, "r_max": arrays.r_max, **attributes})
        for name in ("subset", "fidelity"):
            file.attrs[f"{name}_names"] = list(arrays.names[name])
        parents = np.array([name.encode() for name in arrays.parent_names], dtype=np.bytes_)  # too many for attributes
        for name, values in {"parent_names": parents, **{name: getattr(arrays, name) for name in ARRAYS}}.items():
            rows = int(values.shape[0])
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if rows else {}
            dataset = file.create_dataset(name, values.shape, values.dtype, track_times=False, **packed)
            for piece in _pieces(values, dataset.chunks[0] if rows else 1):
                dataset[piece] = values[piece]


def _pieces(values: Any, multiple: int = 1) -> Iterator[slice]:
    """Slices of the first axis, some megabytes each; all but the last have a multiple of ``multiple`` rows."""
    row_bytes = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    rows = max(_PIECE_BYTES // row_bytes // multiple, 1) * multiple
    for first in range(0, int(values.shape[0]), rows):
        yield slice(first, min(first + rows, int(values.shape[0])))


def read_store(path: FilePath) -> StoreArrays:
    """Load a store into memory.

    Raises `FileNotFoundError`, or `ValueError` if the file is not a graph store or has another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such graph store")
    try:
        with h5py.File(path, "r") as file:
            found = str(file.attrs.get("format", ""))
            if found != FORMAT:
                other = f"it is {found}: delete it and build it again" if found.startswith("fcl-graph-store-") else ""
                raise ValueError(f"{path}: not a graph store of format {FORMAT}" + (other and f"; {other}"))
            names = {name: tuple(map(str, file.attrs[name])) for name in ("subset_names", "fidelity_names")}
            names["parent_names"] = tuple(name.decode() for name in file["parent_names"][()].tolist())
            return StoreArrays(float(file.attrs["r_max"]), **names, **{name: file[name][()] for name in ARRAYS})
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as HDF5 ({error})") from error


def structures_per_element(path: FilePath) -> dict[str, int]:
    """Number of structures of a store that contain each element, by chemical symbol and in order of atomic number."""
    with h5py.File(path, "r") as file:
        counts, elements = compositions(file["numbers"][:], file["ptr"][:])
    return {BY_NUMBER[z]: count for z, count in zip(elements, (counts > 0).sum(axis=0).tolist(), strict=True)}


def read_reference_energies(path: FilePath) -> dict[str, float]:
    """Energies (eV) by chemical symbol that were subtracted from the labels of a store; empty if none."""
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs.get("reference_energies", "{}"))
