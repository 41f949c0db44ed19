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

from fcl.config.sharing import FLEXIBLE_PARTS
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.file import read_cutoffs
from fcl.data.batch import GraphData, average_neighbors
from fcl.data.store import read_reference_energies, read_store, structures_per_element
from fcl.models.files import build_model, load, save_model
from fcl.models.interface import Potential
from fcl.models.warm import warm_start
from fcl.runs.device import set_up
from fcl.runs.files import write_csv
from fcl.runs.manifest import write_run_manifest
from fcl.training.checkpoints import Checkpoints, training_identity
from fcl.training.fit import fcl_recipe, fit, history_columns, seed_streams, special_recipe, static_recipe
from fcl.training.given import adopt
from fcl.training.memory import say_peak
from fcl.training.parallel import in_processes, ranks
from fcl.training.parameters import freeze

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


@in_processes
def pretrain(settings, train: Path, val: Path, seed: int, outputs: Outputs, checkpoints: Path | None = None) -> Trained:
    """Stage 1: the unmodified MACE at ``pretrain.cutoff``; or the model that ``pretrain.from`` names, as it is."""
    settings = settings.narrowed(pretrain={"seeds": [seed]})
    if settings.pretrain.given is not None:
        return Trained(*adopt(settings, train, val, seed, *outputs))
    cutoff = settings.pretrain.cutoff
    return _train_static(settings, "pretrain", "pretrain", train, val, cutoff, seed, outputs, checkpoints)


@in_processes
def train_static(
    settings, train: Path, val: Path, cutoff: float, seed: int, outputs: Outputs, checkpoints: Path | None = None,
    start: Path | None = None,
) -> Trained:  # fmt: skip
    """A baseline: the unmodified MACE at ``cutoff`` (A); or the static model ``start``, trained on, at its cutoff."""
    settings = settings.narrowed(static={"cutoffs": [cutoff], "seeds": [seed]})
    return _train_static(settings, "train_static", "static", train, val, cutoff, seed, outputs, checkpoints, start)


@in_processes
def train_fcl(
    settings, train: Path, val: Path, pretrained: Path, seed: int, outputs: Outputs, checkpoints: Path | None = None
) -> Trained:
    """Stage 2: Flexible Cutoff Learning from the pre-trained weights (Algorithm 1).

    With ``fcl.start: warm`` the model equals the pre-trained one at its cutoff at first (`fcl.models.warm`), whose
    functions of distance and average neighbours it keeps.
    """
    started = time.time()
    dtype, device = set_up(settings.compute)
    settings = settings.narrowed(fcl={"seeds": [seed]})
    inputs, sections = {"train": train, "val": val, "pretrained": pretrained}, ("model", "loss", "fcl", "cutoffs")
    with _checkpoints(settings, "train_fcl", sections, inputs, device, outputs, checkpoints) as kept:
        weights_seed, order_seed, cutoff_seed = seed_streams(seed, 3)
        backend, r_max = settings.compute.backend_of_training, settings.cutoffs.r_max
        parts = settings.model
        # the range of these models only: static ones keep their own
        if parts.bessel_range is None and settings.cutoffs.reach is not None:
            parts = parts.model_copy(update={"bessel_range": settings.cutoffs.reach})
        start, neighbors, warm = load(pretrained, dtype=dtype, device=device), None, settings.fcl.start == "warm"
        if warm:
            own = {name: getattr(parts, name) for name in (*FLEXIBLE_PARTS, "mixing_rule")}
            parts = start.settings.model_copy(update={**own, "bessel_range": start.bessel_range})
            neighbors = start.avg_num_neighbors
        torch.manual_seed(weights_seed)  # of the two new parts; the rest is loaded
        model = build_model("fcl", parts, r_max, neighbors, dtype=dtype, device=device, backend=backend)
        if warm:
            warm_start(model, start)
        else:
            model.load_backbone(start.state_dict())
        generator = torch.Generator(device=device).manual_seed(cutoff_seed)
        data = [GraphData(read_store(path), dtype, device) for path in (train, val)]
        data[0].require_pairs("training data", r_max)
        if warm:
            freeze(model, settings.fcl)  # what is frozen takes no memory of gradients
            say_peak("fcl", model, data[0], r_max, settings.fcl, settings.loss, settings.compute.max_pairs)
        history = fit(
            model, *data, settings.fcl, settings.loss,
            fcl_recipe("train_fcl", settings.fcl, settings.cutoffs, generator, dtype),
            order_seed=order_seed, batch_by=settings.fcl.batch_by, checkpoints=kept,
            max_pairs=settings.compute.max_pairs,
        )  # fmt: skip
        facts = {"stage": "train_fcl", "seed": seed, "pretrain_seed": start.card.get("seed")}
        if warm:
            facts |= _origin(start)
        facts["r_min_angstrom"] = settings.cutoffs.r_min
        _finish(settings, sections, model, history, inputs, outputs, started, facts, kept)
    return Trained(model, history)


