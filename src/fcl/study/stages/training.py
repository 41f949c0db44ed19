"""Stages: pre-training, static models and Flexible Cutoff Learning.

The stages are called by Snakemake scripts but are independent of Snakemake. ``study`` is always a
`fcl.config.study.Study`. Every stage uses the library for the computation and writes its results atomically, with a run
manifest.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from fcl.runs.files import write_csv
from fcl.study.stages.job import compute, graph_data, record

logger = logging.getLogger(__name__)


def _checkpoints(study, stage: str, sections: tuple[str, ...], inputs: dict, device, model: Path, folder: Path | None):
    """Checkpoints of the training that writes the file ``model``; None without a ``folder``."""
    from contextlib import nullcontext

    from fcl.training.checkpoints import Checkpoints, training_identity

    if folder is None:
        return nullcontext()
    identity = training_identity(study, stage, sections, inputs, device)
    return Checkpoints(folder / model.stem, identity, study.compute.checkpoint_seconds)


def _train_static(
    study, stage: str, section: str, train: Path, val: Path, cutoff: float, seed: int, outputs, checkpoints
) -> None:
    """Train the unmodified MACE at one cutoff; avg_num_neighbors from the training split (as for Table 3)."""
    import torch

    from fcl.data.batch import GraphData, average_neighbors
    from fcl.data.store import read_store
    from fcl.models.files import build_model
    from fcl.training.fit import fit, seed_streams, static_recipe

    started = time.time()
    dtype, device = compute(study)
    settings, inputs, sections = getattr(study, section), {"train": train, "val": val}, ("model", "loss", section)
    with _checkpoints(study, stage, sections, inputs, device, outputs[0], checkpoints) as kept:
        weights_seed, order_seed = seed_streams(seed, 2)
        arrays = read_store(train)
        neighbors = average_neighbors(arrays, cutoff)["per_connected_atom"]
        torch.manual_seed(weights_seed)
        backend = study.compute.backend_of_training
        model = build_model("static", study.model, cutoff, neighbors, dtype=dtype, device=device, backend=backend)
        history = fit(
            model, GraphData(arrays, dtype, device), graph_data(study, val), settings, study.loss,
            static_recipe(stage, cutoff, dtype), order_seed=order_seed, batch_by=settings.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": stage, "seed": seed, "training_cutoff_angstrom": cutoff}
        _finish_training(study, sections, model, history, inputs, outputs, started, facts, kept)


def _finish_training(
    study, sections: tuple[str, ...], model, history, inputs: dict, outputs, started: float, facts: dict, checkpoints
) -> None:
    """Write model and card, history and manifest; ``facts`` (stage, seed, cutoffs) go into card and manifest.

    The time in the manifest is that of this process, ``training_seconds`` that of all epochs, including earlier
    processes.
    """
    from fcl.data.store import read_reference_energies
    from fcl.models.files import save_model
    from fcl.training.fit import HISTORY_COLUMNS

    model_path, history_path, manifest = outputs
    best = max(row["epoch"] for row in history if row["best"])
    facts = {**facts, "best_epoch": best, "epochs": len(history)}
    if subtracted := read_reference_energies(inputs["train"]):  # to be added to the model's predictions
        facts["reference_energies_ev"] = subtracted
    card = save_model(model, model_path, {**facts, "study": study.name, "settings_digest": study.digest(*sections)})
    write_csv(history_path, history, HISTORY_COLUMNS)
    built = {
        "backend": model.backend,
        "parameters": card["parameters"],
        "weights_sha256": card["weights_sha256"],
        "training_seconds": round(sum(row["seconds"] for row in history), 3),
    }
    record(
        manifest,
        facts["stage"],
        study,
        sections,
        inputs,
        started,
        seed=facts["seed"],
        extra={**facts, **built},
    )
    if checkpoints is not None:
        checkpoints.finish(model_path)
    logger.info(f"{model_path}: best epoch {best} of {len(history)}, {time.time() - started:.0f} s")


def pretrain(
    study, train: Path, val: Path, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """Stage 1: the unmodified MACE at 6 A.

    ``checkpoints`` (in all trainings) is a folder for checkpoints from which a killed training resumes; None: no
    checkpoints.
    """
    study, outputs = study.narrowed(pretrain={"seeds": [seed]}), (model, history, manifest)
    _train_static(study, "pretrain", "pretrain", train, val, study.pretrain.cutoff, seed, outputs, checkpoints)


def train_static(
    study, train: Path, val: Path, cutoff: float, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """A baseline: the unmodified MACE at ``cutoff`` (A)."""
    study, outputs = study.narrowed(static={"cutoffs": [cutoff], "seeds": [seed]}), (model, history, manifest)
    _train_static(study, "train_static", "static", train, val, cutoff, seed, outputs, checkpoints)


def train_fcl(
    study, train: Path, val: Path, pretrained: Path, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """Stage 2: Flexible Cutoff Learning from the pre-trained weights (Algorithm 1)."""
    import torch

    from fcl.models.files import build_model, load
    from fcl.training.fit import fcl_recipe, fit, seed_streams

    started = time.time()
    dtype, device = compute(study)
    study = study.narrowed(fcl={"seeds": [seed]})
    inputs, sections = {"train": train, "val": val, "pretrained": pretrained}, ("model", "loss", "fcl", "cutoffs")
    with _checkpoints(study, "train_fcl", sections, inputs, device, model, checkpoints) as kept:
        weights_seed, order_seed, cutoff_seed = seed_streams(seed, 3)
        torch.manual_seed(weights_seed)  # of the two new parts; the rest is loaded
        backend = study.compute.backend_of_training
        flexible = build_model("fcl", study.model, study.cutoffs.r_max, dtype=dtype, device=device, backend=backend)
        start = load(pretrained, dtype=dtype, device=device)
        flexible.load_backbone(start.state_dict())
        generator = torch.Generator(device=device).manual_seed(cutoff_seed)
        rows = fit(
            flexible, graph_data(study, train), graph_data(study, val), study.fcl, study.loss,
            fcl_recipe("train_fcl", study.fcl, study.cutoffs, generator, dtype),
            order_seed=order_seed, batch_by=study.fcl.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": "train_fcl", "seed": seed, "pretrain_seed": start.card.get("seed")}
        facts["r_min_angstrom"] = study.cutoffs.r_min
        outputs = (model, history, manifest)
        _finish_training(study, sections, flexible, rows, inputs, outputs, started, facts, kept)
