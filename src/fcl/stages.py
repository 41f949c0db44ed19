"""The stages of the study: each reads files, calls the library once and writes its results whole or not at all.

Snakemake scripts call these; they know nothing of Snakemake. ``study`` is a `fcl.config.Study` everywhere. Every stage
writes a run manifest beside its result.
"""

from __future__ import annotations

import time
from pathlib import Path

from fcl.files import write_csv, write_json
from fcl.progress import say
from fcl.stage_tools import compute as _compute
from fcl.stage_tools import record as _record

METRIC_COLUMNS = (
    "model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset", "structures", "atoms",
    "force_rmse_ev_per_angstrom", "force_mae_ev_per_angstrom", "energy_rmse_ev_per_atom", "energy_mae_ev_per_atom",
    "pairs_per_atom",
)  # fmt: skip
DIATOMIC_COLUMNS = (
    "pair",
    "cutoff_angstrom",
    "seed",
    "distance_angstrom",
    "energy_ev",
    "force_ev_per_angstrom",
)


def _data(study, path: Path):
    from fcl.data.batch import GraphData
    from fcl.data.store import read_store

    dtype, device = _compute(study)
    return GraphData(read_store(path), dtype, device)


def _checkpoints(study, stage: str, sections: tuple[str, ...], inputs: dict, device, model: Path, folder: Path | None):
    """The checkpoints of the training that ends with the file ``model``; without a ``folder`` for them, none."""
    from contextlib import nullcontext

    from fcl.checkpoints import Checkpoints, training_identity

    if folder is None:
        return nullcontext()
    identity = training_identity(study, stage, sections, inputs, device)
    return Checkpoints(folder / model.stem, identity, study.compute.checkpoint_seconds)


def build_store(
    study, source: Path, frames: dict, num_elements: int, workers: int, references: Path | None,
    store: Path, rejected: Path, manifest: Path,
) -> None:  # fmt: skip
    """Frames of one split -> graph store with the neighbour list at ``study.cutoffs.r_max``.

    ``frames`` is what the data manifest says of the split (`fcl.dataset.DataManifest.frame_settings`), ``num_elements``
    the number of elements of the model, and ``references`` a store whose fitted reference energies are taken over.
    """
    from fcl.data.build import build_store as build
    from fcl.data.selection import frame_arguments
    from fcl.data.store import read_reference_energies

    started = time.time()
    arguments = frame_arguments(frames, num_elements, study.data.max_force)
    if references:
        arguments["references"] = read_reference_energies(references)
    summary = build(
        source,
        store,
        r_max=study.cutoffs.r_max,
        max_frames_per_subset=study.data.frame_limit(frames["split"]),
        strict=study.data.strict,
        rejected=rejected,
        workers=workers,
        **arguments,
    )
    facts = {**summary, "r_max_angstrom": study.cutoffs.r_max, "frames": frames, "num_elements": num_elements}
    inputs = {"source": source, **({"references": references} if references else {})}
    _record(manifest, "build_store", study, ("data",), inputs, started, extra=facts)
    say(f"{store}: {summary['structures']} structures, {summary['atoms']} atoms, {summary['pairs']} pairs")