@in_processes
def specialise(
    settings, train: Path, val: Path, model: Path, cutoffs: Path, seed: int, outputs: Outputs,
    checkpoints: Path | None = None,
) -> Trained:  # fmt: skip
    """The FCL model of the file ``model``, trained on at the fixed cutoffs of the cutoffs file, with the section fcl.

    The result keeps them as its own (``cutoffs_angstrom`` of its card): a model for these cutoffs, no longer for all.
    """
    started, given = time.time(), read_cutoffs(cutoffs).cutoffs
    dtype, device = set_up(settings.compute)
    settings = settings.narrowed(fcl={"seeds": [seed]})
    inputs, sections = {"train": train, "val": val, "pretrained": model, "cutoffs": cutoffs}, ("loss", "fcl")
    with _checkpoints(settings, "specialise", sections, inputs, device, outputs, checkpoints) as kept:
        potential = load(model, dtype=dtype, device=device, backend=settings.compute.backend_of_training)
        choice, stores = CutoffChoice(potential, cutoffs), [read_store(path) for path in (train, val)]
        for arrays in stores:
            choice.of(arrays.numbers)  # every element has a cutoff
        facts = {"stage": "specialise", "seed": seed, **_origin(potential), "cutoffs_angstrom": dict(given)}
        facts["r_min_angstrom"] = potential.card.get("r_min_angstrom", min(given.values()))
        data, largest = [GraphData(arrays, dtype, device) for arrays in stores], max(given.values())
        data[0].require_pairs("training data", largest)
        freeze(potential, settings.fcl)
        say_peak("fcl", potential, data[0], largest, settings.fcl, settings.loss, settings.compute.max_pairs)
        history = fit(
            potential, *data, settings.fcl, settings.loss,
            special_recipe("specialise", settings.fcl, given, dtype, device), order_seed=seed_streams(seed, 1)[0],
            batch_by=settings.fcl.batch_by, checkpoints=kept, max_pairs=settings.compute.max_pairs,
        )  # fmt: skip
        _finish(settings, sections, potential, history, inputs, outputs, started, facts, kept)
    return Trained(potential, history)


def _train_static(
    settings, stage: str, section: str, train: Path, val: Path, cutoff: float, seed: int, outputs: Outputs, checkpoints,
    start: Path | None = None,
) -> Trained:  # fmt: skip
    """Train the unmodified MACE at one cutoff; avg_num_neighbors from the training split (as for Table 3).

    Or the model ``start``, which keeps its own.
    """
    started = time.time()
    dtype, device = set_up(settings.compute)
    optimiser, inputs, sections = getattr(settings, section), {"train": train, "val": val}, ("model", "loss", section)
    if start is not None:
        inputs["pretrained"] = start
    with _checkpoints(settings, stage, sections, inputs, device, outputs, checkpoints) as kept:
        weights_seed, order_seed = seed_streams(seed, 2)
        arrays = read_store(train)
        data = [GraphData(part, dtype, device) for part in (arrays, read_store(val))]
        data[0].require_pairs("training data", cutoff)
        backend = settings.compute.backend_of_training
        facts = {"stage": stage, "seed": seed, "training_cutoff_angstrom": cutoff}
        if start is not None:
            model = load(start, dtype=dtype, device=device, backend=backend)
            model.check_cutoff(cutoff)
            facts |= _origin(model)
            freeze(model, optimiser)
            say_peak(section, model, data[0], cutoff, optimiser, settings.loss, settings.compute.max_pairs)
        else:
            neighbors = average_neighbors(arrays, cutoff)["per_connected_atom"]
            torch.manual_seed(weights_seed)
            model = build_model(
                "static", settings.model, cutoff, neighbors, dtype=dtype, device=device, backend=backend
            )
        history = fit(
            model, *data, optimiser, settings.loss,
            static_recipe(stage, cutoff, dtype), order_seed=order_seed, batch_by=optimiser.batch_by, checkpoints=kept,
            max_pairs=settings.compute.max_pairs,
        )  # fmt: skip
        _finish(settings, sections, model, history, inputs, outputs, started, facts, kept)
    return Trained(model, history)


def _origin(start: Potential) -> dict:
    """What cards and manifests say of the model that a fine-tuning starts from."""
    return {"start_sha256": start.card["weights_sha256"], "start_cutoff_angstrom": start.cutoff_limit}


def _checkpoints(settings, stage: str, sections, inputs: dict, device, outputs: Outputs, folder: Path | None):
    """Checkpoints of the training that writes ``outputs``; None without a ``folder``."""
    if folder is None or not ranks().first:
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
    if not ranks().first:
        return
    best = max(row["epoch"] for row in history if row["best"])
    facts = {**facts, "best_epoch": best, "epochs": len(history)}
    facts["training_structures"] = structures_per_element(inputs["train"])
    if settings.loss.stress_weight:
        facts["training_structures_with_stress"] = int(read_store(inputs["train"]).stress_mask.sum())
    if subtracted := read_reference_energies(inputs["train"]):  # to be added to the model's predictions
        facts["reference_energies_ev"] = subtracted
    origin = {"study": settings.name, "settings_digest": settings.digest(*sections)}
    card = save_model(model, outputs.model, {**facts, **origin})
    write_csv(outputs.history, history, history_columns(settings.loss))
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
