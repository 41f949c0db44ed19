"""Figures 3 and 8: force and energy error against the uniform cutoff, FCL and one static model per cutoff.

All test structures, and each subset beside them; trivial predictions (zero forces, energies linear in the composition).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fcl.study.figures.common import (
    ALL,
    ANGSTROM,
    COLUMN_WIDTH,
    ENERGY_RMSE_LABEL,
    FORCE_RMSE_LABEL,
    PAIRS_LABEL,
    TEXT_WIDTH,
    PathLike,
    as_text,
    over_seeds,
    panel_title,
    read_tables,
    save,
    save_table,
    seeds_note,
    spread,
    styled,
    subset_style,
    trivial_level,
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
#: Trivial predictions, as they are called in the figures.
TRIVIAL = {FORCE: "zero forces", ENERGY: "composition"}
#: Line of the FCL model and marker of the static ones, in the colour of the subset.
FCL = {"marker": ".", "label": "one FCL model"}
STATIC = {
    "linestyle": "none", "marker": "s", "markerfacecolor": "white", "label": "static: one model per cutoff",
}  # fmt: skip
CUTOFF_LABEL = f"uniform cutoff ({ANGSTROM})"


def uniform_table(metrics: Sequence[PathLike], values: Sequence[str] = (FORCE, PAIRS)) -> pd.DataFrame:
    """The numbers of Figs. 3 and 8, for all test structures and for each subset.

    FCL models at every cutoff, static models at their own, trivial predictions (if given) at none. Columns:
    ``model_kind``, ``subset``, ``cutoff_angstrom``, ``seeds``, and mean and standard deviation of each of ``values``.

    Raises:
        ValueError: a table lacks a column, or holds no row of an FCL model over all subsets.
    """
    table = read_tables(metrics, (*COLUMNS, *(SOURCES[value][0] for value in values)))
    own = np.isclose(table["training_cutoff_angstrom"].astype(float), table["cutoff_angstrom"])
    table = table[table["model_kind"].isin(["fcl", "trivial"]) | ((table["model_kind"] == "static") & own)]
    if not ((table["model_kind"] == "fcl") & (table["subset"] == ALL)).any():
        raise ValueError("no row with model_kind 'fcl' and subset 'all' in the tables")
    scaled = {value: factor * table[column] for value, (column, factor) in SOURCES.items() if value in values}
    table = table.assign(cutoff_angstrom=table["cutoff_angstrom"].round(6), **scaled)
    return over_seeds(table, ("model_kind", "subset", "cutoff_angstrom"), values)


def figure_03(
    metrics: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw Fig. 3 (force RMSE of all test structures and of each subset, and pairs per atom).

    Writes PNG, PDF and CSV, and returns the numbers drawn.

    Args:
        metrics: ``metrics/fcl_seed*.csv``, ``metrics/static_*.csv`` and ``metrics/trivial.csv``.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
    """
    return _figure(uniform_table(metrics), (FORCE, PAIRS), png, pdf, csv, title)


def figure_08(
    metrics: Sequence[PathLike], png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw Fig. 8 (RMSE of the energy per atom); arguments and result as for :func:`figure_03`."""
    return _figure(uniform_table(metrics, (ENERGY,)), (ENERGY,), png, pdf, csv, title)


def _figure(table: pd.DataFrame, values: Sequence[str], png, pdf, csv, title: str) -> pd.DataFrame:
    """A panel of the first of ``values`` for all structures and each subset, then one of each other value for all."""
    subsets = [ALL, *sorted(set(table["subset"]) - {ALL})]
    panels = [(subset, values[0]) for subset in subsets] + [(ALL, value) for value in values[1:]]
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    models = table[table["model_kind"] != "trivial"]
    with styled(TEXT_WIDTH if columns > 1 else COLUMN_WIDTH, 0.5 + 2.0 * rows, title + seeds_note(models)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, (axes, (subset, value)) in enumerate(zip(grid.flat, panels, strict=False)):
            part = table[table["subset"] == subset]
            _curves(axes, part, value, subset_style(subset)["color"])
            axes.set_title(panel_title(index, "all test structures" if subset == ALL else as_text(subset)))
            if value == PAIRS:
                axes.set_ylim(bottom=0)
            elif len(trivial := part.loc[part["model_kind"] == "trivial", f"{value}_mean"]):
                trivial_level(axes, float(trivial.iloc[0]))
            axes.set_ylabel(LABELS[value])
            axes.set_xlabel(CUTOFF_LABEL)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        kinds = [FCL, *([STATIC] if "static" in set(table["model_kind"]) else [])]
        handles = [Line2D([], [], color="0.4", **kind) for kind in kinds]
        if "trivial" in set(table["model_kind"]):
            name = f"trivial prediction: {TRIVIAL[values[0]]} (dashed where in range)"
            handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1.0, label=name))
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _curves(axes: Axes, table: pd.DataFrame, value: str, color: str) -> None:
    """FCL as a line with a band of one standard deviation, static models as markers with error bars."""
    fcl, static = (table[table["model_kind"] == kind] for kind in ("fcl", "static"))
    x, mean, deviation = fcl["cutoff_angstrom"], fcl[f"{value}_mean"], spread(fcl, value)
    if deviation is not None:
        axes.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.25, linewidth=0)
    axes.plot(x, mean, color=color, **FCL)
    if len(static):
        y, errors = static[f"{value}_mean"], spread(static, value)
        axes.errorbar(static["cutoff_angstrom"], y, yerr=errors, color=color, **STATIC)
