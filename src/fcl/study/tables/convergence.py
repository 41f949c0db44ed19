"""How the calibrations ended: status, gradient that remains, bounds, all starts, evaluations and core time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.read import PathLike, json_of
from fcl.study.tables.common import Column, Table, written

SHOWN = {
    "subset": Column("subset"),
    "lambda": Column("λ", "{:.0e}"),
    "seed": Column("seed", "{:.0f}"),
    "status": Column("status"),
    "objective": Column("objective", "{:.4f}"),
    "validation_objective": Column("on val", "{:.4f}"),
    "uniform_objective": Column("uniform, equal pairs", "{:.4f}"),
    "projected_gradient": Column("projected gradient (1/Å)", "{:.1e}"),
    "at_bounds": Column("at a bound"),
    "shared_cutoff": Column("shared cutoff"),
    "starts": Column("starts (Å): objective / on val"),
    "evaluations": Column("evaluations", "{:.0f}"),
    "core_seconds": Column("core seconds", "{:.1f}"),
}


def convergence_row(path: PathLike) -> dict:
    """The row of a cutoffs file. `NotEvaluated` for a file without convergence, made before it was kept."""
    with json_of(path) as content:
        provenance = content["provenance"]
        found = provenance.get("convergence")
        if found is None:
            raise NotEvaluated(f"{path}: provenance has no convergence; calibrate again")
        return {
            **{name: provenance[name] for name in ("subset", "lambda", "seed")},
            **{name: found[name] for name in ("optimiser", "status", "objective")},
            "validation_objective": found.get("validation_objective"),
            "uniform_objective": found["uniform_of_equal_pairs"]["objective"],
            **{name: found[name] for name in ("projected_gradient", "evaluations", "core_seconds")},
            "at_bounds": ", ".join(f"{symbol} {bound}" for symbol, bound in found["at_bounds"].items()),
            "shared_cutoff": ", ".join(found["shared_cutoff"]),
            "starts": "; ".join(map(_start, found["starts"])),
        }


def _start(start: Mapping) -> str:
    checked = start.get("validation_objective")
    on_val = "" if checked is None else f" / {checked:.4f}"
    return f"{start['cutoff_angstrom']:g}: {start['objective']:.4f}{on_val}"


@written("tab:convergence")
def table_convergence(files: Sequence[PathLike]) -> Table:
    """The table from the cutoffs files ``calibration/*.json``."""
    caption = (
        "How the calibrations ended. The objective and its projected gradient are those of all calibration structures; "
        "each start was followed for some evaluations on a sample, its objective is that of all, and the calibration "
        "goes on from the lowest."
    )
    return Table(pd.DataFrame([convergence_row(path) for path in files]), SHOWN, caption)
