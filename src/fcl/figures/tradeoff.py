"""Figure 5: force error against pairs per atom with optimised cutoffs, one panel a subset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fcl.figures.common import (
    ANGSTROM,
    FORCE_RMSE_LABEL,
    PAIRS_LABEL,
    TEXT_WIDTH,
    PathLike,
    over_seeds,
    read_tables,
    save,
    save_table,
    styled,
)

COLUMNS = (
    "seed",
    "subset",
    "lambda",
    "configuration",
    "cutoff_angstrom",
    "force_rmse_ev_per_angstrom",
    "pairs_per_atom",
)
START = {"linestyle": "none", "marker": "D", "markerfacecolor": "white", "markersize": 5}
VALUES = ("force_rmse_mev_per_angstrom", "pairs_per_atom")


def tradeoff_table(calibration_metrics: Sequence[PathLike]) -> pd.DataFrame:
    """The numbers of Fig. 5, with subsets in the order of the files.

    Columns: ``subset``, ``configuration`` (``initial`` or ``optimised``), ``lambda`` (empty for
        ``initial``), ``seeds``, and mean and standard deviation of ``force_rmse_mev_per_angstrom`` and
        ``pairs_per_atom``.

    Raises:
        ValueError: a table lacks a column, or there is no optimised configuration.
    """
    table = read_tables(calibration_metrics, COLUMNS)
    if (table["subset"] != "all").any():
        table = table[table["subset"] != "all"]
    if not (table["configuration"] == "optimised").any():
        raise ValueError("Fig. 5: no row with configuration 'optimised' in the tables")
    table = table.assign(force_rmse_mev_per_angstrom=1000.0 * table["force_rmse_ev_per_angstrom"])
    initial = table["configuration"] == "initial"
    table["cutoff_angstrom"] = table["cutoff_angstrom"].where(initial)  # one for all atoms at the start only
    table.loc[initial, "lambda"] = np.nan  # every job repeats its starting point, which no lambda has touched
    table = table[~(initial & table.duplicated(["subset", "seed", "configuration"]))]
    order = {subset: index for index, subset in enumerate(table["subset"].unique())}
    result = over_seeds(table, ("subset", "configuration", "lambda", "cutoff_angstrom"), VALUES)
    result = result.sort_values("lambda", ascending=False, na_position="first", kind="stable")
    return result.sort_values("subset", key=lambda c: c.map(order), kind="stable", ignore_index=True)


def figure_05(
    calibration_metrics: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
) -> pd.DataFrame:
    """Draw Fig. 5 from calibration tables, write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        calibration_metrics: ``calibration/*_metrics.csv``.
        png, pdf: the figure's files.
        csv: the numbers drawn; beside ``png`` if not given.
        title: which data and study the figure shows.
    """
    table = tradeoff_table(calibration_metrics)
    subsets = list(table["subset"].unique())
    start = ", ".join(f"{cutoff:.1f}" for cutoff in sorted(table["cutoff_angstrom"].dropna().unique()))
    columns = min(2, len(subsets))
    rows = -(-len(subsets) // columns)
    with styled(TEXT_WIDTH, 0.7 + 2.1 * rows, title) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (axes, subset) in enumerate(zip(panels, subsets, strict=False)):
            _panel(axes, table[table["subset"] == subset], color=f"C{index}")
            axes.set_title(subset)
        for axes in panels[len(subsets) :]:
            axes.set_visible(False)
        keys = (
            Line2D([], [], color="0.3", marker="o", label="optimised cutoffs, λ beside each point"),
            Line2D([], [], color="0.3", label=f"start: uniform {start} {ANGSTROM}", **START),
        )
        panels[0].legend(handles=keys, loc="best")
        figure.supxlabel(PAIRS_LABEL)
        figure.supylabel(FORCE_RMSE_LABEL)
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _panel(axes: Axes, table: pd.DataFrame, *, color: str) -> None:
    """One subset: the curve over lambda with each point's lambda, and the uniform start, an open marker."""
    optimised = table[table["configuration"] == "optimised"]
    initial = table[table["configuration"] == "initial"]
    for part, style in ((optimised, {"marker": "o"}), (initial, START)):
        if len(part):
            axes.errorbar(
                part[f"{VALUES[1]}_mean"],
                part[f"{VALUES[0]}_mean"],
                xerr=_spread(part, VALUES[1]),
                yerr=_spread(part, VALUES[0]),
                color=color,
                **style,
            )
    axes.margins(x=0.14, y=0.22)
    _label_points(axes, optimised)


def _label_points(axes: Axes, optimised: pd.DataFrame) -> None:
    """Write lambda beside each point, alternately above and below where neighbours are close."""
    points = optimised.sort_values(f"{VALUES[1]}_mean")
    axes.autoscale_view()
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    x = (points[f"{VALUES[1]}_mean"].to_numpy() - left) / (right - left)
    y = (points[f"{VALUES[0]}_mean"].to_numpy() - low) / (high - low)
    below = False
    for index, value in enumerate(points["lambda"]):
        close = index > 0 and np.hypot(x[index] - x[index - 1], y[index] - y[index - 1]) < 0.12
        below = not below if close else False
        axes.annotate(
            power_of_ten(value),
            (points[f"{VALUES[1]}_mean"].iloc[index], points[f"{VALUES[0]}_mean"].iloc[index]),
            xytext=(3, -4 if below else 3),  # beside the point: a falling convex curve leaves that side free
            textcoords="offset points",
            ha="left",
            va="top" if below else "bottom",
            fontsize=6.5,
        )


def power_of_ten(value: float) -> str:
    """``1e-4`` as mathtext ``10^{-4}``; other values as ``3·10^{-4}``."""
    mantissa, exponent = f"{value:.6e}".split("e")
    digits = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if digits == "1" else rf"${digits}\cdot {power}$"


def _spread(table: pd.DataFrame, value: str) -> np.ndarray | None:
    """Standard deviations for error bars; ``None`` where there is one seed, so that no bar is drawn."""
    spread = table[f"{value}_std"].to_numpy()
    return None if np.isnan(spread).all() else np.nan_to_num(spread)
