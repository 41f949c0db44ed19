"""A map over processes that keeps the order and holds only a few items at a time."""

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
    """``map(function, items)`` on ``workers`` processes; at most two items a worker are taken in advance.

    Exceptions come out at the place of their item. Processes are forked, since the main module of a workflow's script
    cannot be imported again; where the platform has no safe fork, or for one worker, all happens in this process.
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
