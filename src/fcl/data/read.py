"""Structures of a user's own: any file that ASE reads, with labels or without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fcl.data.extxyz import atoms_of, parse, sources
from fcl.data.frames import Frame, FrameRules, raw_frame, validated

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: str | Path, num_elements: int = 118) -> list[Atoms]:
    """The ASE structures of a file, without their labels.

    Raises `FileNotFoundError`, or `FrameError` that names file, frame (from 0) and key: unreadable, no atoms, values
    that are not finite, no volume along periodic directions, elements beyond ``num_elements``.
    """
    rules = _rules(num_elements, labels=False)
    structures = []
    for index, source in sources(path):
        atoms = atoms_of(path, index, source)
        validated(path, index, raw_frame(atoms, rules), rules)
        atoms.calc = None
        structures.append(atoms)
    return structures


def frames_of(
    path: str | Path, *, labels: bool = True, subset: str | None = None, num_elements: int = 118
) -> list[Frame]:
    """The frames of a file, of ``subset`` only where it is named; without ``labels`` energies and forces are zero.

    Raises `FileNotFoundError`, `FrameError` as `read_frames`, or `ValueError` for a subset that the file does not hold.
    """
    frames = list(read_frames(path, rules=_rules(num_elements, labels)))
    if subset is None:
        return frames
    known = sorted({frame.subset for frame in frames})
    if subset not in known:
        raise ValueError(f"{path}: no frame of subset {subset!r}; there are {', '.join(known)}")
    return [frame for frame in frames if frame.subset == subset]


def _rules(num_elements: int, labels: bool) -> FrameRules:
    return FrameRules(labels=labels, stress=None, elements=frozenset(range(1, num_elements + 1)))


def read_frames(path: str | Path, split: str | None = None, rules: FrameRules | None = None) -> Iterator[Frame]:
    """Yield the validated frames of an extended XYZ file (also ``.gz``) or any file that ASE reads, one by one.

    With ``split``, a frame that says that it belongs to another split is an error.
    Raises `FileNotFoundError`, or `FrameError` that names file, frame (from 0) and key.
    """
    rules = rules or FrameRules(split=split)
    for index, source in sources(path):
        frame = validated(path, index, parse(path, index, source, rules), rules)
        if frame is not None:
            yield frame
