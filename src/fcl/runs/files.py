"""Atomic writes: temporary file in the same directory, then rename.

Imports nothing heavy (no torch; pandas only when needed), so every stage can use it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from filelock import FileLock

logger = logging.getLogger(__name__)

#: A path as users give it.
FilePath = str | os.PathLike
CHUNK_BYTES = 1 << 20


def cache_folder() -> Path:
    """The user's folder for what can be made again: ``FCL_CACHE``, or ``fcl`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    A user without a home (in a container, for example) has one of his own in the folder for temporary files.

    Programs are loaded from it, so one that others own or may write to is not used, but a new one.
    """
    if own := os.environ.get("FCL_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcl"
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / f"fcl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o022:
        return _private_folder()
    return folder


@cache
def _private_folder() -> Path:
    """A new folder of this process for temporary files."""
    return Path(tempfile.mkdtemp(prefix="fcl-"))


@contextmanager
def atomic_path(path: FilePath, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it is renamed to ``path``.

    The temporary file keeps the suffix of ``path`` (libraries choose the format by it), is in the same directory (so
    that the rename is atomic) and is removed if the block raises: no partial file ever appears under the final name.
    Missing parent directories are created. The file gets the default permissions (umask), whatever the writer set.
    ``durable`` waits until the file is on disk, for files that must survive a power failure.

    Raises:
        FileNotFoundError: the block ended without writing the temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    temporary.touch()  # some writers (safetensors) restrict access to the owner
    permissions = stat.S_IMODE(temporary.stat().st_mode)
    temporary.unlink()  # writers that refuse an existing file (HDF5 mode "x") work too
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"{path}: nothing was written to its temporary file {temporary.name}")
        temporary.chmod(permissions)
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable:
            with suppress(OSError):  # not every file system supports this for a directory
                _flush(path.parent)  # makes the rename durable
    finally:
        temporary.unlink(missing_ok=True)


def locked(path: FilePath, taken: str, seconds: float = -1.0) -> FileLock:
    """Lock ``path`` against other processes until the lock is released or the process ends, for whatever reason.

    Processes on other machines with this file system are locked out too if it supports ``flock`` (NFS: version 4).

    While another process holds it this one waits, and logs ``taken``, which says so; `BlockingIOError` after
    ``seconds``, if they are not negative.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.info(f"{taken}: waiting for its end")
        try:
            lock.acquire(seconds, poll_interval=0.5)
        except Timeout:
            raise BlockingIOError(f"{taken}; end it, or wait for it") from None
    return lock


def remove_halves(folder: FilePath) -> None:
    """Remove temporary files of `atomic_path` below ``folder``, left by processes that were killed while writing.

    Only for a directory that no process is writing to: the temporary file of a running process looks the same.
    """
    for pattern in (".*.part", ".*.part.*"):
        for left in Path(folder).rglob(pattern):
            left.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush ``path``, a file or a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: FilePath, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: FilePath, data: Any, *, indent: int | None = 2, sort_keys: bool = False) -> None:
    """Write ``data`` as JSON, atomically, with a final newline; without ``indent`` on one line.

    NumPy scalars and arrays, paths and sets are converted to plain JSON; a non-finite number is written as
    ``null``, since JSON cannot represent it.

    Raises:
        TypeError: the data contain something that JSON cannot represent; the message names the file.
    """
    try:
        text = json.dumps(plain(data), indent=indent, sort_keys=sort_keys, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    write_text(path, text + "\n")


def write_csv(
    path: FilePath,
    rows: pandas.DataFrame | Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    float_format: str | None = "%.10g",
) -> None:
    """Write a table as CSV, atomically: a data frame, or one mapping per row.

    Args:
        path: the file; compressed if its name ends in ``.gz``, with the same bytes for the same table.
        rows: a ``pandas.DataFrame`` or an iterable of mappings column -> value.
        columns: order of the columns; required if ``rows`` may be empty, so that the header is still written.
        float_format: format of floats; ``None`` for all digits.

    Raises:
        ValueError: a column is missing from the rows, or no columns are given for an empty table.
    """
    import pandas

    table = rows if isinstance(rows, pandas.DataFrame) else pandas.DataFrame.from_records(list(rows))
    if columns is not None:
        missing = [name for name in columns if name not in table.columns]
        if missing and len(table):
            raise ValueError(f"{path}: the rows lack the columns {missing}")
        table = table.reindex(columns=list(columns))
    if not len(table.columns):
        raise ValueError(f"{path}: no rows and no columns were given")
    with atomic_path(path) as temporary:
        packed = {"method": "gzip", "compresslevel": 9, "mtime": 0} if str(path).endswith(".gz") else None
        table.to_csv(temporary, index=False, float_format=float_format, lineterminator="\n", compression=packed)


def file_digest(path: FilePath, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes by ``algorithm`` (a name from ``hashlib``), read in chunks of 1 MiB."""
    digest = hashlib.new(algorithm)
    with Path(path).open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_file(path: FilePath) -> str:
    """SHA-256 of a file's bytes as 64 hex digits."""
    return file_digest(path, "sha256")


def plain(value: Any) -> Any:
    """``value`` converted to types that ``json`` can write."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, tensors
        return plain(value.tolist())
    return value
