"""Fetch the files of a data manifest and verify their sizes and checksums.

A file is taken from ``local_dir`` if given, from the manifest's folder if the manifest has no URL, from the folder
FCL_DATA_DIR (environment variable) if it is there, and otherwise from its URL. It is written to ``.<name>.part`` in the
target folder, verified and then renamed. An interrupted transfer resumes (HTTP Range), also in a later run. Transport
is by ``requests``, so ``HTTPS_PROXY``, ``NO_PROXY`` and ``REQUESTS_CA_BUNDLE`` apply.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fcl.data.manifest import CHECKSUM, SplitFile, load_data_manifest
from fcl.runs.files import FilePath, atomic_path, file_digest, locked, write_json
from fcl.runs.manifest import portable_path

logger = logging.getLogger(__name__)

RECORD_FILE = re.compile(r"(?P<prefix>.*)/records/(?P<record>[^/]+)/files/(?P<file>[^/]+?)(?:/content)?/?")
RETRY_STATUS = (408, 429, 500, 502, 503, 504)
PROGRESS_SECONDS = 5.0
PIECE_BYTES = 1 << 16  # maximum loss when a transfer is interrupted
DATA_DIR = "FCL_DATA_DIR"  # environment variable: folder to search before downloading


class DownloadError(RuntimeError):
    """A data file is unavailable or does not match the manifest; the message names file, source and remedy."""


def fetch_split(
    manifest_path: FilePath,
    split: str,
    output: FilePath,
    *,
    local_dir: FilePath | None = None,
    timeout: float = 60.0,
    retries: int = 5,
    backoff: float = 1.0,
) -> dict[str, Any]:
    """Fetch and verify the file of a split; returns the record written to ``<output>.verified.json``.

    Size and checksum come from the manifest or, if it has no checksum, from the archive's file listing (InvenioRDM,
    ``/api/records/<id>/files``). Without a checksum, a download is an error; a file from ``local_dir`` is accepted with
    a warning, and its record has ``"verified_by": null``.

    Args:
        manifest_path: the data manifest (YAML).
        split: a key of its ``splits``.
        output: target file; an existing file that passes verification is kept.
        local_dir: folder with files obtained by other means, see `local_file`; a file missing there is an error.
            Without it, files missing in the folder FCL_DATA_DIR are downloaded.
        timeout: seconds to wait for a connection and for each chunk of a response.
        retries: number of retries after a server error or an interrupted transfer.
        backoff: seconds before the first retry, doubled each time.

    Raises:
        KeyError: the manifest has no such split.
        DownloadError: the file is unavailable, truncated or altered; ``output`` is then not written.
    """
    manifest_path, output = Path(manifest_path), Path(output)
    splits = load_data_manifest(manifest_path).splits
    if split not in splits:
        raise KeyError(f"{manifest_path}: no split {split!r}; there are {', '.join(splits)}")
    entry = splits[split]
    if (Path(entry.file).suffix == ".gz") != (output.suffix == ".gz"):
        raise DownloadError(f"{output}: must end in .gz if, and only if, {entry.file} is compressed")

    expected = {"size": entry.size, "checksum": entry.checksum}
    expected["verified_by"] = "manifest" if entry.checksum else None
    local = _local_source(entry, manifest_path, local_dir)
    if local is not None:
        logger.info(f"{entry.file}: copying {local}")
    if entry.checksum is None and entry.url is not None:
        expected = _ask_listing(entry, manifest_path, timeout, retries, backoff, required=local is None)
    if local is None and expected["checksum"] is None:
        raise DownloadError(
            f"{manifest_path}: splits.{split}.checksum: is missing, and the URL of {entry.file} is not that of an "
            "archive with a file listing; add the checksum"
        )

    if output.is_file() and not _fault(output, expected) and expected["checksum"]:
        logger.info(f"{output} exists and is verified")
    elif local is not None:
        with atomic_path(output) as temporary:
            shutil.copyfile(local, temporary)
            if fault := _fault(temporary, expected):
                raise DownloadError(f"{local}: {fault}. Replace it by the file of {manifest_path}{_origin(entry)}")
        if expected["checksum"] is None:
            logger.warning(f"{output}: not verified: neither the manifest nor the archive's listing has a checksum")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        file = output.with_name(f".{output.name}.lock")
        lock = locked(file, f"{output}: another process downloads this")
        try:
            if not output.is_file() or _fault(output, expected):  # another process may have finished it meanwhile
                _download(entry, output, expected, timeout=timeout, retries=retries, backoff=backoff)
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    record = {
        "file": output.name,
        "source": entry.url if local is None else portable_path(local),
        "bytes": output.stat().st_size,
        "checksum": expected["checksum"],
        "verified_by": expected["verified_by"],
        "sha256": file_digest(output),
    }
    write_json(output.with_name(output.name + ".verified.json"), record)
    return record


def listing_url(url: str) -> tuple[str, str] | None:
    """URL of the file listing of an InvenioRDM record, and the key of the file at ``url`` in this listing.

    ``https://host/records/<id>/files/<file>?download=1`` and
    ``https://host/api/records/<id>/files/<file>/content`` both give
    ``("https://host/api/records/<id>/files", "<file>")``; other URLs give ``None``.
    """
    parts = urlsplit(url)
    match = RECORD_FILE.fullmatch(parts.path)
    if match is None:
        return None
    prefix = match["prefix"].removesuffix("/api")
    listing = f"{parts.scheme}://{parts.netloc}{prefix}/api/records/{match['record']}/files"
    return listing, unquote(match["file"])


def _local_source(entry: SplitFile, manifest_path: Path, local_dir: FilePath | None) -> Path | None:
    """The local file to copy, or ``None`` if the file has to be downloaded."""
    if local_dir is not None:
        folder, reason = Path(local_dir), "it is not in the folder given as local_dir"
    elif entry.url is None:
        folder, reason = manifest_path.parent, "it has no url, so it must be in the folder of the manifest"
    else:
        return local_file(entry, os.environ[DATA_DIR]) if os.environ.get(DATA_DIR) else None
    found = local_file(entry, folder)
    if found is None:
        raise DownloadError(f"{folder / entry.file}: no such file: {reason}{_origin(entry)}")
    return found


def local_file(entry: SplitFile, folder: FilePath) -> Path | None:
    """The file of ``entry`` in ``folder``: with its name, or with any name if size and checksum match; else None.

    A file with another name is found only if the manifest gives both size and checksum.
    """
    folder = Path(folder)
    if (folder / entry.file).is_file():
        return folder / entry.file
    if entry.size is None or entry.checksum is None or not folder.is_dir():
        return None
    alike = (path for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size == entry.size)
    expected = {"size": entry.size, "checksum": entry.checksum}
    return next((path for path in alike if not _fault(path, expected)), None)


def _origin(entry: SplitFile) -> str:
    """The URL of a file, as the end of an error message."""
    return f" (it is published at {entry.url})" if entry.url else ""


def _how_to_bring(entry: SplitFile) -> str:
    """What to do if a download fails, as the end of an error message."""
    pinned = f" ({entry.checksum})" if entry.checksum else ""
    return (
        f"Try again later, or obtain {entry.file}{pinned} from {entry.url} by other means and give its folder as "
        f"data.local_dir in config.yaml or in the environment variable {DATA_DIR}"
    )


def _ask_listing(
    entry: SplitFile, manifest_path: Path, timeout: float, retries: int, backoff: float, *, required: bool
) -> dict[str, Any]:
    """Size and checksum of ``entry`` in the archive's file listing; no checksum if it is unavailable."""
    nothing = {"size": entry.size, "checksum": None, "verified_by": None}
    address = listing_url(entry.url or "")
    if address is None:
        return nothing
    import requests

    url, key = address
    try:
        with _session(retries if required else 0, backoff) as session:
            answer = session.get(url, timeout=timeout)
            answer.raise_for_status()
            found = [item for item in answer.json()["entries"] if item["key"] == key]
            if not found:
                raise DownloadError(f"{url}: the archive lists no file {key!r}: check {manifest_path}")
            size, checksum = int(found[0]["size"]), str(found[0]["checksum"])
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        if not required:
            return nothing
        raise DownloadError(
            f"{url}: the archive's listing, needed to verify {entry.file}, could not be read ({error}). "
            f"{_how_to_bring(entry)}; or add size and checksum to {manifest_path}"
        ) from error
    if not CHECKSUM.fullmatch(checksum):
        raise DownloadError(f"{url}: unknown type of checksum {checksum!r}: add one to {manifest_path}")
    if entry.size is not None and entry.size != size:
        raise DownloadError(f"{url}: {key} has {size} bytes, but {manifest_path} says {entry.size}")
    return {"size": size, "checksum": checksum, "verified_by": url}


