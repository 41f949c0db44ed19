"""Wall-clock time and peak memory, of a function and of energies and forces at given cutoffs.

Batches are structures of the test split with a given total number of atoms. They have the pairs per atom of Fig. 5, and
for the model a batch is equivalent to one large structure. Pairs are selected before the timing starts, since dynamics
reuses neighbour lists. The results depend on the machine.
"""

from __future__ import annotations

import ctypes
import math
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fcl.cutoffs.rules import cutoff_rule
from fcl.data.batch import GraphData


def interleaved(programs: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 2) -> dict[str, dict]:
    """Time ``programs`` in turn, ``repeats`` rounds, so that fluctuations of the machine affect all of them alike.

    Returns {name: {"min_s", "median_s"}}; ratios use the minima, which background load affects least.
    """
    for program in programs.values():
        for _ in range(warm_up):
            program()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            synchronise()
            started = time.perf_counter()
            program()
            synchronise()
            seconds[name].append(time.perf_counter() - started)
    return {name: {"min_s": min(values), "median_s": statistics.median(values)} for name, values in seconds.items()}


def synchronise() -> None:
    """Wait for pending GPU work, if there is a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory_mb(program: Callable[[], object], gpu: bool | None = None) -> float | None:
    """Peak memory (MB) of ``program`` above the baseline; None where it cannot be measured.

    On a GPU (``gpu``; None: if available) from torch's allocator, otherwise from the peak resident set size, which a
    process can reset on Linux.
    """
    program()  # caches and lazy initialisation are not counted
    if torch.cuda.is_available() if gpu is None else gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        program()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        program()
        return (_status("VmHWM") - before) / 1e3
    except (OSError, AttributeError):
        return None


def _status(key: str) -> float:
    """Value of a line of /proc/self/status (kB)."""
    return float(re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])


@dataclass(frozen=True)
class Case:
    """Cutoffs (A) to measure on a subset: uniform, or per element as optimised at ``lam``."""

    subset: str
    cutoffs: float | Mapping[str, float]
    lam: float | None = None


def structures_for(data: GraphData, members: torch.Tensor, atoms: int, seed: int = 0) -> torch.Tensor:
    """Indices of structures drawn at random from ``members``, with at least ``atoms`` atoms in total.

    If all of them together have fewer, the whole set is repeated as often as needed.
    """
    members = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
    counts = data.atom_counts.index_select(0, members).cumsum(0)
    if counts[-1] < atoms:
        return members.repeat(math.ceil(atoms / int(counts[-1])))
    return members[: int((counts < atoms).sum()) + 1]


def measure(model, data: GraphData, cases: Sequence[Case], atoms: int, repeats: int) -> list[dict]:
    """One row per case: structures, atoms, pairs per atom (all directed pairs / all atoms), time and peak memory.

    Cases are run in turn for ``repeats`` rounds, so that fluctuations of the machine affect all of them; the fastest
    round counts. Memory is the peak beyond model and batch, in kB per atom (empty where it cannot be measured).
    """
    programs, rows = {}, []
    for number, case in enumerate(cases):
        uniform = not isinstance(case.cutoffs, Mapping)
        batch = data.batch(structures_for(data, data.members(case.subset), atoms))
        cutoffs = cutoff_rule(case.cutoffs, data.dtype, data.device)(batch)
        batch = data.select_pairs(batch, cutoffs, model.selector)
        programs[number] = lambda batch=batch, cutoffs=cutoffs: model(batch, cutoffs)
        rows.append(
            {
                "subset": case.subset,
                "configuration": "uniform" if uniform else "optimised",
                "cutoff_angstrom": case.cutoffs if uniform else "",
                "lambda": "" if case.lam is None else case.lam,
                "structures": batch.n_structures,
                "atoms": batch.n_atoms,
                "pairs_per_atom": 2.0 * batch.pair_index.shape[1] / batch.n_atoms,
            }
        )
    seconds = interleaved(programs, repeats)
    for number, row in enumerate(rows):
        memory = peak_memory_mb(programs[number], gpu=data.device.type == "cuda")
        row["microseconds_per_atom"] = 1e6 * seconds[number]["min_s"] / row["atoms"]
        row["median_microseconds_per_atom"] = 1e6 * seconds[number]["median_s"] / row["atoms"]
        row["peak_memory_kb_per_atom"] = "" if memory is None else 1e3 * memory / row["atoms"]
    return rows
