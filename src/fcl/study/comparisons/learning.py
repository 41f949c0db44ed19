"""Learning curve: test force RMSE of static models against the number of training structures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Difference, NotEvaluated, unpaired_difference
from fcl.study.figures.common import (
    COLUMN_WIDTH,
    FORCE_RMSE_LABEL,
    as_text,
    over_seeds,
    read_tables,
    save,
    save_table,
    seeds_note,
    spread,
    styled,
)

PathLike = str | os.PathLike[str]
ERROR = "force_rmse_mev_per_angstrom"
COLUMNS = ("model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset", "force_rmse_ev_per_angstrom")
MARKERS = ("o", "s", "^", "D", "v")


def structures_of(manifest: PathLike) -> int:
    """Number of training structures, from the run manifest of a graph store or the collected manifests of a record.

    Raises ValueError naming a file without this entry.
    """
    try:
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
        store = content["runs"]["stores/train.manifest.json"] if "runs" in content else content
        return int(store["extra"]["structures"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{manifest}: says nothing of extra.structures ({error})") from None


def errors_by_size(metrics: Sequence[PathLike], stores: Sequence[PathLike], cutoff: float) -> pd.DataFrame:
    """Test force RMSE (meV/A) of each static model at ``cutoff`` (A): structures, subset, seed, `ERROR`.

    ``metrics`` has one file per model, ``stores`` the run manifest of the training store of each. Raises ValueError if
    a column is missing or there is no static model at the cutoff.
    """
    tables = []
    for file, store in zip(metrics, stores, strict=True):
        table = read_tables([file], COLUMNS).assign(structures=structures_of(store))
        tables.append(table[(table["model_kind"] == "static") & np.isclose(table["cutoff_angstrom"], cutoff)])
    joined = pd.concat(tables, ignore_index=True)
    if joined.empty:
        raise ValueError(f"no static model at {cutoff:g} A in the tables")
    return joined.assign(**{ERROR: 1000.0 * joined["force_rmse_ev_per_angstrom"]})


def gain_of_last_step(errors: pd.DataFrame) -> tuple[int, int, Difference]:
    """The two largest training set sizes, and the decrease of the error between them (fraction of the mean)."""
    rows = errors[errors["subset"] == "all"]
    sizes = sorted(rows["structures"].unique())[-2:]
    if len(sizes) < 2:
        raise NotEvaluated("a learning curve needs two numbers of structures")
    few, many = (dict(rows[rows["structures"] == size].set_index("seed")[ERROR]) for size in sizes)
    change, mean = unpaired_difference(few, many), float(np.mean(list(few.values())))
    return sizes[0], sizes[1], Difference(change.value / mean, change.half_width / mean)


def learning_curve(
    metrics: Sequence[PathLike], stores: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike, *,
    cutoff: float, title: str,
) -> pd.DataFrame:  # fmt: skip
    """Draw the learning curve, write PNG, PDF and CSV (one row per model), and return its rows.

    Args:
        metrics, stores: as for `errors_by_size`.
        png, pdf, csv: output files.
        cutoff: cutoff of the static models (A).
        title: data shown in the figure.
    """
    errors = errors_by_size(metrics, stores, cutoff)
    table = over_seeds(errors, ("subset", "structures"), (ERROR,))
    with styled(COLUMN_WIDTH, 3.2, f"{title}; static models at {cutoff:g} Å{seeds_note(table)}") as figure:
        axes = figure.subplots()
        for index, (subset, rows) in enumerate(table.groupby("subset", sort=True)):
            name = "all structures" if subset == "all" else as_text(subset)
            axes.errorbar(
                rows["structures"], rows[f"{ERROR}_mean"], yerr=spread(rows, ERROR), label=name, capsize=2,
                color="0.2" if subset == "all" else f"C{index}", marker=MARKERS[index % len(MARKERS)],
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = sorted(errors["structures"].unique())
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set_yticks(_round_ticks(table[f"{ERROR}_mean"]))
        axes.set_xlabel("training structures")
        axes.set_ylabel(FORCE_RMSE_LABEL)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        save(figure, png, pdf)
    save_table(errors[["subset", "structures", "seed", ERROR]], png, csv)
    return errors


def _round_ticks(values: pd.Series) -> list[float]:
    """Round numbers spanning ``values``, roughly evenly spaced on a logarithmic axis."""
    low, high = float(values.min()) * 0.9, float(values.max()) * 1.1
    candidates = [digit * 10.0**power for power in range(6) for digit in (1, 1.5, 2, 3, 4, 5, 6, 8)]
    return [value for value in candidates if low <= value <= high] or [float(f"{low:.1g}")]
