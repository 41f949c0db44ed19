"""Stages: optimise per-element cutoffs of a subset and evaluate them on the test split; choose a lambda."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from fcl.runs.files import write_csv, write_json
from fcl.study.stages.evaluation import METRIC_COLUMNS, model_labels
from fcl.study.stages.job import compute, graph_data, loaded_model

logger = logging.getLogger(__name__)

ADDED = "added_force_rmse_ev_per_angstrom"
#: Columns of the metrics of a calibration without labels.
UNLABELLED_COLUMNS = ("lambda", "configuration", "seed", *METRIC_COLUMNS[3:], ADDED)


def calibrate_cutoffs(
    study, train: Path, test: Path, model: Path, subset: str, lam: float, seed: int, cutoffs: Path, metrics: Path,
    val: Path | None = None, history: Path | None = None, errors: Path | None = None, labels: str = "data",
) -> dict:  # fmt: skip
    """Optimise the cutoffs on a subset of the calibration split and evaluate them on the same subset of the test split.

    ``metrics`` has one row for each configuration, ``errors`` one for each and structure. Besides the optimised cutoffs
    these are the initial one and, for ``labels`` "data", the control: the uniform cutoff that keeps as many pairs per
    atom of the test structures as the optimised cutoffs do. The objective on the validation split is only reported.

    ``labels`` "model": calibration without labels. Those of `calibrate` are pseudo-labels from the model at the initial
    cutoff, the rows still errors against the labels of the test split; ``added_force_rmse_ev_per_angstrom`` is the
    deviation from the model's own forces at the initial cutoff, the only error known without labels.
    """
    from fcl.calibration.folds import errors_at
    from fcl.calibration.optimise import calibrate
    from fcl.calibration.tolerance import labelled_by, symbols_of
    from fcl.calibration.whole import uniform_of_equal_pairs
    from fcl.evaluation.errors import STRUCTURE_COLUMNS, force_rmse, rows_by_structure

    settings, labelled = study.calibration, labels == "data"
    data, potential, held_out = graph_data(study, train), loaded_model(study, model), graph_data(study, test)
    indices, members = data.members(subset), held_out.members(subset)
    settings.check_reach(len(indices), subset)
    held_out.require_pairs(f"{subset}, test", settings.initial_cutoff, members)
    validation = None
    if val is not None:
        checked = graph_data(study, val)
        validation = (checked, checked.members(subset)) if subset in checked.subset_names else None
    if not labelled:
        data = labelled_by(potential, data, settings.initial_cutoff, indices)
        own_test = labelled_by(potential, held_out, settings.initial_cutoff, members)
    result = calibrate(potential, data, settings, study.loss, lam, seed=seed, indices=indices, validation=validation)
    # Elements missing in the calibration structures keep the initial cutoff.
    table = dict.fromkeys(symbols_of(held_out, members), settings.initial_cutoff) | result.cutoffs
    rows: dict[str, dict] = {}
    by_structure: list[dict] = []

    def evaluated(configuration: str, values, cutoff: float | str) -> None:
        found = errors_at(potential, held_out, values, members)
        names = {"lambda": lam, "configuration": configuration, "seed": seed, "cutoff_angstrom": cutoff}
        rows[configuration] = {**model_labels(potential), **names, "subset": subset, **found.metrics()}
        if not labelled:
            rows[configuration][ADDED] = force_rmse(errors_at(potential, own_test, values, members))
        by_structure.extend(rows_by_structure(found, held_out, **names))

    evaluated("initial", settings.initial_cutoff, settings.initial_cutoff)
    evaluated("optimised", table, "")
    initial, optimised = rows["initial"], rows["optimised"]
    if labelled:
        bounds = {"low": settings.lower_bound, "high": settings.upper_bound}
        control = uniform_of_equal_pairs(held_out, optimised["pairs_per_atom"], members, **bounds)
        evaluated("uniform", control, control)
    write_csv(
        metrics, list(rows.values()), ("lambda", "configuration", *METRIC_COLUMNS) if labelled else UNLABELLED_COLUMNS
    )
    if errors is not None:
        columns = ("lambda", "configuration", "seed", "cutoff_angstrom", *STRUCTURE_COLUMNS)
        write_csv(errors, by_structure, columns, float_format="%.6g")
    if history is not None:
        write_csv(history, result.history)
    provenance = {
        "study": study.name, "subset": subset, "split": settings.split, "lambda": lam, "seed": seed,
        **({} if labelled else {"labels": f"the model's own at {settings.initial_cutoff:g} A"}),
        "weights_sha256": potential.card["weights_sha256"], "not_calibrated": sorted(set(table) - set(result.cutoffs)),
        "force_rmse_ev_per_angstrom": optimised["force_rmse_ev_per_angstrom"],
        "pairs_per_atom": optimised["pairs_per_atom"], "convergence": result.convergence,
    }  # fmt: skip
    write_json(cutoffs, {"cutoffs": table, "provenance": provenance})
    gain = 1 - optimised["pairs_per_atom"] / initial["pairs_per_atom"]
    penalty = optimised["force_rmse_ev_per_angstrom"] / initial["force_rmse_ev_per_angstrom"] - 1
    logger.info(f"{cutoffs}: {subset}, lambda {lam:g}: {gain:.1%} fewer pairs for {penalty:+.2%} force RMSE (test)")
    return {"seed": seed, "subset": subset, "lambda": lam}


def choose_cutoffs(study, train: Path, val: Path, model: Path, subset: str, seed: int, choice: Path) -> dict:
    """Choose the lambda of a subset by cross-validation over groups of its training and validation structures.

    L-BFGS from the initial cutoff upwards, whatever optimiser the calibrations use.
    """
    import torch

    from fcl.calibration.choice import choose_lambda
    from fcl.calibration.path import CalibrationPlan
    from fcl.data.batch import GraphData
    from fcl.data.store import joined_subset, read_store

    began = time.process_time()
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
    chosen = "none" if found.lam is None else f"{found.lam:g}"
    logger.info(f"{choice}: {subset}: lambda {chosen} within {settings.max_error_increase:.0%}")
    return {"seed": seed, "subset": subset}
