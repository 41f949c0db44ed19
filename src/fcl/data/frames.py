"""Labelled structures and their validation; every error names file, frame and key."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.types import BY_NUMBER, RESERVED
from fcl.data.frame_text import TextFault

#: Atoms closer than this (A) are duplicates.
DUPLICATE_DISTANCE = 0.1
#: Upper limit of coordinates (A); beyond it, distances are too imprecise for a cutoff.
LARGEST_COORDINATE = 1e6

#: Opposite components of a stress may differ by so much (eV/A^3, and share of the largest component), as rounding
#: leaves it; their mean is taken.
SYMMETRIC = 1e-6, 1e-3

ALL_ELEMENTS = frozenset(range(1, 119))

#: Level of theory of frames that do not name one.
DEFAULT_FIDELITY = "default"


class FrameError(ValueError):
    """An invalid frame; the message names the file, the frame (from 0) and the key."""

    def __init__(self, path: Path, frame: int, key: str, reason: str):
        super().__init__(f"{path}: frame {frame}: {key}: {reason}")
        self.path, self.frame, self.key, self.reason = path, frame, key, reason

    def __reduce__(self):  # pickled by worker processes
        return type(self), (self.path, self.frame, self.key, self.reason)


@dataclass(frozen=True)
class Frame:
    """One labelled structure.

    numbers [n] int; positions [n, 3] A; cell [3, 3] A (rows are lattice vectors); pbc [3] bool;
    energy eV (isolated-atom energies removed; NaN if unknown); forces [n, 3] eV/A; subset and split are names.
    stress [3, 3] eV/A^3 (dE/dstrain / V) or None; parent: name shared by frames derived from one structure, or None;
    fidelity: name of the level of theory; index: position in the file (from 0), or None.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: float
    forces: np.ndarray
    subset: str
    split: str
    stress: np.ndarray | None = None
    parent: str | None = None
    fidelity: str = DEFAULT_FIDELITY
    index: int | None = None

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class FrameRules:
    """Keys of the labels, and conditions that a frame must satisfy.

    Without ``labels``, energy and forces are not read and set to zero. The stress may be missing; the energy may be
    missing (or NaN) only if ``energy_optional``. ``stress``, ``virial``, ``parent`` and ``fidelity_key`` are keys, or
    None if not read; with ``virial`` (eV) the stress is -virial / volume, and ``stress`` is not read. With
    ``by_formula`` the formula is the parent. ``fidelity`` is the level of theory of frames that do not name one.
    ``split`` is the split to read (None: any). If a file holds several (``select``), frames of the other ``splits`` are
    skipped; otherwise they are an error, unless the frames' own splits are ignored (``any_split``).
    ``elements`` are the allowed atomic numbers (None: Z = 1-118); ``max_force`` is in eV/A.
    """

    labels: bool = True
    energy: str = "energy"
    forces: str = "forces"
    subset: str = "subset"
    split_key: str = "split"
    stress: str | None = "stress"
    virial: str | None = None
    parent: str | None = None
    fidelity_key: str | None = None
    fidelity: str = DEFAULT_FIDELITY
    by_formula: bool = False
    energy_optional: bool = False
    split: str | None = None
    splits: tuple[str, ...] = ()
    select: bool = False
    any_split: bool = False
    elements: frozenset[int] | None = None
    max_force: float | None = None


@dataclass(frozen=True)
class RawFrame:
    """A frame as read: structure, the values of the keys in the rules, and the names of all its properties.

    Stress, or virial if that is read, is as in the file or as given by ASE: [6] (xx, yy, zz, yz, xz, xy), [9] or
    [3, 3].
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: Any
    forces: Any
    subset: Any
    split: Any
    names: tuple[str, ...]
    stress: Any = None
    parent: Any = None
    fidelity: Any = None


def raw_frame(atoms, rules: FrameRules, *, columns: bool = False) -> RawFrame:
    """Structure and labels of an ASE ``Atoms``; calculator results take precedence over ``info``, then ``arrays``.

    With ``columns`` the arrays are columns of a file, hence no energy or stress of the structure. Raises `TextFault`
    for a label that is among the results and elsewhere too, with other values.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    known = {**atoms.arrays, **atoms.info, **results}
    values = {name: known.get(getattr(rules, name)) for name in ("forces", "subset", "parent")}
    totals = known if not columns else {**atoms.info, **results}
    for key in (rules.energy, rules.forces, rules.virial or rules.stress) if rules.labels else ():
        for others in (atoms.info, atoms.arrays):
            if key in results and key in others and not (columns and others is atoms.arrays):
                _check_same(str(key), results[key], others[key])
    return RawFrame(
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.asarray(atoms.cell.array, dtype=np.float64),
        pbc=np.asarray(atoms.pbc, dtype=bool),
        split=known.get(rules.split_key),
        fidelity=known.get(rules.fidelity_key),
        energy=totals.get(rules.energy),
        stress=totals.get(rules.virial or rules.stress),
        names=tuple(
            name if name in totals or name not in (rules.energy, rules.stress, rules.virial) else f"{name} per atom"
            for name in known
            if name not in ("numbers", "positions")
        ),
        **values,
    )


