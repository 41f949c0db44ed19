"""Read labelled structures from extended XYZ and say exactly what is wrong with a bad one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Two atoms closer than this (A) are the same atom written twice.
DUPLICATE_DISTANCE = 0.1


class FrameError(ValueError):
    """A frame that cannot be used; the message names the file, the frame and the key."""

    def __init__(self, path: Path, frame: int, key: str, reason: str):
        super().__init__(f"{path}: frame {frame}: {key}: {reason}")
        self.path, self.frame, self.key = path, frame, key


@dataclass(frozen=True)
class Frame:
    """One labelled structure.

    numbers [n] int; positions [n, 3] A; cell [3, 3] A (rows are lattice vectors); pbc [3] bool;
    energy eV (isolated-atom energies removed); forces [n, 3] eV/A; subset and split are names.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: float
    forces: np.ndarray
    subset: str
    split: str

    def __len__(self) -> int:
        return len(self.numbers)


def read_frames(path: str | Path, split: str | None = None) -> Iterator[Frame]:
    """Yield the validated frames of an extended XYZ file (also ``.gz``) one by one.

    With ``split``, a frame that says that it belongs to another split is an error.
    Raises `FileNotFoundError`, or `FrameError` that names file, frame (from 0) and key.
    """
    from ase.io import iread

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    index = -1
    try:
        for index, atoms in enumerate(iread(path, index=":", format="extxyz")):
            yield _validated(path, index, atoms, split)
    except FrameError:
        raise
    except Exception as error:  # ASE raises many kinds for unreadable text; all mean the same to the reader
        raise FrameError(path, index + 1, "frame", f"cannot be read ({error}); is the file truncated?") from error
    if index < 0:
        raise FrameError(path, 0, "frame", "the file holds no frame")


def _validated(path: Path, index: int, atoms, split: str | None) -> Frame:
    results = atoms.calc.results if atoms.calc is not None else {}
    n = len(atoms)
    if n == 0:
        raise FrameError(path, index, "positions", "the structure has no atoms")
    energy = results.get("energy")
    if energy is None or not np.isfinite(energy):
        raise FrameError(path, index, "energy", "missing" if energy is None else f"not finite ({energy})")
    forces = results.get("forces")
    if forces is None:
        raise FrameError(path, index, "forces", "missing")
    forces = np.asarray(forces, dtype=np.float64)
    if forces.shape != (n, 3):
        raise FrameError(path, index, "forces", f"shape {forces.shape}, expected {(n, 3)}")
    for key, values in (("forces", forces), ("positions", atoms.positions), ("Lattice", atoms.cell.array)):
        if not np.isfinite(values).all():
            raise FrameError(path, index, key, "holds values that are not finite")
    periodic = np.asarray(atoms.pbc, dtype=bool)
    if periodic.any() and np.linalg.matrix_rank(atoms.cell.array[periodic]) < periodic.sum():
        raise FrameError(path, index, "Lattice", f"no volume along the periodic directions {periodic.tolist()}")
    named_split = str(atoms.info.get("split", split or ""))
    if split is not None and named_split != split:
        raise FrameError(path, index, "split", f"is {named_split!r}, expected {split!r}")
    return Frame(
        numbers=atoms.numbers.astype(np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.asarray(atoms.cell.array, dtype=np.float64),
        pbc=periodic,
        energy=float(energy),
        forces=forces,
        subset=str(atoms.info.get("subset", "default")),
        split=named_split,
    )
