"""Building a graph store from structure files: in parallel, in bounded memory, reproducibly."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fcl.data.extxyz import BrokenFile, parse, sources
from fcl.data.frames import FrameError, FrameRules, validated
from fcl.data.pack import LABELS_AND_CELLS, NAMED, NARROWED, PER_ATOM, PER_PAIR, PackedFrames, neighbours, pack
from fcl.data.parallel import ordered_map
from fcl.data.reference_energies import energies_of_atoms, reference_energies
from fcl.data.splits import Portion, chosen_frames
from fcl.data.spool import SpooledArray
from fcl.data.store import coded, hash_arrays, pointers, write_arrays
from fcl.runs.files import write_csv

logger = logging.getLogger(__name__)

#: Maximum size of a block of frames, the unit of work of a process.
BLOCK_FRAMES, BLOCK_BYTES = 256, 1 << 20
REJECTED_COLUMNS = ("file", "frame", "key", "reason")


@dataclass(frozen=True)
class Block:
    """Frames (or errors in their place) for one process; further frames of the subsets ``full`` are skipped."""

    sources: list[tuple[int, Any]]
    full: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """Result for a frame: valid, ``skipped``, or with an ``error``; ``subset`` is None if unknown."""

    subset: str | None
    skipped: bool = False
    error: FrameError | None = None


def build_store(
    source: str | Path | Sequence[str | Path],
    target: str | Path,
    *,
    r_max: float,
    split: str | None = None,
    max_frames_per_subset: int | None = None,
    rules: FrameRules | None = None,
    portion: Portion | None = None,
    frames: int | None = None,
    references: Mapping[str, float] | str | None = None,
    strict: bool = True,
    rejected: str | Path | None = None,
    workers: int = 1,
) -> dict:
    """Read ``source``, compute neighbour lists at ``r_max`` (A) and write ``target`` (HDF5).

    Args:
        source: extended XYZ, also compressed, or any other format supported by ASE; or several files.
        split: its name; frames labelled with another one are an error, unless ``rules.select`` is set.
        max_frames_per_subset: keep only the first structures of each subset.
        rules: keys of the labels and conditions on frames; ``rules.split`` is replaced by ``split``.
        portion: the part of the frames of the files in the split; None: all.
        frames: expected number of frames of the split.
        references: energies (eV) by symbol to subtract from the labels, or "fit" for a least-squares fit to these.
        strict: invalid frames are errors; otherwise they are skipped and listed.
        rejected: CSV file listing the skipped frames.
        workers: number of processes; the result does not depend on it.

    Returns counts (structures, atoms, pairs, bytes per pair), the reference energies and the content hash. Raises
    `FrameError` naming file, frame and key; ``target`` is written atomically.
    """
    from fcl.runs.log import progress

    files = [Path(file) for file in ([source] if isinstance(source, str | Path) else source)]
    source, target = files[-1], Path(target)
    rules = replace(rules or FrameRules(), split=split)
    chosen = None if portion is None else iter(chosen_frames(files, portion, rules))
    count = Counter(max_frames_per_subset)
    bad: list[FrameError] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}.", suffix=".part", dir=target.parent) as folder:
        spool = _Spool(Path(folder))
        for file in files:
            work = functools.partial(work_on, path=file, rules=rules, r_max=r_max)
            done = ordered_map(work, blocks(file, chosen, count), workers)
            for outcomes, packed in progress(done, f"{file.name}: blocks of frames"):
                wanted = [_accept(outcome, count, bad, strict) for outcome in outcomes]
                if packed is not None:
                    made = [not outcome.skipped and outcome.error is None for outcome in outcomes]
                    spool.append(packed, np.array(wanted)[made])
        if frames is not None and count.seen != frames:
            reason = f"the file contains {count.seen} frames of this split, but the data manifest says {frames}"
            raise FrameError(source, count.seen, "frame", reason)
        if rejected is not None:
            rows = [{"file": e.path.name, "frame": e.frame, "key": e.key, "reason": e.reason} for e in bad]
            write_csv(rejected, rows, REJECTED_COLUMNS)
        if not count.kept:
            reason = f"no valid frame in the split {split!r}, which has {count.seen} frames, {len(bad)} of them invalid"
            raise FrameError(source, 0, "frame", reason)
        if bad:
            logger.warning(f"{target}: skipped {len(bad)} invalid frames of {count.seen}; the first: {bad[0]}")
        names, arrays = spool.finish()
        subtracted = reference_energies(references, arrays, source)
        if subtracted:
            arrays["energy"] = arrays["energy"] - energies_of_atoms(subtracted, arrays)
        digest = hash_arrays(float(r_max), names, arrays)
        attributes = {"source": ", ".join(file.name for file in files), "split": split or "", "content_sha256": digest}
        if subtracted:
            attributes["reference_energies"] = json.dumps(subtracted)
        write_arrays(float(r_max), names, arrays, target, attributes)
    pairs = int(arrays["pair_ptr"][-1])
    return {
        "structures": len(arrays["energy"]),
        "structures_without_energy": int((~arrays["energy_mask"]).sum()),
        "structures_with_stress": int(arrays["stress_mask"].sum()),
        "parents": parent_count(arrays["parent"]),
        "fidelities": list(names["fidelity"]),
        "atoms": int(arrays["ptr"][-1]),
        "pairs": pairs,
        "frames_per_subset": dict(count.kept),
        "frames_left_out": len(bad),
        "bytes_per_pair": target.stat().st_size / max(pairs, 1),
        "reference_energies_ev": subtracted,
        "content_sha256": digest,
    }


def parent_count(parent: np.ndarray) -> int:
    """Number of distinct parents; each structure without one (-1) counts as its own."""
    return len(np.unique(parent[parent >= 0])) + int((parent < 0).sum())


class Counter:
    """Number of frames of the split, and number kept per subset (at most ``limit``)."""

    def __init__(self, limit: int | None):
        self.limit, self.seen = limit, 0
        self.kept: dict[str, int] = {}

    def full(self) -> frozenset[str]:
        return frozenset(name for name in self.kept if self.is_full(name))

    def is_full(self, subset: str) -> bool:
        return self.limit is not None and self.kept.get(subset, 0) >= self.limit


def _accept(outcome: Outcome, count: Counter, bad: list[FrameError], strict: bool) -> bool:
    """Whether a frame is kept. Further frames of a full subset are dropped, whether valid or not, so that the result
    does not depend on the order in which processes finish."""
    count.seen += 1
    if outcome.subset is not None and (outcome.skipped or count.is_full(outcome.subset)):
        return False
    if outcome.error is not None:
        if strict or isinstance(outcome.error, BrokenFile):
            raise outcome.error
        bad.append(outcome.error)
        return False
    count.kept[outcome.subset] = count.kept.get(outcome.subset, 0) + 1
    return True


def blocks(source: Path, chosen: Iterator[bool] | None, count: Counter) -> Iterator[Block]:
    """Blocks of the ``chosen`` frames in order; an error of the file itself takes the place of its frame."""
    group: list[tuple[int, Any]] = []
    size = 0
    try:
        for index, item in sources(source):
            if chosen is not None and not next(chosen):
                continue
            group.append((index, item))
            size += len(item) * (1 if isinstance(item, bytes) else 100)
            if len(group) >= BLOCK_FRAMES or size >= BLOCK_BYTES:
                yield Block(group, count.full())
                group, size = [], 0
    except FrameError as error:
        group.append((error.frame, error))
    if group:
        yield Block(group, count.full())


def work_on(block: Block, path: Path, rules: FrameRules, r_max: float) -> tuple[list[Outcome], PackedFrames | None]:
    """Parse and validate the frames of a block and find their pairs: results, and the packed valid frames."""
    outcomes: list[Outcome] = []
    frames, pairs = [], []
    for index, item in block.sources:
        subset = None
        try:
            if isinstance(item, FrameError):
                raise item
            frame = validated(path, index, parse(path, index, item, rules), rules)
            if frame is None:  # belongs to another split
                continue
            subset = frame.subset
            if subset in block.full:
                outcomes.append(Outcome(subset, skipped=True))
                continue
            pairs.append(neighbours(frame, r_max))
            frames.append(frame)
            outcomes.append(Outcome(subset))
        except FrameError as error:
            outcomes.append(Outcome(subset, error=error))
        except ValueError as error:
            key, _, reason = str(error).partition(": ")
            outcomes.append(Outcome(subset, error=FrameError(path, index, key, reason)))
    return outcomes, pack(frames, pairs) if frames else None


class _Spool:
    """The store under construction: arrays over structures in memory, those over atoms and pairs on disk."""

    def __init__(self, folder: Path):
        self._files = {name: SpooledArray(folder / name, NARROWED.get(name)) for name in (*PER_ATOM, *PER_PAIR)}
        self._small: dict[str, list[np.ndarray]] = {name: [] for name in LABELS_AND_CELLS}
        self._atoms: list[np.ndarray] = []
        self._pairs: list[np.ndarray] = []
        self._names: dict[str, list[str | None]] = {name: [] for name in NAMED}

    def append(self, packed: PackedFrames, wanted: np.ndarray) -> None:
        """Append the structures of a block selected by ``wanted`` [n] bool."""
        if not wanted.any():
            return
        rows = {name: np.repeat(wanted, packed.atoms) for name in PER_ATOM}
        rows |= {name: np.repeat(wanted, packed.pairs) for name in PER_PAIR}
        for name, file in self._files.items():
            file.append(packed.arrays[name] if wanted.all() else packed.arrays[name][rows[name]])
        for name, parts in self._small.items():
            parts.append(packed.arrays[name][wanted])
        self._atoms.append(packed.atoms[wanted])
        self._pairs.append(packed.pairs[wanted])
        for name, values in self._names.items():
            values += [value for value, keep in zip(packed.names[name], wanted, strict=True) if keep]

    def finish(self) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
        """The names of `NAMED`, and all arrays of the store."""
        names = {}
        arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._small.items()}
        for name, values in self._names.items():
            names[name], arrays[name] = coded(values)
        self._files["pair_i"].widen(self._files["pair_j"].dtype)  # i <= j: a type that holds j holds i
        return names, {
            **arrays,
            **self._files,
            "ptr": pointers(np.concatenate(self._atoms)),
            "pair_ptr": pointers(np.concatenate(self._pairs)),
        }
