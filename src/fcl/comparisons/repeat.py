"""Whether a training that was run twice gave the same bits: its history and its weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pandas as pd

from fcl.claims.measured import NotEvaluated

PathLike = str | os.PathLike[str]
MODEL = "fcl_seed{seed}"


def history_digest(path: PathLike) -> str:
    """SHA-256 (hex) of a training history as written, without the column of seconds."""
    path = Path(path)
    if not path.is_file():
        raise NotEvaluated(f"{path.name} is missing")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="seconds", errors="ignore")
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def weights_digest(manifest: PathLike) -> str:
    """SHA-256 of the weights, from the run manifest of a training."""
    manifest = Path(manifest)
    if not manifest.is_file():
        raise NotEvaluated(f"{manifest.name} is missing")
    return json.loads(manifest.read_text(encoding="utf-8"))["extra"]["weights_sha256"]


def repeated_digests(first: PathLike, second: PathLike, seed: int) -> dict[str, tuple[str, str]]:
    """Digests of history and weights of the FCL model of ``seed`` in the folders of two studies."""
    model = MODEL.format(seed=seed)
    folders = (Path(first), Path(second))
    for folder in folders:
        if not folder.is_dir():
            raise NotEvaluated(f"the study {folder.name} has not been run")
    return {
        "validation history": tuple(history_digest(folder / f"metrics/history/{model}.csv") for folder in folders),
        "weights": tuple(weights_digest(folder / f"models/{model}.manifest.json") for folder in folders),
    }
