"""Logging to standard error or to a file, and progress: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fcl.runs.files import FilePath

logger = logging.getLogger(__name__)
T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 30.0


class _StandardError(logging.StreamHandler):
    """Writes to the current ``sys.stderr``, which a job may redirect to its log file."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname}: {text}"


def log_to_standard_error() -> None:
    """Log the library's messages, from level INFO, to standard error: for programs. A second call has no effect."""
    library = logging.getLogger("fcl")
    if not any(isinstance(handler, _StandardError) for handler in library.handlers):
        library.addHandler(_StandardError())
    library.setLevel(logging.INFO)
    library.propagate = False


@contextmanager
def log_to_file(path: FilePath) -> Iterator[None]:
    """Also append the library's messages, from level INFO, to ``path``, with the time."""
    library = logging.getLogger("fcl")
    handler, before = logging.FileHandler(path, encoding="utf-8"), library.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        handler.handle(library.makeRecord(library.name, logging.ERROR, __file__, 0, f"error: {error}", (), None))
        raise
    finally:
        library.removeHandler(handler)
        library.setLevel(before)
        handler.close()


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a tqdm bar on a terminal, or with a log line every 30 s elsewhere."""
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
            logger.info(f"{label}: {count}{of} after {last - started:.0f} s")
