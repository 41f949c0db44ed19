"""Labelled structures, and what makes one unusable: every fault is told with file, frame and key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Two atoms closer than this (A) are the same atom written twice.
DUPLICATE_DISTANCE = 0.1
#: No structure reaches as far (A); beyond it, distances lose the digits that a cutoff needs.
LARGEST_COORDINATE = 1e6


class FrameError(ValueError):
    """A frame that cannot be used; the message names the file, the frame (from 0) and the key."""

    def __init__(self, path: Path, frame: int, key: str, reason: str):
        super().__init__(f"{path}: frame {frame}: {key}: {reason}")
        self.path, self.frame, self.key, self.reason = path, frame, key, reason

    def __reduce__(self):  # it crosses from a worker process
        return type(self), (self.path, self.frame, self.key, self.reason)


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


@dataclass(frozen=True)
class FrameRules:
    """Under which keys the labels stand, and what a frame has to be.

    ``split`` is the split that is read (None: any). Where one file holds several (``select``), a frame of another one
    of ``splits`` is left out; otherwise it is an error, unless what
    frames say of it does not count (``any_split``). ``elements`` are the atomic numbers allowed (None: Z = 1-118);
    ``max_force`` is in eV/A.
    """

    energy: str = "energy"
    forces: str = "forces"
    subset: str = "subset"
    split_key: str = "split"
    split: str | None = None
    splits: tuple[str, ...] = ()
    select: bool = False
    any_split: bool = False
    elements: frozenset[int] | None = None
    max_force: float | None = None


@dataclass(frozen=True)
class RawFrame:
    """A frame as it was read: structure, the values found under the keys of the rules, and all names that it holds."""

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: Any
    forces: Any
    subset: Any
    split: Any
    names: tuple[str, ...]


def raw_frame(atoms, rules: FrameRules) -> RawFrame:
    """The labels of an ASE ``Atoms``: results of its calculator first, then ``info``, then ``arrays``."""
    results = atoms.calc.results if atoms.calc is not None else {}
    known = {**atoms.arrays, **atoms.info, **results}
    values = {name: known.get(getattr(rules, name)) for name in ("energy", "forces", "subset")}
    return RawFrame(
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.asarray(atoms.cell.array, dtype=np.float64),
        pbc=np.asarray(atoms.pbc, dtype=bool),
        split=known.get(rules.split_key),
        names=tuple(name for name in known if name not in ("numbers", "positions")),
        **values,
    )


def read_frames(path: str | Path, split: str | None = None, rules: FrameRules | None = None) -> Iterator[Frame]:
    """Yield the validated frames of an extended XYZ file (also ``.gz``) or any file that ASE reads, one by one.

    With ``split``, a frame that says that it belongs to another split is an error.
    Raises `FileNotFoundError`, or `FrameError` that names file, frame (from 0) and key.
    """
    from fcl.data.sources import parse, sources

    rules = rules or FrameRules(split=split)
    for index, source in sources(path):
        frame = validated(path, index, parse(path, index, source, rules), rules)
        if frame is not None:
            yield frame


def validated(path: str | Path, index: int, raw: RawFrame, rules: FrameRules) -> Frame | None:
    """The frame, if the rules allow it; None where ``rules.select`` leaves it to another split. Raises `FrameError`."""

    def require(condition: bool, key: str, reason: str) -> None:
        if not condition:
            raise FrameError(Path(path), index, key, reason)

    n = len(raw.numbers)
    require(n > 0, "positions", "the structure has no atoms")
    split = _split(raw, rules, require)
    if split is None:
        return None
    for key, value in ((rules.energy, raw.energy), (rules.forces, raw.forces)):
        require(value is not None, key, f"missing; the frame holds {', '.join(raw.names) or 'no label'}")
    energy, forces = _real(raw.energy), _real(raw.forces)
    require(energy is not None and energy.size == 1, rules.energy, f"is {raw.energy!r}, expected one number (eV)")
    require(bool(np.isfinite(energy).all()), rules.energy, f"not finite ({energy.item()})")
    require(forces is not None, rules.forces, "holds values that are not numbers")
    require(forces.shape == (n, 3), rules.forces, f"shape {forces.shape}, expected {(n, 3)}")
    for key, values in ((rules.forces, forces), ("positions", raw.positions), ("Lattice", raw.cell)):
        require(bool(np.isfinite(values).all()), key, "holds values that are not finite")
    for key, values in (("positions", raw.positions), ("Lattice", raw.cell)):
        require(bool((np.abs(values) < LARGEST_COORDINATE).all()), key, f"beyond {LARGEST_COORDINATE:g} A")
    _check_elements(raw.numbers, rules, require)
    if rules.max_force is not None:
        sizes = np.linalg.norm(forces, axis=1)
        worst = int(sizes.argmax())
        require(
            sizes[worst] <= rules.max_force, rules.forces,
            f"{sizes[worst]:.4g} eV/A on atom {worst} exceeds the limit data.max_force = {rules.max_force:g} eV/A",
        )  # fmt: skip
    flat = raw.pbc.any() and np.linalg.matrix_rank(raw.cell[raw.pbc]) < raw.pbc.sum()
    require(not flat, "Lattice", f"no volume along the periodic directions {raw.pbc.tolist()}")
    return Frame(
        numbers=raw.numbers,
        positions=raw.positions,
        cell=raw.cell,
        pbc=raw.pbc,
        energy=float(energy.item()),
        forces=forces,
        subset="default" if raw.subset is None else str(raw.subset),
        split=split,
    )


def _split(raw: RawFrame, rules: FrameRules, require) -> str | None:
    """The name of the frame's split; None for a frame that another split takes."""
    named = rules.split if raw.split is None and not rules.select else raw.split
    if rules.split is None:
        return "" if named is None else str(named)
    if rules.any_split:
        return rules.split
    if rules.select:
        known = f"expected one of {', '.join(rules.splits)}, as the file holds several splits"
        require(named is not None, rules.split_key, f"missing; {known}")
        require(str(named) in rules.splits, rules.split_key, f"is {str(named)!r}; {known}")
        return rules.split if str(named) == rules.split else None
    require(str(named) == rules.split, rules.split_key, f"is {str(named)!r}, expected {rules.split!r}")
    return rules.split


def _check_elements(numbers: np.ndarray, rules: FrameRules, require) -> None:
    allowed = range(1, 119) if rules.elements is None else rules.elements
    outside = [int(z) for z in np.unique(numbers) if int(z) not in allowed]
    if outside:
        from ase.data import chemical_symbols

        names = [f"{chemical_symbols[z]} (Z = {z})" if 0 < z < len(chemical_symbols) else f"Z = {z}" for z in outside]
        require(False, "species", f"{', '.join(names)} not among the {len(allowed)} elements of the model and the data")


def _real(value: Any) -> np.ndarray | None:
    """``value`` as float64; None if it is not numeric (a boolean is not)."""
    array = np.asarray(value)
    return np.asarray(array, dtype=np.float64) if array.dtype.kind in "iuf" else None
