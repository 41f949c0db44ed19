"""Stage: optimise per-element cutoffs of a subset and evaluate them on the test split."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from fcl.runs.files import write_csv, write_json
from fcl.study.stages.evaluation import METRIC_COLUMNS, model_labels
from fcl.study.stages.job import graph_data, loaded_model, record

logger = logging.getLogger(__name__)


def calibrate_cutoffs(
    study, train: Path, val: Path, test: Path, model: Path, subset: str, lam: float, seed: int, cutoffs: Path,
    history: Path, metrics: Path, manifest: Path,
) -> None:  # fmt: skip
    """Optimise the cutoffs on a subset of the training split and evaluate them on the same subset of the test split.

    The objective on the validation split is only reported.
    """
    from fcl.calibration.optimise import calibrate
    from fcl.calibration.tolerance import symbols_of
    from fcl.cutoffs.rules import element_rule, uniform_rule
    from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate

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
            **model_labels(potential),
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
        "pairs_per_atom": rows[1]["pairs_per_atom"], "convergence": result.convergence,
    }  # fmt: skip
    write_json(cutoffs, {"cutoffs": table, "provenance": provenance})
    inputs, facts = {"train": train, "val": val, "test": test, "model": model}, {"subset": subset, "lambda": lam}
    record(manifest, "calibrate_cutoffs", study, ("loss", "calibration"), inputs, started, seed=seed, extra=facts)
    gain = 1 - rows[1]["pairs_per_atom"] / rows[0]["pairs_per_atom"]
    penalty = rows[1]["force_rmse_ev_per_angstrom"] / rows[0]["force_rmse_ev_per_angstrom"] - 1
    logger.info(f"{cutoffs}: {subset}, lambda {lam:g}: {gain:.1%} fewer pairs for {penalty:+.2%} force RMSE (test)")
