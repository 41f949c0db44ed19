"""Stages: errors at uniform cutoffs, and diatomic curves."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from fcl.runs.files import write_csv
from fcl.study.stages.job import compute, graph_data, loaded_model

logger = logging.getLogger(__name__)

METRIC_COLUMNS = (
    "model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset", "structures", "atoms",
    "force_rmse_ev_per_angstrom", "force_mae_ev_per_angstrom", "energy_rmse_ev_per_atom", "energy_mae_ev_per_atom",
    "pairs_per_atom",
)  # fmt: skip
DIATOMIC_COLUMNS = ("pair", "cutoff_angstrom", "seed", "distance_angstrom", "energy_ev", "force_ev_per_angstrom")


def model_labels(model) -> dict:
    """Columns that identify the model."""
    stage = model.card.get("stage", model.kind)
    return {
        "model_kind": {"train_fcl": "fcl", "train_static": "static"}.get(stage, stage),
        "training_cutoff_angstrom": model.card.get("training_cutoff_angstrom", ""),
        "seed": model.card.get("seed", ""),
    }


def evaluate_uniform(study, store: Path, model: Path, cutoffs: list[float], metrics: Path, errors: Path) -> dict:
    """Errors and pairs per atom at each uniform cutoff (A): over all structures and per subset, and per structure."""
    from fcl.cutoffs.rules import uniform_rule
    from fcl.evaluation.errors import STRUCTURE_COLUMNS, evaluate, rows_by_structure, rows_by_subset

    started = time.time()
    data, potential = graph_data(study, store), loaded_model(study, model)
    for cutoff in cutoffs:
        potential.check_cutoff(cutoff)
    rows, by_structure = [], []
    for cutoff in cutoffs:
        found = evaluate(potential, data, uniform_rule(cutoff, data.dtype), study.evaluation.batch_size)
        rows += rows_by_subset(found, data, **model_labels(potential), cutoff_angstrom=cutoff)
        by_structure += rows_by_structure(found, data, cutoff_angstrom=cutoff)
    write_csv(errors, by_structure, ("cutoff_angstrom", *STRUCTURE_COLUMNS), float_format="%.6g")
    write_csv(metrics, rows, METRIC_COLUMNS)
    logger.info(f"{metrics}: {len(cutoffs)} cutoffs on {len(data)} structures, {time.time() - started:.0f} s")
    return {"seed": potential.card.get("seed"), "cutoffs_angstrom": list(cutoffs)}


def evaluate_trivial(train: Path, store: Path, metrics: Path, errors: Path) -> None:
    """Errors of trivial predictions: zero forces, and energies linear in the composition (fitted on ``train``)."""
    from fcl.data.store import read_store
    from fcl.evaluation.baselines import trivial_errors
    from fcl.evaluation.errors import STRUCTURE_COLUMNS, rows_by_structure, rows_by_subset

    test = read_store(store)
    found = trivial_errors(read_store(train), test)
    labels = {"model_kind": "trivial", "training_cutoff_angstrom": "", "seed": "", "cutoff_angstrom": ""}
    write_csv(errors, rows_by_structure(found, test), STRUCTURE_COLUMNS, float_format="%.6g")
    write_csv(metrics, rows_by_subset(found, test, **labels), METRIC_COLUMNS)
    logger.info(f"{metrics}: trivial predictions on {len(test)} structures")


def diatomic_curves(study, model: Path, curves: Path) -> dict:
    """E(r) and F(r) of the configured pairs at the configured cutoffs, in float64, whatever the training precision."""
    import torch
    from ase.data import atomic_numbers

    from fcl.evaluation.diatomics import diatomic_curve
    from fcl.models.files import load

    _, device = compute(study)
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
    write_csv(curves, rows, DIATOMIC_COLUMNS)
    logger.info(f"{curves}: {len(settings.pairs)} pairs at {len(settings.cutoffs)} cutoffs")
    return {"seed": potential.card.get("seed")}
