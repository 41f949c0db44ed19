"""Results of record: whether they are made from the files beside them, by the checksums in their run manifests.

python -m fcl.record results/mini      lists what is not, and fails where there is any

The times of files mean nothing in a clone. Where Snakemake has no records of its own yet, `settle_times` gives the
results times that say what the checksums say, so that nothing is made again that is what it was made from.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fcl.files import sha256_file


def outdated(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(run manifest, input) for each input that is there but is not the file that the result was made from.

    Inputs that are not there (stores, weights) cannot be compared and are left out. ValueError names a manifest that
    cannot be read.
    """
    checksums: dict[Path, str] = {}
    for manifest in sorted(Path(folder).rglob("*.manifest.json")):
        try:
            inputs = json.loads(manifest.read_text(encoding="utf-8"))["inputs"].values()
            recorded = [(Path(entry["file"]), entry["sha256"]) for entry in inputs]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{manifest}: not a run manifest ({error})") from None
        for file, checksum in recorded:
            if not file.is_file():
                continue
            if file not in checksums:
                checksums[file] = sha256_file(file)
            if checksums[file] != checksum:
                yield manifest, file


def settle_times(folders: Iterable[Path]) -> None:
    """Make all files below ``folders`` equally old, and inputs that have changed since newer than what they are in.

    All at once, as studies use each other's results. A folder whose manifests cannot be read, or whose files belong to
    somebody else, keeps its times.
    """
    now, changed = time.time(), set()
    for folder in map(Path, folders):
        with suppress(ValueError, OSError):
            changed |= {file for _, file in outdated(folder)}
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    os.utime(file, (now, now))
    for file in changed:
        with suppress(OSError):
            os.utime(file, (now + 1, now + 1))


def without_records(folder: Path) -> bool:
    """Whether Snakemake has finished no job in ``folder`` (or whether its records are gone)."""
    return not any(path.is_file() for path in (folder / ".snakemake/metadata").rglob("*"))


def main(arguments: list[str] | None = None) -> None:
    """Print which results of a study's folder are not made from the files beside them."""
    parser = argparse.ArgumentParser(prog="python -m fcl.record", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, such as results/mini")
    folder = parser.parse_args(arguments).study
    if not any(folder.rglob("*.manifest.json")):
        parser.exit(1, f"error: {folder}: no run manifests; has this study been run?\n")
    try:
        lines = [f"{manifest}: {file} is not the file that it was made from" for manifest, file in outdated(folder)]
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    if lines:
        parser.exit(1, "\n".join(lines) + "\n")
    print(f"{folder}: every result is made from the files beside it")


if __name__ == "__main__":
    main()
