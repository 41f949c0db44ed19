"""Ordered parallel map with bounded memory."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


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
