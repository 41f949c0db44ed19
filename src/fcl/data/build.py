"""Building a graph store from structure files: in parallel, in bounded memory, reproducibly."""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fcl.data.extxyz import BrokenFile, parse, sources
from fcl.data.frames import Frame, FrameError, FrameRules, validated
from fcl.data.pack import neighbours, pack
from fcl.data.reference_energies import energies_of_atoms, reference_energies
from fcl.data.splits import Portion, chosen_frames
from fcl.data.store import GrowingStore, content_hash, write_store
from fcl.runs.files import FilePath, write_csv

logger = logging.getLogger(__name__)
A = TypeVar("A")
B = TypeVar("B")

#: Maximum size of a block of frames, the unit of work of a process.
BLOCK_FRAMES, BLOCK_BYTES = 256, 1 << 20
REJECTED_COLUMNS = ("file", "frame", "key", "reason")


class Block(NamedTuple):
    """Frames (or errors in their place) for one process; further frames of the subsets ``full`` are skipped."""

    sources: list[tuple[int, Any]]
    full: frozenset[str]


class Outcome(NamedTuple):
    """Result for a frame of ``subset`` (None if unknown): a valid one with its pairs, an error, or None if skipped."""

    subset: str | None
    found: tuple[Frame, dict[str, np.ndarray]] | FrameError | None


def build_store(
    source: FilePath | Sequence[FilePath],
    target: FilePath,
    *,
    r_max: float,
    split: str | None = None,
    max_frames_per_subset: int | None = None,
    rules: FrameRules | None = None,
    portion: Portion | None = None,
    frames: int | None = None,
    references: Mapping[str, float] | str | None = None,
    strict: bool = True,
    rejected: FilePath | None = None,
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

    files = [Path(file) for file in ([source] if isinstance(source, FilePath) else source)]
    source, target = files[-1], Path(target)
    rules = replace(rules or FrameRules(), split=split)
    chosen = None if portion is None else iter(chosen_frames(files, portion, rules))
    count = Counter(max_frames_per_subset, strict)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}.", suffix=".part", dir=target.parent) as folder:
        growing = GrowingStore(Path(folder))
        for file in files:
            work = functools.partial(work_on, path=file, rules=rules, r_max=r_max)
            done = ordered_map(work, blocks(file, chosen, count), workers)
            for outcomes in progress(done, f"{file.name}: blocks of frames"):
                if kept := [outcome.found for outcome in outcomes if count.accepts(outcome)]:
                    growing.append(pack(*zip(*kept, strict=True)))
        bad = count.bad
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
        store = growing.finish(r_max)
        subtracted = reference_energies(references, vars(store), source)
        if subtracted:
            store = replace(store, energy=store.energy - energies_of_atoms(subtracted, vars(store)))
        digest = content_hash(store)
        attributes = {"source": ", ".join(file.name for file in files), "split": split or "", "content_sha256": digest}
        if subtracted:
            attributes["reference_energies"] = json.dumps(subtracted)
        write_store(store, target, attributes)
    pairs = int(store.pair_ptr[-1])
    return {
        "structures": len(store),
        "structures_without_energy": int((~store.energy_mask).sum()),
        "structures_with_stress": int(store.stress_mask.sum()),
        "parents": len(np.unique(store.groups())),
        "fidelities": list(store.fidelity_names),
        "atoms": int(store.ptr[-1]),
        "pairs": pairs,
        "frames_per_subset": dict(count.kept),
        "frames_left_out": len(bad),
        "bytes_per_pair": target.stat().st_size / max(pairs, 1),
        "reference_energies_ev": subtracted,
        "content_sha256": digest,
    }


@dataclass
class Counter:
    """Number of frames of the split, and number kept per subset (at most ``limit``); with ``strict`` errors are raised,
    otherwise collected in ``bad``."""

    limit: int | None
    strict: bool = True
    seen: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    bad: list[FrameError] = field(default_factory=list)

    def full(self) -> frozenset[str]:
        """The subsets of which no more frames are kept."""
        return frozenset(name for name, number in self.kept.items() if number == self.limit)

    def accepts(self, outcome: Outcome) -> bool:
        """Whether a frame is kept. Further frames of a full subset are dropped, whether valid or not, so that the
        result does not depend on the order in which processes finish."""
        self.seen += 1
        subset, found = outcome
        if subset in self.full():
            return False
        if isinstance(found, FrameError):
            if self.strict or isinstance(found, BrokenFile):
                raise found
            self.bad.append(found)
            return False
        self.kept[subset] = self.kept.get(subset, 0) + 1
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


def work_on(block: Block, path: Path, rules: FrameRules, r_max: float) -> list[Outcome]:
    """Parse and validate the frames of a block and find their pairs; frames of another split are left out."""
    outcomes: list[Outcome] = []
    for index, item in block.sources:
        subset = None
        try:
            if isinstance(item, FrameError):
                raise item
            frame = validated(path, index, parse(path, index, item, rules), rules)
            if frame is None:
                continue
            subset = frame.subset
            found = None if subset in block.full else (frame, neighbours(frame, r_max))
        except FrameError as error:
            found = error
        except ValueError as error:
            key, _, reason = str(error).partition(": ")
            found = FrameError(path, index, key, reason)
        outcomes.append(Outcome(subset, found))
    return outcomes


def ordered_map(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """``map(function, items)`` on ``workers`` processes, with at most two pending items per worker.

    Exceptions are raised at the position of their item. Processes are forked, since the main module of a Snakemake
    script cannot be imported again; without a safe fork, or with one worker, everything runs in this process.
    """
    if workers <= 1 or not sys.platform.startswith("linux"):
        yield from map(function, items)
        return
    pending: deque = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