def _check_same(key: str, result: Any, label: Any) -> None:
    one, other = (_voigt(_real(value)) for value in (result, label))
    if one is None or other is None or one.shape != other.shape or not np.allclose(one, other, equal_nan=True):
        raise TextFault(key, "the results of the calculator and info or arrays differ: give one of them another name")


def _voigt(values: np.ndarray | None) -> np.ndarray | None:
    """Values without dimensions, and those of a matrix in the order of ASE."""
    return None if values is None else values.ravel()[[0, 4, 8, 5, 2, 1]] if values.size == 9 else values.ravel()


def validated(path: str | Path, index: int, raw: RawFrame, rules: FrameRules) -> Frame | None:
    """The frame if it satisfies the rules; None if it belongs to another split (``rules.select``).

    Raises `FrameError`.
    """

    def fault(key: str, reason: str) -> FrameError:
        return FrameError(Path(path), index, key, reason)

    if not len(raw.numbers):
        raise fault("positions", "the structure has no atoms")
    split, reason = _split(raw, rules)
    if reason:
        raise fault(rules.split_key, reason)
    if split is None:
        return None
    energy, forces, stress = 0.0, np.zeros((len(raw.numbers), 3)), None
    if rules.labels:
        energy, forces, stress = _energy(raw, rules, fault), _forces(raw, rules, fault), _stress(raw, rules, fault)
    for key, values in (("positions", raw.positions), ("Lattice", raw.cell)):
        largest = max(values.max(), -values.min())  # NaN if any value is NaN
        if not np.isfinite(largest):
            raise fault(key, "contains non-finite values")
        if largest >= LARGEST_COORDINATE:
            raise fault(key, f"beyond {LARGEST_COORDINATE:g} A")
    if outside := _other_elements(raw.numbers, rules):
        raise fault("species", outside)
    if not has_volume(raw.cell, raw.pbc):
        raise fault("Lattice", f"no volume along the periodic directions {raw.pbc.tolist()}")
    return Frame(
        numbers=raw.numbers,
        positions=raw.positions,
        cell=raw.cell,
        pbc=raw.pbc,
        energy=energy,
        forces=forces,
        subset=_subset(raw, rules, fault),
        split=split,
        stress=stress,
        parent=parent_of(raw, rules) if raw.parent is None else _name(raw.parent, rules.parent, fault),
        fidelity=rules.fidelity if raw.fidelity is None else _name(raw.fidelity, rules.fidelity_key, fault),
        index=index,
    )


def parent_of(raw: RawFrame, rules: FrameRules) -> str | None:
    """Name of the parent: the formula (``rules.by_formula``), or as given in the frame, or None."""
    if rules.by_formula:
        return formula(raw.numbers)
    return None if raw.parent is None else str(raw.parent)


def _subset(raw: RawFrame, rules: FrameRules, fault: Callable[[str, str], FrameError]) -> str:
    if raw.subset is None:
        alike = [name for name in raw.names if str(name).casefold() == rules.subset.casefold()]
        if alike and rules.labels:
            raise fault(rules.subset, f"missing, but there is {alike[0]}: the names of keys have to be the same")
        return "default"
    if not rules.labels:  # nothing is reported by subset
        return str(raw.subset)
    name = _name(raw.subset, rules.subset, fault)
    if name in RESERVED:
        meaning = "the structures of all subsets together" if name == "all" else "a missing value in tables"
        raise fault(rules.subset, f"{name!r} stands for {meaning}: give the subset another name")
    return name


def _name(value: Any, key: str | None, fault: Callable[[str, str], FrameError]) -> str:
    """A name as text; it has to be one line that can be printed, without blanks at its ends."""
    name = str(value)
    scalar = isinstance(value, str) or np.ndim(value) == 0
    if not scalar or name != name.strip() or not name or not name.isprintable():
        shown = "empty" if name in ("", "[]") else repr(value)
        raise fault(str(key), f"is {shown}, expected a name: text on one line, without blanks at its ends")
    return name


def formula(numbers: np.ndarray) -> str:
    """Number of atoms of each element, ordered by Z, e.g. H4C2O1; not reduced."""
    elements, counts = np.unique(numbers, return_counts=True)
    return "".join(f"{BY_NUMBER[z]}{n}" for z, n in zip(elements.tolist(), counts.tolist(), strict=True))


def _missing(raw: RawFrame) -> str:
    return f"missing; the frame contains {', '.join(raw.names) or 'no label'}"


def _energy(raw: RawFrame, rules: FrameRules, fault: Callable[[str, str], FrameError]) -> float:
    if raw.energy is None:
        if rules.energy_optional:
            return math.nan
        raise fault(rules.energy, _missing(raw))
    energy = _real(raw.energy)
    if energy is None or energy.size != 1:
        raise fault(rules.energy, f"is {repr(raw.energy)[:60]}, expected one number (eV)")
    value = float(energy.item())
    if not (math.isfinite(value) or (math.isnan(value) and rules.energy_optional)):
        raise fault(rules.energy, f"not finite ({value})")
    return value


