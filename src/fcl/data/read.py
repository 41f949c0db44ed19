"""Reading structures with or without labels from any file format supported by ASE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fcl.config.types import SYMBOLS
from fcl.data.extxyz import atoms_of, parse, sources
from fcl.data.frames import Frame, FrameError, FrameRules, raw_frame, validated

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: str | Path, num_elements: int = 118, *, as_text: bool = False) -> list[Atoms]:
    """The ASE structures of a file, without their labels.

    With ``as_text`` the values in ``info`` of extended XYZ are texts, as they stand in the file (1.50 is not 1.5).
    Raises `FileNotFoundError`, or `FrameError` naming file, frame (from 0) and key: unreadable, no atoms, non-finite
    values, no volume along periodic directions, elements beyond ``num_elements``.
    """
    rules = _rules(num_elements, labels=False)
    structures = []
    for index, source in sources(path):
        atoms = atoms_of(path, index, source, None if as_text else ())
        validated(path, index, raw_frame(atoms, rules), rules)
        atoms.calc = None
        structures.append(atoms)
    return structures


def frames_of(
    path: str | Path,
    *,
    labels: bool = True,
    subset: str | None = None,
    num_elements: int = 118,
    keys: Mapping[str, str | None] | None = None,
    references: Mapping[str, float] | None = None,
) -> list[Frame]:
    """The frames of a file, or of one ``subset``; without ``labels``, energies and forces are zero.

    ``keys``: names of "energy", "forces" and "parent" (None: the defaults; "none": frames have no parents; a frame
    without one is a group of its own, with its copies: equal elements, positions, cell and periodicity). ``references``
    (eV by symbol, from a model's card) are subtracted from the energies. Raises `FileNotFoundError`, `FrameError` as
    `read_frames` and for an element without a reference, or `ValueError` for an empty key, and for a subset or key of
    parents that is not in the file.
    """
    given = {name: key for name, key in (keys or {}).items() if key is not None}
    if empty := [name for name, key in given.items() if not key.strip()]:
        raise ValueError(f"the key of {empty[0]} is empty: give a name, or None for the default")
    frames = list(read_frames(path, rules=replace(_rules(num_elements, labels), **given)))
    if given.get("parent", "none") != "none" and all(frame.parent is None for frame in frames):
        raise ValueError(f"{path}: {given['parent']}: no frame has this key of parents")
    if references and labels:
        frames = [_without(references, frame, path) for frame in frames]
    frames = _copies_together(frames)
    if subset is None:
        return frames
    known = sorted({frame.subset for frame in frames})
    if subset not in known:
        raise ValueError(f"{path}: no frame of subset {subset!r}; there are {', '.join(known)}")
    return [frame for frame in frames if frame.subset == subset]


def _copies_together(frames: list[Frame]) -> list[Frame]:
    """The frames, with one parent for all that share a parent or are copies of one structure."""
    leader = list(range(len(frames)))

    def root(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    seen: dict[object, int] = {}
    for k, frame in enumerate(frames):
        arrays = (frame.numbers, frame.positions + 0.0, frame.cell + 0.0, frame.pbc)  # + 0.0: -0 is 0
        for name in (tuple(array.tobytes() for array in arrays), frame.parent):
            if name is not None:
                leader[root(k)] = root(seen.setdefault(name, k))
    roots = [root(k) for k in range(len(frames))]
    sizes = Counter(roots)
    names = {k: frames[k].parent or f"copies of frame {frames[k].index}" for k, size in sizes.items() if size > 1}
    return [replace(frame, parent=names.get(k, frame.parent)) for k, frame in zip(roots, frames, strict=True)]


def _without(references: Mapping[str, float], frame: Frame, path: str | Path) -> Frame:
    """The frame without the energies of its elements."""
    symbols = [SYMBOLS[number - 1] for number in frame.numbers.tolist()]
    if lacking := sorted(set(symbols) - references.keys()):
        reason = f"the model was trained without {', '.join(lacking)}, and its card has no reference energy of it"
        raise FrameError(Path(path), frame.index or 0, "species", reason)
    return replace(frame, energy=frame.energy - sum(references[symbol] for symbol in symbols))


def _rules(num_elements: int, labels: bool) -> FrameRules:
    return FrameRules(labels=labels, stress=None, parent="parent", elements=frozenset(range(1, num_elements + 1)))


def read_frames(path: str | Path, split: str | None = None, rules: FrameRules | None = None) -> Iterator[Frame]:
    """Yield the validated frames of an extended XYZ file (also ``.gz``) or any other format supported by ASE.

    With ``split``, frames labelled with another split are an error. Raises `FileNotFoundError`, or `FrameError` naming
    file, frame (from 0) and key.
    """
    rules = rules or FrameRules(split=split)
    for index, source in sources(path):
        frame = validated(path, index, parse(path, index, source, rules), rules)
        if frame is not None:
            yield frame
