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

from fcl.data.frames import Frame
from fcl.data.pack import NAMED, NARROWED, PER_ATOM, PER_PAIR, PER_STRUCTURE, neighbours, pack, smallest_integer_type
from fcl.runs.files import atomic_path

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


def arrays_from_frames(frames: Sequence[Frame], r_max: float, path: str | Path | None = None) -> StoreArrays:
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
    packed = pack(frames, pairs)
    arrays = dict(packed.arrays)
    for name, what in NARROWED.items():
        arrays[name] = arrays[name].astype(smallest_integer_type(arrays[name], what))
    arrays["pair_i"] = arrays["pair_i"].astype(arrays["pair_j"].dtype)  # i <= j: a type that holds j holds i
    arrays |= {"ptr": pointers(packed.atoms), "pair_ptr": pointers(packed.pairs)}
    names = {}
    for name in NAMED:
        names[name], arrays[name] = coded(packed.names[name])
    return _store_arrays(float(r_max), names, arrays)


def _store_arrays(r_max: float, names: Mapping[str, tuple[str, ...]], arrays: Mapping[str, np.ndarray]) -> StoreArrays:
    return StoreArrays(r_max=r_max, **{f"{name}_names": names[name] for name in NAMED}, **arrays)


def joined_subset(stores: Sequence[StoreArrays], subset: str) -> StoreArrays:
    """The structures of ``subset`` in all ``stores``, in order. `ValueError` if there is none, or r_max differs."""
    if len({store.r_max for store in stores}) > 1:
        raise ValueError(f"stores of different r_max: {', '.join(f'{store.r_max} A' for store in stores)}")
    members = [
        np.flatnonzero(np.array([name == subset for name in store.subset_names], dtype=bool)[store.subset])
        for store in stores
    ]
    if not sum(map(len, members)):
        raise ValueError(f"subset {subset!r} is not in the data")

    def rows(pointer: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.concatenate([np.arange(pointer[k], pointer[k + 1]) for k in chosen] or [np.empty(0, dtype=np.int64)])

    arrays, names = {}, {}
    for kind, pointer in ((PER_ATOM, "ptr"), (PER_PAIR, "pair_ptr"), (PER_STRUCTURE, None)):
        for name in kind:
            own = [
                getattr(store, name)[chosen if pointer is None else rows(getattr(store, pointer), chosen)]
                for store, chosen in zip(stores, members, strict=True)
            ]
            arrays[name] = np.concatenate(own)
    for name in ("ptr", "pair_ptr"):
        counts = [np.diff(getattr(store, name))[chosen] for store, chosen in zip(stores, members, strict=True)]
        arrays[name] = pointers(np.concatenate(counts))
    for name in NAMED:
        labels: list[str | None] = []
        for store, chosen in zip(stores, members, strict=True):
            known = (*store.names[name], None)  # -1 is the last
            labels += [known[code] for code in getattr(store, name)[chosen]]
        names[name], arrays[name] = coded(labels)
    return _store_arrays(stores[0].r_max, names, arrays)


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
    return hash_arrays(arrays.r_max, arrays.names, {name: getattr(arrays, name) for name in ARRAYS})


def hash_arrays(r_max: float, names: Mapping[str, tuple[str, ...]], arrays: Mapping[str, Any]) -> str:
    """`content_hash` of arrays that may be on disk; only dtype, shape and slices of rows are used."""
    known = [list(names[name]) for name in NAMED]
    digest = hashlib.sha256(f"{FORMAT} {r_max!r} {json.dumps(known)}".encode())
    for name in ARRAYS:
        values = arrays[name]
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        for rows in _pieces(values):
            digest.update(np.ascontiguousarray(values[rows]).data)
    return digest.hexdigest()


def write_store(arrays: StoreArrays, target: str | Path, attributes: Mapping[str, Any]) -> None:
    """Write the arrays atomically, compressed (shuffle, gzip) to a few bytes per pair."""
    write_arrays(arrays.r_max, arrays.names, {name: getattr(arrays, name) for name in ARRAYS}, target, attributes)


def write_arrays(
    r_max: float,
    names: Mapping[str, tuple[str, ...]],
    arrays: Mapping[str, Any],
    target: str | Path,
    attributes: Mapping[str, Any],
) -> None:
    """`write_store` of arrays that may be on disk; see `hash_arrays`."""
    with atomic_path(Path(target)) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update({"format": FORMAT, "r_max": r_max, **attributes})
        for name in ("subset", "fidelity"):
            file.attrs[f"{name}_names"] = list(names[name])
        parents = np.array([name.encode() for name in names["parent"]], dtype=np.bytes_)  # too many for an attribute
        for name, values in {"parent_names": parents, **{name: arrays[name] for name in ARRAYS}}.items():
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


def read_store(path: str | Path) -> StoreArrays:
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
            names = {name: tuple(map(str, file.attrs[f"{name}_names"])) for name in ("subset", "fidelity")}
            names["parent"] = tuple(name.decode() for name in file["parent_names"][()].tolist())
            return _store_arrays(float(file.attrs["r_max"]), names, {name: file[name][()] for name in ARRAYS})
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as HDF5 ({error})") from error


def structures_per_element(path: str | Path) -> dict[str, int]:
    """Number of structures of a store that contain each element, by chemical symbol and in order of atomic number."""
    from ase.data import chemical_symbols

    with h5py.File(path, "r") as file:
        numbers, ptr = file["numbers"][:].astype(np.int64), file["ptr"][:]
    structure = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    held = np.unique(structure * len(chemical_symbols) + numbers) % len(chemical_symbols)
    elements, counts = np.unique(held, return_counts=True)
    return {chemical_symbols[z]: count for z, count in zip(elements.tolist(), counts.tolist(), strict=True)}


def read_reference_energies(path: str | Path) -> dict[str, float]:
    """Energies (eV) by chemical symbol that were subtracted from the labels of a store; empty if none."""
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs.get("reference_energies", "{}"))
