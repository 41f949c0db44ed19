"""All run manifests of a study: one file per job in a run, one file in a record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: The run manifests of a record, in one file.
COLLECTED = "manifest.json"


def read_manifests(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Run manifests of the study in ``folder``, a run or a record, by their path relative to it, in order.

    Empty where there are none. Raises `ValueError` for a file that is not a run manifest; the message names it.
    """
    folder = Path(folder)
    if (folder / COLLECTED).is_file():
        runs = _read(folder / COLLECTED).get("runs")
        if not isinstance(runs, dict):
            raise ValueError(f"{folder / COLLECTED}: not the manifest of a record: 'runs' is missing")
        return {name: runs[name] for name in sorted(runs)}
    return {path.relative_to(folder).as_posix(): _read(path) for path in sorted(folder.rglob("*.manifest.json"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a run manifest ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a run manifest, but {type(content).__name__}")
    return content
