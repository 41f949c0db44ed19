"""The trainings of the paper, files in and files out: pre-training, static models, Flexible Cutoff Learning.

``settings`` is always a `fcl.config.study.Study` with at least the sections model, cutoffs, loss, compute and that of
the training. ``train`` and ``val`` are graph stores. Each training writes its ``outputs`` atomically; ``checkpoints``
is a folder for checkpoints from which a killed training resumes, None: no checkpoints.
"""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch

from fcl.data.batch import GraphData, average_neighbors
from fcl.data.store import read_reference_energies, read_store, structures_per_element
from fcl.models.files import build_model, load, save_model
from fcl.models.interface import Potential
from fcl.runs.device import set_up
from fcl.runs.files import write_csv
from fcl.runs.manifest import write_run_manifest
from fcl.training.checkpoints import Checkpoints, training_identity
from fcl.training.fit import HISTORY_COLUMNS, fcl_recipe, fit, seed_streams, static_recipe

logger = logging.getLogger(__name__)


class Outputs(NamedTuple):
    """Files that a training writes: weights (the card beside them), history (CSV), run manifest."""

    model: Path
    history: Path
    manifest: Path


class Trained(NamedTuple):
    """A model with the weights of its best epoch, and its history, one row per epoch."""

    model: Potential
    history: list[dict]


def pretrain(settings, train: Path, val: Path, seed: int, outputs: Outputs, checkpoints: Path | None = None) -> Trained:
    """Stage 1: the unmodified MACE at ``pretrain.cutoff``."""
    settings = settings.narrowed(pretrain={"seeds": [seed]})
    cutoff = settings.pretrain.cutoff
    return _train_static(settings, "pretrain", "pretrain", train, val, cutoff, seed, outputs, checkpoints)


def train_static(
    settings, train: Path, val: Path, cutoff: float, seed: int, outputs: Outputs, checkpoints: Path | None = None
) -> Trained:
    """A baseline: the unmodified MACE at ``cutoff`` (A)."""
    settings = settings.narrowed(static={"cutoffs": [cutoff], "seeds": [seed]})
    return _train_static(settings, "train_static", "static", train, val, cutoff, seed, outputs, checkpoints)


def train_fcl(
    settings, train: Path, val: Path, pretrained: Path, seed: int, outputs: Outputs, checkpoints: Path | None = None
) -> Trained:
    """Stage 2: Flexible Cutoff Learning from the pre-trained weights (Algorithm 1)."""
    started = time.time()
    dtype, device = set_up(settings.compute)
    settings = settings.narrowed(fcl={"seeds": [seed]})
    inputs, sections = {"train": train, "val": val, "pretrained": pretrained}, ("model", "loss", "fcl", "cutoffs")
    with _checkpoints(settings, "train_fcl", sections, inputs, device, outputs, checkpoints) as kept:
        weights_seed, order_seed, cutoff_seed = seed_streams(seed, 3)
        torch.manual_seed(weights_seed)  # of the two new parts; the rest is loaded
        backend, r_max = settings.compute.backend_of_training, settings.cutoffs.r_max
        parts = settings.model
        # the range of these models only: static ones keep their own
        if parts.bessel_range is None and settings.cutoffs.reach is not None:
            parts = parts.model_copy(update={"bessel_range": settings.cutoffs.reach})
        model = build_model("fcl", parts, r_max, dtype=dtype, device=device, backend=backend)
        start = load(pretrained, dtype=dtype, device=device)
        model.load_backbone(start.state_dict())
        generator = torch.Generator(device=device).manual_seed(cutoff_seed)
        data = [GraphData(read_store(path), dtype, device) for path in (train, val)]
        data[0].require_pairs("training data", r_max)
        history = fit(
            model, *data, settings.fcl, settings.loss,
            fcl_recipe("train_fcl", settings.fcl, settings.cutoffs, generator, dtype),
            order_seed=order_seed, batch_by=settings.fcl.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": "train_fcl", "seed": seed, "pretrain_seed": start.card.get("seed")}
        facts["r_min_angstrom"] = settings.cutoffs.r_min
        _finish(settings, sections, model, history, inputs, outputs, started, facts, kept)
    return Trained(model, history)


def _train_static(
    settings, stage: str, section: str, train: Path, val: Path, cutoff: float, seed: int, outputs: Outputs, checkpoints
) -> Trained:
    """Train the unmodified MACE at one cutoff; avg_num_neighbors from the training split (as for Table 3)."""
    started = time.time()
    dtype, device = set_up(settings.compute)
    optimiser, inputs, sections = getattr(settings, section), {"train": train, "val": val}, ("model", "loss", section)
    with _checkpoints(settings, stage, sections, inputs, device, outputs, checkpoints) as kept:
        weights_seed, order_seed = seed_streams(seed, 2)
        arrays = read_store(train)
        data = [GraphData(part, dtype, device) for part in (arrays, read_store(val))]
        data[0].require_pairs("training data", cutoff)
        neighbors = average_neighbors(arrays, cutoff)["per_connected_atom"]
        torch.manual_seed(weights_seed)
        backend = settings.compute.backend_of_training
        model = build_model("static", settings.model, cutoff, neighbors, dtype=dtype, device=device, backend=backend)
        history = fit(
            model, *data, optimiser, settings.loss,
            static_recipe(stage, cutoff, dtype), order_seed=order_seed, batch_by=optimiser.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": stage, "seed": seed, "training_cutoff_angstrom": cutoff}
        _finish(settings, sections, model, history, inputs, outputs, started, facts, kept)
    return Trained(model, history)


def _checkpoints(settings, stage: str, sections, inputs: dict, device, outputs: Outputs, folder: Path | None):
    """Checkpoints of the training that writes ``outputs``; None without a ``folder``."""
    if folder is None:
        return nullcontext()
    identity = training_identity(settings, stage, sections, inputs, device)
    return Checkpoints(folder / outputs.model.stem, identity, settings.compute.checkpoint_seconds)


def _finish(
    settings, sections: tuple[str, ...], model, history, inputs: dict, outputs: Outputs, started: float, facts: dict,
    checkpoints,
) -> None:  # fmt: skip
    """Write model and card, history and manifest; ``facts`` (stage, seed, cutoffs) go into card and manifest.

    The time in the manifest is that of this process, ``training_seconds`` that of all epochs, including earlier
    processes.
    """
    best = max(row["epoch"] for row in history if row["best"])
    facts = {**facts, "best_epoch": best, "epochs": len(history)}
    facts["training_structures"] = structures_per_element(inputs["train"])
    if subtracted := read_reference_energies(inputs["train"]):  # to be added to the model's predictions
        facts["reference_energies_ev"] = subtracted
    origin = {"study": settings.name, "settings_digest": settings.digest(*sections)}
    card = save_model(model, outputs.model, {**facts, **origin})
    write_csv(outputs.history, history, HISTORY_COLUMNS)
    built = {
        "backend": model.backend,
        "parameters": card["parameters"],
        "weights_sha256": card["weights_sha256"],
        "training_seconds": round(sum(row["seconds"] for row in history), 3),
    }
    write_run_manifest(
        outputs.manifest, facts["stage"], settings, sections, inputs, started, seed=facts["seed"],
        extra={**facts, **built},
    )  # fmt: skip
    if checkpoints is not None:
        checkpoints.finish(outputs.model)
    logger.info(f"{outputs.model}: best epoch {best} of {len(history)}, {time.time() - started:.0f} s")
