"""Figure 3: force error and cost against a uniform cutoff, one FCL model against one static model a
cutoff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fcl.figures.common import (
    ANGSTROM,
    COLUMN_WIDTH,
    FORCE_RMSE_LABEL,
    PAIRS_LABEL,
    PathLike,
    over_seeds,
    read_tables,
    save,
    save_table,
    styled,
)

COLUMNS = (
    "model_kind",
    "training_cutoff_angstrom",
    "seed",
    "cutoff_angstrom",
    "subset",
    "force_rmse_ev_per_angstrom",
    "pairs_per_atom",
)


def uniform_table(metrics: Sequence[PathLike]) -> pd.DataFrame:
    """The numbers of Fig. 3: over all test structures, FCL at every cutoff and static models at their own.

    Columns: ``model_kind``, ``cutoff_angstrom``, ``seeds``, and mean and standard deviation of
    ``force_rmse_mev_per_angstrom`` and ``pairs_per_atom``.

    Raises:
        ValueError: a table lacks a column, or holds no row of an FCL model over all subsets.
    """
    table = read_tables(metrics, COLUMNS)
    table = table[table["subset"] == "all"]
    own = np.isclose(table["training_cutoff_angstrom"].astype(float), table["cutoff_angstrom"])
    table = table[(table["model_kind"] == "fcl") | ((table["model_kind"] == "static") & own)]
    if not (table["model_kind"] == "fcl").any():
        raise ValueError("Fig. 3: no row with model_kind 'fcl' and subset 'all' in the tables")
    table = table.assign(
        cutoff_angstrom=table["cutoff_angstrom"].round(6),
        force_rmse_mev_per_angstrom=1000.0 * table["force_rmse_ev_per_angstrom"],
    )
    values = ("force_rmse_mev_per_angstrom", "pairs_per_atom")
    return over_seeds(table, ("model_kind", "cutoff_angstrom"), values)


def figure_03(
    metrics: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw Fig. 3 from evaluation tables, write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        metrics: ``metrics/fcl_seed*.csv`` and ``metrics/static_*.csv``.
        png, pdf: the figure's files.
        csv: the numbers drawn; beside ``png`` if not given.
        title: which data and study the figure shows.
    """
    table = uniform_table(metrics)
    fcl = table[table["model_kind"] == "fcl"]
    static = table[table["model_kind"] == "static"]
    seeds = int(table["seeds"].max())
    spread_note = f"; mean ± s.d. of {seeds} seeds" if seeds > 1 else ""
    with styled(COLUMN_WIDTH, 3.7, title + spread_note) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1.0))
        panels = ((top, "force_rmse_mev_per_angstrom"), (bottom, "pairs_per_atom"))
        for axes, value in panels:
            mean, spread = fcl[f"{value}_mean"], fcl[f"{value}_std"].fillna(0.0)
            x = fcl["cutoff_angstrom"]
            axes.fill_between(x, mean - spread, mean + spread, color="C0", alpha=0.25, linewidth=0)
            axes.plot(x, mean, color="C0", label="one FCL model")
            if len(static):
                axes.errorbar(
                    static["cutoff_angstrom"],
                    static[f"{value}_mean"],
                    yerr=static[f"{value}_std"].fillna(0.0),
                    fmt="s",
                    color="C1",
                    label="static: one model a cutoff",
                )
        top.set_ylabel(FORCE_RMSE_LABEL)
        bottom.set_ylabel(PAIRS_LABEL)
        bottom.set_ylim(bottom=0)
        bottom.legend(loc="upper left")  # the cost rises with the cutoff: this corner is free
        bottom.set_xlabel(f"uniform cutoff ({ANGSTROM})")
        figure.align_ylabels()
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table