def _session(retries: int, backoff: float) -> Any:
    """A ``requests`` session with retries on connection failures and server errors."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    policy = Retry(total=retries, status_forcelist=RETRY_STATUS, backoff_factor=backoff)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=policy))
    return session


def _download(
    entry: SplitFile,
    output: Path,
    expected: dict[str, Any],
    *,
    timeout: float,
    retries: int,
    backoff: float,
) -> None:
    """Transfer to ``.<name>.part``, resuming interrupted transfers; verify and rename."""
    import requests

    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part")
    lacking = (expected["size"] or 0) - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(output.parent).free
    if lacking > free:
        raise DownloadError(f"{output}: {lacking / 1e6:.0f} MB to download, but {free / 1e6:.0f} MB free on this disk")
    fault = "nothing received"
    with _session(retries, backoff) as session:
        for attempt in range(retries + 1):
            if attempt:
                logger.info(f"{entry.file}: {fault}; attempt {attempt + 1} of {retries + 1}")
                time.sleep(min(backoff * 2 ** (attempt - 1), 60.0))
            try:
                _transfer(session, entry, part, expected["size"], timeout)
            except requests.HTTPError as error:
                raise DownloadError(f"{entry.file}: {error}. {_how_to_bring(entry)}") from error
            except (requests.RequestException, OSError) as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DownloadError(f"{part}: no space left ({error}): make room and try again") from error
                fault = f"the transfer was interrupted ({error})"
                continue
            fault = _fault(part, expected)
            if not fault:
                os.replace(part, output)
                return
            if not fault.startswith("short"):
                part.unlink(missing_ok=True)  # altered: cannot be resumed
    raise DownloadError(
        f"{entry.file}: {entry.url}: {fault}, after {retries + 1} attempts; {output} was not written. "
        f"{_how_to_bring(entry)}"
    )


def _transfer(session: Any, entry: SplitFile, part: Path, size: int | None, timeout: float) -> None:
    """One request: append the missing bytes to ``part``, or overwrite it if the server sends the whole file."""
    import requests

    done = part.stat().st_size if part.exists() else 0
    if size is not None and done > size:
        part.unlink()
        done = 0
    if size is not None and done == size:
        return
    headers = {"Accept-Encoding": "identity"}  # size and checksum refer to the bytes as stored
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        answer = session.get(entry.url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException as error:  # after the retries of the session
        raise DownloadError(f"{entry.url}: no response: {error}. {_how_to_bring(entry)}") from None
    with answer:
        if answer.status_code == 416:  # range not satisfiable: ``part`` is not the beginning of this file
            part.unlink(missing_ok=True)
            raise OSError("the server cannot resume the transfer")
        answer.raise_for_status()
        sent = answer.headers.get("Content-Range", "")
        resumed = answer.status_code == 206 and sent.startswith(f"bytes {done}-")
        with part.open("ab" if resumed else "wb") as stream:
            first = done = done if resumed else 0
            began = shown = time.monotonic()
            for piece in answer.iter_content(PIECE_BYTES):
                stream.write(piece)
                done += len(piece)
                now = time.monotonic()
                if now - shown >= PROGRESS_SECONDS or done == size:
                    shown = now
                    logger.info(f"{entry.file}: {_progress(first, done, size, now - began)}")


def _fault(path: Path, expected: dict[str, Any]) -> str:
    """What is wrong with the file at ``path``; empty if it is valid."""
    size, checksum = path.stat().st_size, expected["checksum"]
    if expected["size"] is not None and size != expected["size"]:
        return f"{'short' if size < expected['size'] else 'too long'}: {size} of {expected['size']} bytes"
    if checksum is not None:
        algorithm, _, digest = checksum.partition(":")
        if (found := file_digest(path, algorithm)) != digest:
            return f"altered: its {algorithm} is {found}, not {digest}"
    return ""


def _progress(first: int, done: int, size: int | None, seconds: float) -> str:
    """How far a transfer is that began ``seconds`` ago with ``first`` bytes."""
    rate = (done - first) / max(seconds, 1e-9) / 1e6
    share = f" of {size / 1e6:.1f} MB ({100 * done / size:.0f} %)" if size else " MB"
    left = f", {(size - done) / 1e6 / rate:.0f} s left" if size and rate > 0 else ""
    return f"{done / 1e6:.1f}{share}, {rate:.1f} MB/s{left}"
