"""Stages: optimise per-element cutoffs of a subset and evaluate them on the test split; choose a lambda."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from fcl.runs.files import write_csv, write_json
from fcl.study.stages.evaluation import METRIC_COLUMNS, model_labels
from fcl.study.stages.job import compute, graph_data, loaded_model, record

logger = logging.getLogger(__name__)


def calibrate_cutoffs(
    study, train: Path, val: Path, test: Path, model: Path, subset: str, lam: float, seed: int, cutoffs: Path,
    history: Path, metrics: Path, errors: Path, manifest: Path,
) -> None:  # fmt: skip
    """Optimise the cutoffs on a subset of the calibration split and evaluate them on the same subset of the test split.

    The other configurations are the initial cutoff and the control: the uniform cutoff that keeps as many pairs per
    atom of the test structures as the optimised cutoffs do. ``metrics`` has one row for each, ``errors`` one for each
    and structure. The objective on the validation split is only reported.
    """
    from fcl.calibration.optimise import calibrate
    from fcl.calibration.tolerance import symbols_of
    from fcl.calibration.whole import uniform_of_equal_pairs
    from fcl.cutoffs.rules import cutoff_rule
    from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, STRUCTURE_COLUMNS, evaluate, rows_by_structure

    started = time.time()
    settings = study.calibration
    data, potential = graph_data(study, train), loaded_model(study, model)
    indices = data.members(subset)
    settings.check_reach(len(indices), subset)
    checked = graph_data(study, val)
    validation = (checked, checked.members(subset)) if subset in checked.subset_names else None
    held_out = graph_data(study, test)
    members = held_out.members(subset)
    held_out.require_pairs(f"{subset}, test", settings.initial_cutoff, members)
    result = calibrate(potential, data, settings, study.loss, lam, seed=seed, indices=indices, validation=validation)
    # Elements missing in the calibration structures keep the initial cutoff.
    table = dict.fromkeys(symbols_of(held_out, members), settings.initial_cutoff) | result.cutoffs
    rows: dict[str, dict] = {}
    by_structure: list[dict] = []

    def evaluated(configuration: str, values) -> None:
        rule = cutoff_rule(values, data.dtype, data.device)
        found = evaluate(potential, held_out, rule, EVALUATION_BATCH_SIZE, members)
        labels = {"lambda": lam, "configuration": configuration, **model_labels(potential)}
        labels["cutoff_angstrom"] = "" if values is table else values
        rows[configuration] = {**labels, "subset": subset, **found.metrics()}
        by_structure.extend(rows_by_structure(found, held_out, **labels))

    evaluated("initial", settings.initial_cutoff)
    evaluated("optimised", table)
    pairs, bounds = rows["optimised"]["pairs_per_atom"], {"low": settings.lower_bound, "high": settings.upper_bound}
    evaluated("uniform", uniform_of_equal_pairs(held_out, pairs, members, **bounds))
    write_csv(metrics, list(rows.values()), ("lambda", "configuration", *METRIC_COLUMNS))
    columns = ("lambda", "configuration", "seed", "cutoff_angstrom", *STRUCTURE_COLUMNS)
    write_csv(errors, by_structure, columns, float_format="%.6g")
    write_csv(history, result.history)
    initial, optimised = rows["initial"], rows["optimised"]
    provenance = {
        "study": study.name, "subset": subset, "split": settings.split, "lambda": lam, "seed": seed,
        "weights_sha256": potential.card["weights_sha256"], "not_calibrated": sorted(set(table) - set(result.cutoffs)),
        "force_rmse_ev_per_angstrom": optimised["force_rmse_ev_per_angstrom"],
        "pairs_per_atom": optimised["pairs_per_atom"], "convergence": result.convergence,
    }  # fmt: skip
    write_json(cutoffs, {"cutoffs": table, "provenance": provenance})
    inputs, facts = {"train": train, "val": val, "test": test, "model": model}, {"subset": subset, "lambda": lam}
    record(manifest, "calibrate_cutoffs", study, ("loss", "calibration"), inputs, started, seed=seed, extra=facts)
    gain = 1 - optimised["pairs_per_atom"] / initial["pairs_per_atom"]
    penalty = optimised["force_rmse_ev_per_angstrom"] / initial["force_rmse_ev_per_angstrom"] - 1
    logger.info(f"{cutoffs}: {subset}, lambda {lam:g}: {gain:.1%} fewer pairs for {penalty:+.2%} force RMSE (test)")


def choose_cutoffs(
    study, train: Path, val: Path, model: Path, subset: str, seed: int, choice: Path, manifest: Path
) -> None:
    """Choose the lambda of a subset by cross-validation over groups of its training and validation structures.

    L-BFGS from the initial cutoff upwards, whatever optimiser the calibrations use.
    """
    import torch

    from fcl.calibration.choice import choose_lambda
    from fcl.calibration.path import CalibrationPlan
    from fcl.data.batch import GraphData
    from fcl.data.store import joined_subset, read_store

    started, began = time.time(), time.process_time()
    settings, calibration = study.choice, study.calibration
    dtype, device = compute(study)
    stores = [read_store(path) for path in (train, val)]
    data = GraphData(joined_subset(stores, subset), dtype, device)
    plan = CalibrationPlan.for_structures(
        len(data), on_path=True, lower_bound=calibration.lower_bound, upper_bound=calibration.upper_bound,
        initial_cutoff=calibration.initial_cutoff, batch_size=calibration.batch_size, cost=calibration.cost,
        min_structures=calibration.min_structures,
    )  # fmt: skip
    plan = replace(plan, epochs=settings.evaluations)
    found = choose_lambda(
        loaded_model(study, model), data, plan, calibration.lambdas, settings.max_error_increase,
        indices=torch.arange(len(data)), seed=seed, folds=settings.folds, loss=study.loss,
    )  # fmt: skip
    new = (
        int((stores[1].subset == stores[1].subset_names.index(subset)).sum()) if subset in stores[1].subset_names else 0
    )
    seen = found.errors[0].indices < len(data) - new
    squares = [errors.force_square for errors in found.errors]
    trials = found.trials()
    for trial, square in zip(trials, squares, strict=True):  # memorised structures may say something else than new ones
        for name, members in (("train", seen), ("val", ~seen)):
            ratio = square[members].sum() / squares[0][members].sum() if members.any() else float("nan")
            trial[f"increase_{name}"] = ratio**0.5 - 1.0
    facts = {
        "study": study.name, "subset": subset, "seed": seed, "lambda": found.lam,
        "max_error_increase": settings.max_error_increase, "margin_standard_errors": 1.0, "folds": settings.folds,
        "groups": len(set(data.groups().tolist())), "structures": {"train": len(data) - new, "val": new},
        "trials": trials, "core_seconds": time.process_time() - began,
    }  # fmt: skip
    write_json(choice, facts)
    inputs = {"train": train, "val": val, "model": model}
    sections = ("loss", "calibration", "choice")
    record(manifest, "choose_cutoffs", study, sections, inputs, started, seed=seed, extra={"subset": subset})
    chosen = "none" if found.lam is None else f"{found.lam:g}"
    logger.info(f"{choice}: {subset}: lambda {chosen} within {settings.max_error_increase:.0%}")
