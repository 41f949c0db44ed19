"""Reading and storing a MAD-like file: this library against ASE on the same file, and the cost of the store.

python benchmarks/parse.py                          20 000 synthetic frames (made once, in build/synthetic)
python benchmarks/parse.py --file mad-train.xyz     any extended XYZ file with MAD's keys

Prints the ratio of `ase.io.read(':')` to our reader (one process, several), whether both agree on every frame, and
time, memory and bytes of a store of `--store-frames` frames, extrapolated to MAD's 76 476.
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from synthetic_mad import write

from fcl.data.build import Block, Counter, blocks, build_store, ordered_map
from fcl.data.extxyz import parse, sources
from fcl.data.frames import FrameRules, raw_frame, validated

MAD_TRAIN_FRAMES = 76476
RULES = FrameRules()


def read_block(block: Block, path: Path) -> int:
    """Parse and validate a block in a worker process."""
    frames = (validated(path, index, parse(path, index, text, RULES), RULES) for index, text in block.sources)
    return sum(frame is not None for frame in frames)


def ours(path: Path, workers: int) -> int:
    """Frames read and validated by ``workers`` processes."""
    return sum(ordered_map(functools.partial(read_block, path=path), blocks(path, None, Counter(None)), workers))


def theirs(path: Path) -> int:
    from ase.io import read

    return len(read(path, ":"))


def differences(path: Path) -> int:
    """Frames on which our reading and ASE's differ in any used value."""
    from ase.io import iread

    different = 0
    for (index, text), atoms in zip(sources(path), iread(path, index=":"), strict=True):
        mine, other = parse(path, index, text, RULES), raw_frame(atoms, RULES)
        names = ("numbers", "positions", "cell", "pbc", "forces", "energy")
        equal = all(np.array_equal(getattr(mine, name), getattr(other, name)) for name in names)
        different += not (equal and str(mine.subset) == str(other.subset) and str(mine.split) == str(other.split))
    return different


def timed(function, *arguments):
    """(wall seconds, CPU seconds of all processes, result)."""
    started, used = time.perf_counter(), cpu_seconds()
    result = function(*arguments)
    return time.perf_counter() - started, cpu_seconds() - used, result


def cpu_seconds() -> float:
    """CPU time of this process and its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_megabytes() -> tuple[float, float]:
    """Peak resident memory of this process and of its largest child, in MB."""
    return tuple(resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--store-frames", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    path = arguments.file or Path(f"build/synthetic/mad-{arguments.frames}.xyz")
    if not path.exists():
        write(path, arguments.frames)

    # the store first: the peak of memory of this process is then its own
    with tempfile.TemporaryDirectory() as folder:
        part = write(Path(folder) / "part.xyz", arguments.store_frames, seed=1)
        seconds, cpu, summary = timed(
            lambda: build_store(part, Path(folder) / "s.h5", r_max=7.0, split="train", workers=arguments.workers)
        )
        bytes_ = (Path(folder) / "s.h5").stat().st_size
    main_peak, child_peak = peak_megabytes()
    scale = MAD_TRAIN_FRAMES / arguments.store_frames
    print(f"store of {summary['structures']} frames, {summary['atoms']} atoms, {summary['pairs']} half pairs at 7 A:")
    print(
        f"  {seconds:.1f} s ({cpu:.1f} s of CPU), {bytes_ / 1e6:.1f} MB, {summary['bytes_per_pair']:.2f} bytes a pair;",
        end=" ",
    )
    print(f"peak memory {main_peak:.0f} MB + {child_peak:.0f} MB for each of {arguments.workers} processes")
    print(f"  extrapolated to {MAD_TRAIN_FRAMES} frames: {seconds * scale / 60:.1f} min, {bytes_ * scale / 1e9:.2f} GB")

    print(f"reading {path}, {path.stat().st_size / 1e6:.1f} MB, paired rounds:")
    ratios = []
    for _ in range(arguments.rounds):
        ase, ase_cpu, count = timed(theirs, path)
        one, one_cpu, same = timed(ours, path, 1)
        many, _, also = timed(ours, path, arguments.workers)
        assert count == same == also
        ratios.append((ase / one, ase / many, ase_cpu / one_cpu))
        print(f"  ase.io.read {ase:.1f} s; ours {one:.1f} s, with {arguments.workers} processes {many:.1f} s")
    one, many, cpu = np.median(ratios, axis=0)
    print(
        f"  median ratio to ASE: {one:.1f} with one process, {many:.1f} with {arguments.workers}; of CPU time {cpu:.1f}"
    )
    print(f"  frames read differently: {differences(path)} of {count}")


if __name__ == "__main__":
    main()