def _forces(raw: RawFrame, rules: FrameRules, fault: Callable[[str, str], FrameError]) -> np.ndarray:
    n = len(raw.numbers)
    if raw.forces is None:
        raise fault(rules.forces, _missing(raw))
    forces = _real(raw.forces)
    if forces is None:
        raise fault(rules.forces, "contains values that are not numbers")
    if forces.shape != (n, 3):
        raise fault(rules.forces, f"shape {forces.shape}, expected {(n, 3)}")
    if not np.isfinite(max(forces.max(), -forces.min())):
        raise fault(rules.forces, "contains non-finite values")
    if rules.max_force is not None:
        sizes = np.linalg.norm(forces, axis=1)
        worst = int(sizes.argmax())
        if sizes[worst] > rules.max_force:
            limit = f"the limit data.max_force = {rules.max_force:g} eV/A"
            raise fault(rules.forces, f"{sizes[worst]:.4g} eV/A on atom {worst} exceeds {limit}")
    return forces


def _stress(raw: RawFrame, rules: FrameRules, fault: Callable[[str, str], FrameError]) -> np.ndarray | None:
    """[3, 3] (eV/A^3), symmetric (`SYMMETRIC`); None if it is missing or entirely NaN, or the cell has no volume."""
    if raw.stress is None:
        return None
    key, unit = (rules.virial, "eV") if rules.virial else (str(rules.stress), "eV/A^3")
    stress = _real(raw.stress)
    if stress is None or stress.shape not in ((6,), (9,), (3, 3)):
        raise fault(key, f"expected 9 numbers, or the 6 numbers xx, yy, zz, yz, xz, xy ({unit})")
    if np.isnan(stress).all() or not has_volume(raw.cell):
        return None
    if not np.isfinite(stress).all():
        raise fault(key, "contains non-finite values")
    if rules.virial:
        stress = -stress / abs(np.linalg.det(raw.cell))
    if stress.size == 6:
        return stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    stress = stress.reshape(3, 3)
    skew = np.abs(stress - stress.T).max()
    if skew > SYMMETRIC[0] + SYMMETRIC[1] * np.abs(stress).max():
        raise fault(key, f"is not symmetric: opposite components differ by {skew:.3g} eV/A^3")
    return (stress + stress.T) / 2


def has_volume(cell: np.ndarray, pbc: np.ndarray | None = None) -> bool:
    """Whether the lattice vectors (rows of ``cell``), or those along periodic directions, are linearly independent.

    Without ``pbc``, for a stress, they have to be longer than `DUPLICATE_DISTANCE` too: a shorter one stands for none.
    """
    if pbc is None or pbc.all():  # fast: volume relative to that of an orthogonal cell with the same edges
        (a, b, c), (d, e, f), (g, h, i) = cell.tolist()
        volume = abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
        lengths = math.hypot(a, b, c), math.hypot(d, e, f), math.hypot(g, h, i)
        shortest = DUPLICATE_DISTANCE if pbc is None else 0.0
        return min(lengths) > shortest and volume > 1e-13 * math.prod(lengths)
    return not pbc.any() or bool(np.linalg.matrix_rank(cell[pbc]) == pbc.sum())


def _split(raw: RawFrame, rules: FrameRules) -> tuple[str | None, str]:
    """(name of the split, or None if the frame belongs to another one; error message, empty if valid)."""
    if rules.any_split:
        return rules.split, ""
    named = None if raw.split is None else str(raw.split)
    if rules.select:
        known = f"expected one of {', '.join(rules.splits)}, as the file contains several splits"
        if named is None:
            return None, f"missing; {known}"
        if named not in rules.splits:
            return None, f"is {named!r}; {known}"
        return (named if named == rules.split else None), ""
    if rules.split is None:
        return named or "", ""
    if named not in (None, rules.split):
        return None, f"is {named!r}, expected {rules.split!r}"
    return rules.split, ""


def _other_elements(numbers: np.ndarray, rules: FrameRules) -> str:
    """Error message for elements not allowed by the rules; empty if all are allowed."""
    allowed = ALL_ELEMENTS if rules.elements is None else rules.elements
    outside = sorted(set(numbers.tolist()) - allowed)
    if not outside:
        return ""
    names = [f"{BY_NUMBER[z]} (Z = {z})" if 0 < z < len(BY_NUMBER) else f"Z = {z}" for z in outside]
    return f"{', '.join(names)} not among the {len(allowed)} elements of the model and the data"


def _real(value: Any) -> np.ndarray | None:
    """``value`` as float64; None if it is not numeric (booleans are not)."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return np.asarray(array, dtype=np.float64) if array.dtype.kind in "iuf" else None
