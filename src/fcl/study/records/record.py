"""The record of a study: the numbers and pictures of a finished run and all of its run manifests, to be committed.

A run writes ``results/<study>/``; ``record/<study>/`` keeps part of it under the same names. Figures, tables, claims
and the report can be drawn from either, as selected by `numbers_root`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fcl.runs.files import sha256_file, write_text
from fcl.study.records.manifests import RECORD_MANIFEST, read_manifests

PathLike = str | os.PathLike[str]
RUNS, RECORDS = "results", "record"
NUMBERS = (
    "metrics/*.csv", "metrics/history/*.csv", "errors/*.csv.gz", "diatomics/*.csv", "calibration/*.json",
    "calibration/*_metrics.csv", "calibration/*_errors.csv.gz", "choice/*.json",
    "unlabelled/*.json", "unlabelled/*_metrics.csv", "observables/*.json", "cost/*.csv", "data/*.csv",
    "data/*.csv.gz", "data/*.json", "external/*/*.csv.gz", "figures/*.csv", "tables/*.csv", "claims.csv",
    "ablations.csv", "folds.csv",
)  # fmt: skip
PAGES = ("tables/*.md", "claims.md", "ablations.md", "folds.md", "report.md")
PICTURES = ("figures/*.png", "training.png")
#: Written by hand, and kept when a record is replaced.
KEPT = ("plan.md", "README.md")


def numbers_root(from_record: bool) -> str:
    """Root folder of the numbers used for figures, tables, claims and the report."""
    return RECORDS if from_record else RUNS


def check_record(root: Path, study: str) -> None:
    """Raise FileNotFoundError if there is no record of ``study`` below ``root``."""
    if not (root / study / RECORD_MANIFEST).is_file():
        there = ", ".join(sorted(path.parent.name for path in root.glob(f"*/{RECORD_MANIFEST}"))) or "none"
        raise FileNotFoundError(
            f"from_record: {root / study} holds no record (no {RECORD_MANIFEST}); records are there of: {there}. "
            "Without from_record the study is run"
        )


def recorded_files(run: Path, pictures: Sequence[str] | None = None) -> list[Path]:
    """Files of a run to be included in its record, relative to it.

    With ``pictures`` (names such as ``fig03``), only the numbers and these pictures; raises ValueError for one that the
    run does not have.
    """
    patterns = NUMBERS if pictures is not None else (*NUMBERS, *PAGES, *PICTURES)
    found = {path for pattern in patterns for path in run.glob(pattern) if not path.name.endswith(".manifest.json")}
    for name in pictures or ():
        matches = [path for pattern in PICTURES for path in run.glob(pattern) if path.stem == name]
        if not matches:
            raise ValueError(f"{run}: there is no picture {name!r}")
        found.update(matches)
    return sorted(path.relative_to(run) for path in found)


def outdated(folder: Path) -> Iterator[tuple[str, str]]:
    """(run manifest, input) for each input in ``folder`` that has changed since the result was made.

    Missing inputs (stores, weights of a record) cannot be compared and are skipped.
    """
    checksums: dict[str, str] = {}
    for manifest, content in read_manifests(folder).items():
        for entry in content["inputs"].values():
            root, _, inside = entry["file"].partition("/")
            file = folder.parent / inside
            if root not in (RUNS, RECORDS) or file.name == RECORD_MANIFEST or not file.is_file():
                continue  # the collected manifests list themselves if something was drawn from a record
            if inside not in checksums:
                checksums[inside] = sha256_file(file)
            if checksums[inside] != entry["sha256"]:
                yield manifest, inside


def write_record(run: PathLike, record: PathLike, pictures: Sequence[str] | None = None) -> list[Path]:
    """Replace ``record`` by the record of the finished ``run`` (but for `KEPT`); returns its files, relative to it.

    Raises FileNotFoundError if ``run`` has no run manifests, ValueError if a result of it was not made from its present
    input files, or a picture is missing.
    """
    run, record = Path(run), Path(record)
    manifests = read_manifests(run)
    for manifest, file in outdated(run):
        reason = f"{file} is not the file that this result was made from; run the study again"
        raise ValueError(f"{run / manifest}: {reason}")
    files = recorded_files(run, pictures)
    record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{record.name}.", dir=record.parent) as scratch:
        fresh = Path(scratch) / record.name
        for file in files:
            (fresh / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, fresh / file)
        write_text(fresh / RECORD_MANIFEST, collected(record.name, manifests))
        for name in KEPT:
            if (record / name).is_file():
                shutil.copyfile(record / name, fresh / name)
        if record.exists():
            record.rename(Path(scratch) / "before")
        fresh.rename(record)
    return [*files, Path(RECORD_MANIFEST)]


def collected(study: str, manifests: dict[str, dict[str, Any]]) -> str:
    """All run manifests as one JSON text, one line per job."""
    lines = [f"{json.dumps(name)}: {json.dumps(content, ensure_ascii=False)}" for name, content in manifests.items()]
    body = ",\n".join(lines)
    return f'{{"format": 1, "study": {json.dumps(study)}, "runs": {{\n{body}\n}}}}\n'
