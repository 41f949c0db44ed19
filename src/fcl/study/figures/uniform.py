"""Figures 3 and 8: force and energy error against the uniform cutoff, FCL and one static model per cutoff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fcl.study.figures.common import (
    ANGSTROM,
    COLUMN_WIDTH,
    ENERGY_RMSE_LABEL,
    FORCE_RMSE_LABEL,
    PAIRS_LABEL,
    PathLike,
    over_seeds,
    read_tables,
    save,
    save_table,
    seeds_note,
    spread,
    styled,
)

COLUMNS = ("model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset")
FORCE, ENERGY, PAIRS = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "pairs_per_atom"
#: Column drawn -> column of the evaluation tables, and conversion factor.
SOURCES = {
    FORCE: ("force_rmse_ev_per_angstrom", 1000.0),
    ENERGY: ("energy_rmse_ev_per_atom", 1000.0),
    PAIRS: ("pairs_per_atom", 1.0),
}
LABELS = {FORCE: FORCE_RMSE_LABEL, ENERGY: ENERGY_RMSE_LABEL, PAIRS: PAIRS_LABEL}
CUTOFF_LABEL = f"uniform cutoff ({ANGSTROM})"


def uniform_table(metrics: Sequence[PathLike], values: Sequence[str] = (FORCE, PAIRS)) -> pd.DataFrame:
    """The numbers of Figs. 3 and 8: all test structures, FCL at every cutoff, static models at their own.

    Columns: ``model_kind``, ``cutoff_angstrom``, ``seeds``, and mean and standard deviation of each of ``values``.

    Raises:
        ValueError: a table lacks a column, or holds no row of an FCL model over all subsets.
    """
    table = read_tables(metrics, (*COLUMNS, *(SOURCES[value][0] for value in values)))
    table = table[table["subset"] == "all"]
    own = np.isclose(table["training_cutoff_angstrom"].astype(float), table["cutoff_angstrom"])
    table = table[(table["model_kind"] == "fcl") | ((table["model_kind"] == "static") & own)]
    if not (table["model_kind"] == "fcl").any():
        raise ValueError("no row with model_kind 'fcl' and subset 'all' in the tables")
    scaled = {value: factor * table[column] for value, (column, factor) in SOURCES.items() if value in values}
    table = table.assign(cutoff_angstrom=table["cutoff_angstrom"].round(6), **scaled)
    return over_seeds(table, ("model_kind", "cutoff_angstrom"), values)


def figure_03(
    metrics: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw Fig. 3 (force RMSE and pairs per atom), write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        metrics: ``metrics/fcl_seed*.csv`` and ``metrics/static_*.csv``.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
    """
    table = uniform_table(metrics)
    with styled(COLUMN_WIDTH, 3.7, title + seeds_note(table)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1.0))
        _curves(top, table, FORCE)
        _curves(bottom, table, PAIRS)
        bottom.set_ylim(bottom=0)
        bottom.legend(loc="upper left")  # the cost rises with the cutoff, so this corner is free
        bottom.set_xlabel(CUTOFF_LABEL)
        figure.align_ylabels()
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def figure_08(
    metrics: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw Fig. 8 (RMSE of the energy per atom); arguments and result as for :func:`figure_03`."""
    table = uniform_table(metrics, (ENERGY,))
    with styled(COLUMN_WIDTH, 2.6, title + seeds_note(table)) as figure:
        axes = figure.subplots()
        _curves(axes, table, ENERGY)
        axes.legend(loc="best")
        axes.set_xlabel(CUTOFF_LABEL)
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _curves(axes: Axes, table: pd.DataFrame, value: str) -> None:
    """FCL as a line with a band of one standard deviation, static models as markers with error bars."""
    fcl, static = (table[table["model_kind"] == kind] for kind in ("fcl", "static"))
    x, mean, deviation = fcl["cutoff_angstrom"], fcl[f"{value}_mean"], spread(fcl, value)
    if deviation is not None:
        axes.fill_between(x, mean - deviation, mean + deviation, color="C0", alpha=0.25, linewidth=0)
    axes.plot(x, mean, color="C0", marker=".", label="one FCL model")
    if len(static):
        axes.errorbar(
            static["cutoff_angstrom"],
            static[f"{value}_mean"],
            yerr=spread(static, value),
            fmt="s",
            color="C1",
            label="static: one model a cutoff",
        )
    axes.set_ylabel(LABELS[value])
