"""The run manifests of a study, from the folder of a run or from the committed record.

A run leaves one ``*.manifest.json`` per job (`fcl.runs.manifest`). The record keeps all of them in one file,
``record/<study>/manifest.json``: ``{"format": 1, "study": name, "runs": {path: manifest, ...}}``, where the path is
that of the job's manifest relative to the study folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: The single manifest of a record, in the study folder.
RECORD_MANIFEST = "manifest.json"


def read_manifests(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Path relative to ``folder`` (forward slashes) -> run manifest, for all jobs of a study; sorted by path.

    Raises FileNotFoundError if there is no such folder, or no run manifest in it, ValueError naming a manifest that
    cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; has this study been run?")
    record = folder / RECORD_MANIFEST
    if record.is_file():
        runs = _read(record).get("runs")
        if not isinstance(runs, dict) or not all(isinstance(run, dict) for run in runs.values()):
            raise ValueError(f"{record}: not the manifest of a record (no 'runs')")
    else:
        runs = {path.relative_to(folder).as_posix(): _read(path) for path in folder.rglob("*.manifest.json")}
    if not runs:
        raise FileNotFoundError(f"{folder}: no run manifests; has this study been run?")
    return dict(sorted(runs.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a run manifest ({error})") from None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path}: not a run manifest (no JSON object)")
    return manifest