def _train_static(
    study, stage: str, section: str, train: Path, val: Path, cutoff: float, seed: int, outputs, checkpoints
) -> None:
    """Train the unmodified MACE at one cutoff; avg_num_neighbors from the training split (as for Table 3)."""
    import torch

    from fcl.data.batch import GraphData, average_neighbors
    from fcl.data.store import read_store
    from fcl.model.files import build_model
    from fcl.training import fit, seed_streams, static_plan

    started = time.time()
    dtype, device = _compute(study)
    settings, inputs, sections = getattr(study, section), {"train": train, "val": val}, ("model", "loss", section)
    with _checkpoints(study, stage, sections, inputs, device, outputs[0], checkpoints) as kept:
        weights_seed, order_seed = seed_streams(seed, 2)
        arrays = read_store(train)
        neighbors = average_neighbors(arrays, cutoff)["per_connected_atom"]
        torch.manual_seed(weights_seed)
        backend = study.compute.backend_of_training
        model = build_model("static", study.model, cutoff, neighbors, dtype=dtype, device=device, backend=backend)
        history = fit(
            model, GraphData(arrays, dtype, device), _data(study, val), settings, study.loss,
            static_plan(stage, cutoff, dtype), order_seed=order_seed, batch_by=settings.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": stage, "seed": seed, "training_cutoff_angstrom": cutoff}
        _finish_training(study, sections, model, history, inputs, outputs, started, facts, kept)


def _finish_training(
    study, sections: tuple[str, ...], model, history, inputs: dict, outputs, started: float, facts: dict, checkpoints
) -> None:
    """Write model and card, history and manifest; ``facts`` (stage, seed, cutoffs) go into card and manifest.

    The time in the manifest is that of this process, ``training_seconds`` that of all epochs, whichever process ran
    them.
    """
    from fcl.data.store import read_reference_energies
    from fcl.model.files import save_model
    from fcl.training import HISTORY_COLUMNS

    model_path, history_path, manifest = outputs
    best = max(row["epoch"] for row in history if row["best"])
    facts = {**facts, "best_epoch": best, "epochs": len(history)}
    if subtracted := read_reference_energies(inputs["train"]):  # to be added to what the model predicts
        facts["reference_energies_ev"] = subtracted
    card = save_model(model, model_path, {**facts, "study": study.name, "settings_digest": study.digest(*sections)})
    write_csv(history_path, history, HISTORY_COLUMNS)
    built = {
        "backend": model.backend,
        "parameters": card["parameters"],
        "weights_sha256": card["weights_sha256"],
        "training_seconds": round(sum(row["seconds"] for row in history), 3),
    }
    _record(
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
    say(f"{model_path}: best epoch {best} of {len(history)}, {time.time() - started:.0f} s")


def pretrain(
    study, train: Path, val: Path, model: Path, history: Path, manifest: Path, checkpoints: Path | None = None
) -> None:
    """Stage 1: the unmodified MACE at 6 A.

    ``checkpoints``, here and in the other trainings, is a folder for files from which a killed training goes on; None
    writes none.
    """
    settings, outputs = study.pretrain, (model, history, manifest)
    _train_static(study, "pretrain", "pretrain", train, val, settings.cutoff, settings.seed, outputs, checkpoints)


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

    from fcl.model.files import build_model, load
    from fcl.training import fcl_plan, fit, seed_streams

    started = time.time()
    dtype, device = _compute(study)
    study = study.narrowed(fcl={"seeds": [seed]})
    inputs, sections = {"train": train, "val": val, "pretrained": pretrained}, ("model", "loss", "fcl", "cutoffs")
    with _checkpoints(study, "train_fcl", sections, inputs, device, model, checkpoints) as kept:
        weights_seed, order_seed, cutoff_seed = seed_streams(seed, 3)
        torch.manual_seed(weights_seed)  # of the two new parts; the rest is loaded
        backend = study.compute.backend_of_training
        flexible = build_model("fcl", study.model, study.cutoffs.r_max, dtype=dtype, device=device, backend=backend)
        flexible.load_backbone(load(pretrained, dtype=dtype, device=device).state_dict())
        generator = torch.Generator(device=device).manual_seed(cutoff_seed)
        rows = fit(
            flexible, _data(study, train), _data(study, val), study.fcl, study.loss,
            fcl_plan("train_fcl", study.fcl, study.cutoffs, generator, dtype),
            order_seed=order_seed, batch_by=study.fcl.batch_by, checkpoints=kept,
        )  # fmt: skip
        facts = {"stage": "train_fcl", "seed": seed, "r_min_angstrom": study.cutoffs.r_min}
        outputs = (model, history, manifest)
        _finish_training(study, sections, flexible, rows, inputs, outputs, started, facts, kept)


def _model_labels(model) -> dict:
    """Columns that say which model it is."""
    stage = model.card.get("stage", model.kind)
    return {
        "model_kind": {"train_fcl": "fcl", "train_static": "static"}.get(stage, stage),
        "training_cutoff_angstrom": model.card.get("training_cutoff_angstrom", ""),
        "seed": model.card.get("seed", ""),
    }


def _load(study, path: Path):
    from fcl.model.files import load

    dtype, device = _compute(study)
    return load(path, dtype=dtype, device=device, backend=study.compute.backend)


def evaluate_uniform(study, store: Path, model: Path, cutoffs: list[float], output: Path, manifest: Path) -> None:
    """Errors and pairs per atom at each uniform cutoff (A), over all structures and per subset."""
    from fcl.evaluation import evaluate, rows_by_subset, uniform_rule

    started = time.time()
    data, potential = _data(study, store), _load(study, model)
    for cutoff in cutoffs:
        potential.check_cutoff(cutoff)
    rows = []
    for cutoff in cutoffs:
        errors = evaluate(potential, data, uniform_rule(cutoff, data.dtype), study.evaluation.batch_size)
        rows += rows_by_subset(errors, data, **_model_labels(potential), cutoff_angstrom=cutoff)
    write_csv(output, rows, METRIC_COLUMNS)
    inputs = {"store": store, "model": model}
    _record(
        manifest,
        "evaluate_cutoffs",
        study,
        ("evaluation",),
        inputs,
        started,
        seed=potential.card.get("seed"),
        extra={"cutoffs_angstrom": list(cutoffs)},
    )
    say(f"{output}: {len(cutoffs)} cutoffs on {len(data)} structures, {time.time() - started:.0f} s")


def diatomic_curves(study, model: Path, output: Path, manifest: Path) -> None:
    """E(r) and F(r) of the configured pairs at the configured cutoffs, in float64 whatever the training used."""
    import torch
    from ase.data import atomic_numbers

    from fcl.diatomics import diatomic_curve
    from fcl.model.files import load

    started = time.time()
    _, device = _compute(study)
    settings = study.diatomics
    potential = load(model, dtype=torch.float64, device=device, backend=study.compute.backend)
    distances = torch.linspace(settings.r_start, settings.r_stop, settings.points, dtype=torch.float64, device=device)
    rows = []
    for pair in settings.pairs:
        first, second = (atomic_numbers[symbol] for symbol in pair.split("-"))
        for cutoff in settings.cutoffs:
            energy, force = diatomic_curve(potential, (first, second), cutoff, distances)
            labels = {"pair": pair, "cutoff_angstrom": cutoff, "seed": potential.card.get("seed", "")}
            columns = zip(distances.tolist(), energy.tolist(), force.tolist(), strict=True)
            rows += [{**labels, **dict(zip(DIATOMIC_COLUMNS[3:], values, strict=True))} for values in columns]
    write_csv(output, rows, DIATOMIC_COLUMNS)
    seed = potential.card.get("seed")
    _record(manifest, "diatomic_curves", study, ("diatomics",), {"model": model}, started, seed=seed)
    say(f"{output}: {len(settings.pairs)} pairs at {len(settings.cutoffs)} cutoffs")


def calibrate_cutoffs(
    study, train: Path, test: Path, model: Path, subset: str, lam: float, seed: int, cutoffs: Path, history: Path,
    metrics: Path, manifest: Path,
) -> None:  # fmt: skip
    """Optimise the cutoffs on a subset of the training split and evaluate them on the same subset of the test split."""
    from fcl.calibration import calibrate
    from fcl.evaluation import EVALUATION_BATCH_SIZE, element_rule, evaluate, uniform_rule
    from fcl.tolerance import symbols_of

    started = time.time()
    settings = study.calibration
    data, potential = _data(study, train), _load(study, model)
    indices = data.members(subset)
    settings.check_reach(len(indices), subset)
    result = calibrate(potential, data, settings, study.loss, lam, seed=seed, indices=indices)
    held_out = _data(study, test)
    members = held_out.members(subset)
    # An element that the calibration structures do not hold keeps the initial cutoff.
    table = dict.fromkeys(symbols_of(held_out, members), settings.initial_cutoff) | result.cutoffs
    configurations = {
        "initial": uniform_rule(settings.initial_cutoff, data.dtype),
        "optimised": element_rule(table, data.dtype, data.device),
    }
    rows = []
    for configuration, rule in configurations.items():
        errors = evaluate(potential, held_out, rule, EVALUATION_BATCH_SIZE, members)
        initial = settings.initial_cutoff if configuration == "initial" else ""
        labels = {
            "lambda": lam,
            "configuration": configuration,
            **_model_labels(potential),
            "cutoff_angstrom": initial,
        }
        rows.append({**labels, "subset": subset, **errors.metrics()})
    write_csv(metrics, rows, ("lambda", "configuration", *METRIC_COLUMNS))
    write_csv(history, result.history)
    card = potential.card
    provenance = {
        "study": study.name, "subset": subset, "split": settings.split, "lambda": lam, "seed": seed,
        "weights_sha256": card["weights_sha256"], "not_calibrated": sorted(set(table) - set(result.cutoffs)),
        "force_rmse_ev_per_angstrom": rows[1]["force_rmse_ev_per_angstrom"],
        "pairs_per_atom": rows[1]["pairs_per_atom"],
    }  # fmt: skip
    write_json(cutoffs, {"cutoffs": table, "provenance": provenance})
    inputs, facts = {"train": train, "test": test, "model": model}, {"subset": subset, "lambda": lam}
    _record(manifest, "calibrate_cutoffs", study, ("loss", "calibration"), inputs, started, seed=seed, extra=facts)
    gain = 1 - rows[1]["pairs_per_atom"] / rows[0]["pairs_per_atom"]
    penalty = rows[1]["force_rmse_ev_per_angstrom"] / rows[0]["force_rmse_ev_per_angstrom"] - 1
    say(f"{cutoffs}: {subset}, lambda {lam:g}: {gain:.1%} fewer pairs for {penalty:+.2%} force RMSE (test)")
