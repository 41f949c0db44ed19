"""Bitwise comparison of history and weights of a repeated training."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.errors import FCL_MODEL
from fcl.study.read import PathLike, read_table
from fcl.study.records.manifests import read_manifests


def history_digest(path: PathLike) -> str:
    """SHA-256 (hex) of a training history as written, without the ``seconds`` column."""
    missing = f"{Path(path).name} is missing"
    table = read_table(path, otherwise=missing, dtype=str, keep_default_na=False)
    table = table.drop(columns="seconds", errors="ignore")
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def weights_digest(folder: PathLike, model: str) -> str:
    """SHA-256 of the weights of ``model``, from the run manifests of a study's folder."""
    manifest = read_manifests(folder).get(f"models/{model}.manifest.json")
    if manifest is None:
        raise NotEvaluated(f"{model}.manifest.json is missing")
    return manifest["extra"]["weights_sha256"]


def repeated_digests(first: PathLike, second: PathLike, seed: int) -> dict[str, tuple[str, str]]:
    """Digests of history and weights of the FCL model of ``seed`` in the folders of two studies."""
    model = FCL_MODEL.format(seed)
    folders = (Path(first), Path(second))
    for folder in folders:
        if not folder.is_dir():
            raise NotEvaluated(f"the study {folder.name} has not been run")
    return {
        "validation history": tuple(history_digest(folder / f"metrics/history/{model}.csv") for folder in folders),
        "weights": tuple(weights_digest(folder, model) for folder in folders),
    }
