"""A given model in the place of a pre-training (``pretrain.from``)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from fcl.data.batch import GraphData
from fcl.data.store import read_store
from fcl.models.files import card_path, load
from fcl.runs.device import set_up
from fcl.runs.files import atomic_path, write_csv
from fcl.runs.manifest import write_run_manifest
from fcl.training.fit import history_columns, validate


def adopt(settings, train: Path, val: Path, seed: int, model: Path, history: Path, manifest: Path):
    """Copy the file ``settings.pretrain.given`` and its card to ``model``; returns the model and its history.

    The history has one row, epoch 0, with its errors on the validation split. Raises `FileNotFoundError`, and
    `ValueError` for a flexible model, and one whose cutoff is not ``pretrain.cutoff``.
    """
    started, given = time.time(), Path(settings.pretrain.given)
    dtype, device = set_up(settings.compute)
    potential = load(given, dtype=dtype, device=device)
    if potential.flexible or potential.cutoff_limit != settings.pretrain.cutoff:
        kind = "flexible" if potential.flexible else f"of cutoff {potential.cutoff_limit:g} A"
        raise ValueError(f"pretrain.from: {given} is {kind}, and pretrain.cutoff is {settings.pretrain.cutoff:g} A")
    errors = validate(potential, GraphData(read_store(val), dtype, device), (potential.cutoff_limit,), settings.loss)
    row = {"epoch": 0, "learning_rate": 0.0, "train_loss": errors["val_loss"], "best": True, "seconds": 0.0}
    rows = [row | {"mean_cutoff_angstrom": potential.cutoff_limit} | errors]
    for source, target in ((given, model), (card_path(given), card_path(model))):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    columns = history_columns(settings.loss)
    write_csv(history, [{name: row[name] for name in columns} for row in rows], columns)
    facts = {"stage": "pretrain", "seed": seed, "weights_sha256": potential.card["weights_sha256"]}
    facts |= {"backend": potential.backend, "parameters": potential.card["parameters"], "training_seconds": 0.0}
    inputs = {"train": train, "val": val, "given": given}
    sections = ("model", "loss", "pretrain")
    write_run_manifest(manifest, "pretrain", settings, sections, inputs, started, seed=seed, extra=facts)
    return potential, rows
