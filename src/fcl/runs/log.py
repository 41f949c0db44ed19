"""Progress: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 30.0


def say(message: str) -> None:
    """Write one line to standard error at once (a log shows it while the job runs)."""
    print(message, file=sys.stderr, flush=True)


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a tqdm bar on a terminal, or with a line every half minute elsewhere."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, leave=False)
        return
    started = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            of = f" of {total}" if total else ""
            say(f"{label}: {count}{of} after {last - started:.0f} s")
