"""Figures 3 and 8: force and energy error against the uniform cutoff, FCL and one static model per cutoff.

All test structures, and each subset beside them; trivial predictions (zero forces, energies linear in the composition).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fcl.study.figures import common
from fcl.study.figures.common import ANGSTROM, ENERGY, FORCE, PAIRS, TEXT_WIDTH, Drawing, drawn
from fcl.study.read import PathLike, read_tables

COLUMNS = ("model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset")
#: Line of the FCL model and marker of the static ones, in the colour of the subset.
FCL = {"marker": ".", "label": "one FCL model"}
STATIC = {
    "linestyle": "none", "marker": "s", "markerfacecolor": "white", "label": "static: one model per cutoff",
}  # fmt: skip
CUTOFF_LABEL = f"uniform cutoff ({ANGSTROM})"


def models_at_uniform_cutoffs(metrics: Sequence[PathLike], values: Sequence[str]) -> pd.DataFrame:
    """Rows of ``metrics/*.csv``: FCL models at every cutoff, static models at their own, trivial predictions."""
    table = read_tables(metrics, (*COLUMNS, *(common.SOURCES[value][0] for value in values)), "metrics")
    own = np.isclose(table["training_cutoff_angstrom"].astype(float), table["cutoff_angstrom"])
    return table[table["model_kind"].isin(["fcl", "trivial"]) | ((table["model_kind"] == "static") & own)]


def uniform_table(metrics: Sequence[PathLike], values: Sequence[str] = (FORCE, PAIRS)) -> pd.DataFrame:
    """The numbers of Figs. 3 and 8, for all test structures and for each subset.

    FCL models at every cutoff, static models at their own, trivial predictions (if given) at none. Columns:
    ``model_kind``, ``subset``, ``cutoff_angstrom``, ``seeds``, and mean and standard deviation of each of ``values``.
    Raises ValueError if there is no row of an FCL model over all subsets.
    """
    table = models_at_uniform_cutoffs(metrics, values)
    if not ((table["model_kind"] == "fcl") & (table["subset"] == common.ALL)).any():
        raise ValueError("no row with model_kind 'fcl' and subset 'all' in the tables")
    table = common.in_units_drawn(table, values).assign(cutoff_angstrom=table["cutoff_angstrom"].round(6))
    return common.over_seeds(table, ("model_kind", "subset", "cutoff_angstrom"), values)


@drawn
def figure_03(metrics: Sequence[PathLike], *, title: str) -> Drawing:
    """Fig. 3: force RMSE of all test structures and of each subset, and pairs per atom.

    ``metrics`` are ``metrics/fcl_seed*.csv``, ``metrics/static_*.csv`` and ``metrics/trivial.csv``.
    """
    return _figure(uniform_table(metrics), (FORCE, PAIRS), title)


@drawn
def figure_08(metrics: Sequence[PathLike], *, title: str) -> Drawing:
    """Fig. 8: RMSE of the energy per atom; arguments as for `figure_03`."""
    return _figure(uniform_table(metrics, (ENERGY,)), (ENERGY,), title)


def _figure(table: pd.DataFrame, values: Sequence[str], title: str) -> Drawing:
    """A panel of the first of ``values`` for all structures and each subset, then one of each other value for all."""
    subsets = [common.ALL, *sorted(set(table["subset"]) - {common.ALL})]
    panels = [(subset, values[0]) for subset in subsets] + [(common.ALL, value) for value in values[1:]]
    width = TEXT_WIDTH if len(panels) > 1 else common.COLUMN_WIDTH
    title += common.seeds_note(table[table["model_kind"] != "trivial"])
    figure, grid = common.panel_grid(len(panels), 3, (0.5, 2.0), title, width=width)
    for index, (axes, (subset, value)) in enumerate(zip(grid, panels, strict=True)):
        part = table[table["subset"] == subset]
        _curves(axes, part, value, common.subset_style(subset)["color"])
        name = "all test structures" if subset == common.ALL else common.as_text(subset)
        axes.set_title(common.panel_title(index, name))
        if value == PAIRS:
            axes.set_ylim(bottom=0)
        elif len(trivial := part.loc[part["model_kind"] == "trivial", f"{value}_mean"]):
            common.trivial_level(axes, float(trivial.iloc[0]))
        axes.set_ylabel(common.LABELS[value])
        axes.set_xlabel(CUTOFF_LABEL)
    kinds = [FCL, *([STATIC] if "static" in set(table["model_kind"]) else [])]
    handles = [common.key(color="0.4", **kind) for kind in kinds]
    if "trivial" in set(table["model_kind"]):
        handles.append(common.trivial_key(f"trivial prediction: {common.TRIVIAL[values[0]]} (dashed where in range)"))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure, table


def _curves(axes: Axes, table: pd.DataFrame, value: str, color: str) -> None:
    """FCL as a line with a band of one standard deviation, static models as markers with error bars."""
    fcl, static = (table[table["model_kind"] == kind] for kind in ("fcl", "static"))
    x, mean, deviation = fcl["cutoff_angstrom"], fcl[f"{value}_mean"], common.spread(fcl, value)
    if deviation is not None:
        axes.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.25, linewidth=0)
    axes.plot(x, mean, color=color, **FCL)
    if len(static):
        y, errors = static[f"{value}_mean"], common.spread(static, value)
        axes.errorbar(static["cutoff_angstrom"], y, yerr=errors, color=color, **STATIC)
