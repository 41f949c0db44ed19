"""Wall-clock time and peak memory of a piece of code, on a machine that does other things too."""

from __future__ import annotations

import ctypes
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def interleaved(programs: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 2) -> dict[str, dict]:
    """Seconds of each of ``programs``, run in turn ``repeats`` times: a slow moment of the machine hits them all.

    Returns {name: {"min_s", "median_s"}}; ratios are taken of the minima, which other work disturbs least.
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
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory_mb(program: Callable[[], object], gpu: bool | None = None) -> float | None:
    """Memory (MB) that ``program`` needs at its peak beyond what is held before; None where it cannot be measured.

    On a GPU (``gpu``; None: where there is one) from torch's allocator; otherwise from the peak of the resident set,
    which Linux lets a process reset.
    """
    program()  # caches and lazy initialisation do not count
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
    """A line of /proc/self/status in kB."""
    return float(re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])
