"""Calibration without labels, otherwise identical to that with labels and evaluated on the same labels."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from fcl.calibration.folds import errors_at
from fcl.calibration.optimise import calibrate
from fcl.calibration.tolerance import labelled_by, symbols_of
from fcl.data.batch import GraphData
from fcl.evaluation.errors import force_rmse
from fcl.runs.files import write_csv, write_json
from fcl.study.stages.job import compute, record

logger = logging.getLogger(__name__)

COLUMNS = (
    "lambda", "configuration", "seed", "cutoff_angstrom", "subset", "structures", "atoms",
    "force_rmse_ev_per_angstrom", "force_mae_ev_per_angstrom", "energy_rmse_ev_per_atom", "energy_mae_ev_per_atom",
    "pairs_per_atom", "added_force_rmse_ev_per_angstrom",
)  # fmt: skip


def calibrate_unlabelled(
    study, train: Path, test: Path, model: Path, subset: str, lam: float, seed: int, cutoffs: Path, metrics: Path,
    manifest: Path,
) -> None:  # fmt: skip
    """Stage: as `calibrate_cutoffs`, with pseudo-labels from the model at the initial cutoff.

    The rows are errors against the labels of the test split; ``added_force_rmse_ev_per_angstrom`` is the deviation from
    the model's own forces at the initial cutoff, the only error known without labels.
    """
    from fcl.data.store import read_store
    from fcl.models.files import load

    started = time.time()
    settings = study.calibration
    dtype, device = compute(study)
    data, held_out = (GraphData(read_store(path), dtype, device) for path in (train, test))
    potential = load(model, dtype=dtype, device=device, backend=study.compute.backend)
    indices, members = data.members(subset), held_out.members(subset)
    settings.check_reach(len(indices), subset)
    held_out.require_pairs(f"{subset}, test", settings.initial_cutoff, members)
    own = labelled_by(potential, data, settings.initial_cutoff, indices)
    result = calibrate(potential, own, settings, study.loss, lam, seed=seed, indices=indices)
    # Elements missing in the calibration structures keep the initial cutoff.
    table = dict.fromkeys(symbols_of(held_out, members), settings.initial_cutoff) | result.cutoffs
    own_test = labelled_by(potential, held_out, settings.initial_cutoff, members)
    rows = []
    for configuration, values in (("initial", settings.initial_cutoff), ("optimised", table)):
        labels = {
            "lambda": lam, "configuration": configuration, "seed": seed, "subset": subset,
            "cutoff_angstrom": settings.initial_cutoff if configuration == "initial" else "",
        }  # fmt: skip
        errors = errors_at(potential, held_out, values, members).metrics()
        added = force_rmse(errors_at(potential, own_test, values, members))
        rows.append({**labels, **errors, "added_force_rmse_ev_per_angstrom": added})
    write_csv(metrics, rows, COLUMNS)
    provenance = {
        "study": study.name, "subset": subset, "split": settings.split, "lambda": lam, "seed": seed,
        "labels": f"the model's own at {settings.initial_cutoff:g} A",
        "weights_sha256": potential.card["weights_sha256"], "not_calibrated": sorted(set(table) - set(result.cutoffs)),
        "force_rmse_ev_per_angstrom": rows[1]["force_rmse_ev_per_angstrom"],
        "pairs_per_atom": rows[1]["pairs_per_atom"], "convergence": result.convergence,
    }  # fmt: skip
    write_json(cutoffs, {"cutoffs": table, "provenance": provenance})
    inputs, facts = {"train": train, "test": test, "model": model}, {"subset": subset, "lambda": lam}
    record(manifest, "calibrate_unlabelled", study, ("loss", "calibration"), inputs, started, seed=seed, extra=facts)
    logger.info(f"{cutoffs}: {subset}, lambda {lam:g}, without labels, {time.time() - started:.0f} s")
