"""Figures 5 and 9: force and energy error against pairs per atom with optimised cutoffs, one panel per subset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fcl.study.figures.common import (
    ANGSTROM,
    ENERGY_RMSE_LABEL,
    FORCE_RMSE_LABEL,
    PAIRS_LABEL,
    TEXT_WIDTH,
    PathLike,
    over_seeds,
    power_of_ten,
    read_tables,
    save,
    save_table,
    seeds_note,
    spread,
    styled,
)

FORCE, ENERGY, PAIRS = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "pairs_per_atom"
#: Error drawn -> its column in the calibration tables, in eV.
SOURCES = {FORCE: "force_rmse_ev_per_angstrom", ENERGY: "energy_rmse_ev_per_atom"}
COLUMNS = ("seed", "subset", "lambda", "configuration", "cutoff_angstrom", PAIRS)
START = {"linestyle": "none", "marker": "D", "markerfacecolor": "white", "markersize": 5}
LABEL_DISTANCE = 9.0  # points from the centre of a label to its data point


def tradeoff_table(calibration_metrics: Sequence[PathLike], error: str = FORCE) -> pd.DataFrame:
    """The numbers of Fig. 5, or of Fig. 9 if ``error`` is ``ENERGY``, with subsets in file order.

    Columns: ``subset``, ``configuration`` (``initial`` or ``optimised``), ``lambda`` (empty for
        ``initial``), ``cutoff_angstrom`` (of ``initial``), ``seeds``, and mean and standard deviation of
        ``error`` and ``pairs_per_atom``.

    Raises:
        ValueError: a table lacks a column, or there is no optimised configuration.
    """
    table = read_tables(calibration_metrics, (*COLUMNS, SOURCES[error]))
    if (table["subset"] != "all").any():
        table = table[table["subset"] != "all"]
    if not (table["configuration"] == "optimised").any():
        raise ValueError("no row with configuration 'optimised' in the tables")
    table = table.assign(**{error: 1000.0 * table[SOURCES[error]]})
    initial = table["configuration"] == "initial"
    table["cutoff_angstrom"] = table["cutoff_angstrom"].where(initial)  # a single cutoff only at the start
    table.loc[initial, "lambda"] = np.nan  # every job repeats the starting point, which does not depend on lambda
    table = table[~(initial & table.duplicated(["subset", "seed", "configuration"]))]
    order = {subset: index for index, subset in enumerate(table["subset"].unique())}
    result = over_seeds(table, ("subset", "configuration", "lambda", "cutoff_angstrom"), (error, PAIRS))
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
    """Draw Fig. 5 (force RMSE) from calibration tables, write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        calibration_metrics: ``calibration/*_metrics.csv``.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
    """
    return _figure(tradeoff_table(calibration_metrics), FORCE, FORCE_RMSE_LABEL, png, pdf, csv, title)


def figure_09(
    calibration_metrics: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
) -> pd.DataFrame:
    """Draw Fig. 9 (RMSE of the energy per atom); arguments and result as for :func:`figure_05`."""
    return _figure(tradeoff_table(calibration_metrics, ENERGY), ENERGY, ENERGY_RMSE_LABEL, png, pdf, csv, title)


def _figure(
    table: pd.DataFrame, error: str, label: str, png: PathLike, pdf: PathLike, csv: PathLike | None, title: str
) -> pd.DataFrame:
    subsets = list(table["subset"].unique())
    start = ", ".join(f"{cutoff:.1f}" for cutoff in sorted(table["cutoff_angstrom"].dropna().unique()))
    columns = min(2, len(subsets))
    rows = -(-len(subsets) // columns)
    with styled(TEXT_WIDTH, 0.9 + 2.0 * rows, title + seeds_note(table)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (axes, subset) in enumerate(zip(panels, subsets, strict=False)):
            _panel(axes, table[table["subset"] == subset], error, color=f"C{index}")
            axes.set_title(subset)
            if index % columns == 0:
                axes.set_ylabel(label)
            if index >= len(subsets) - columns:
                axes.set_xlabel(PAIRS_LABEL)
        for axes in panels[len(subsets) :]:
            axes.set_visible(False)
        keys = (
            Line2D([], [], color="0.3", marker="o", label="optimised cutoffs, λ beside each point"),
            Line2D([], [], color="0.3", label=f"start: uniform {start} {ANGSTROM}", **START),
        )
        figure.legend(handles=keys, loc="outside lower center", ncols=2)
        _label_points(figure, table, error, dict(zip(subsets, panels, strict=False)))
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _panel(axes: Axes, table: pd.DataFrame, error: str, *, color: str) -> None:
    """One subset: the curve over lambda and the uniform start (open marker)."""
    optimised = table[table["configuration"] == "optimised"]
    initial = table[table["configuration"] == "initial"]
    for part, style in ((optimised, {"marker": "o", "label": "optimised"}), (initial, {**START, "label": "start"})):
        if len(part):
            axes.errorbar(
                part[f"{PAIRS}_mean"],
                part[f"{error}_mean"],
                xerr=spread(part, PAIRS),
                yerr=spread(part, error),
                color=color,
                **style,
            )
    axes.margins(x=0.14, y=0.22)


def _label_points(figure: Figure, table: pd.DataFrame, error: str, panels: dict[str, Axes]) -> None:
    """Label each point with lambda, as far as possible from the curve, markers, error bars and other labels."""
    figure.draw_without_rendering()  # free space around a point depends on the layout
    angles = np.deg2rad(np.arange(0.0, 360.0, 22.5))
    directions = LABEL_DISTANCE * np.stack([1.25 * np.cos(angles), np.sin(angles)], axis=1)  # labels are wide
    for subset, axes in panels.items():
        rows = table[table["subset"] == subset]
        points = rows[[f"{PAIRS}_mean", f"{error}_mean"]].to_numpy()
        positions = axes.transData.transform(points) * 72.0 / figure.dpi  # in points, like the label distances
        optimised = (rows["configuration"] == "optimised").to_numpy()
        steps = np.linspace(0.0, 1.0, 50)[:, None]
        curve = positions[optimised]
        taken = [positions, *(a + steps * (b - a) for a, b in zip(curve[:-1], curve[1:], strict=True))]
        for axis, name in enumerate((f"{PAIRS}_std", f"{error}_std")):  # None for a single seed
            reach = np.zeros_like(points)
            reach[:, axis] = rows[name].fillna(0.0)
            ends = (axes.transData.transform(points + sign * reach) * 72.0 / figure.dpi for sign in (-1.0, 1.0))
            taken += [a + steps * (b - a) for a, b in zip(*ends, strict=True)]
        for value, data, point in zip(rows.loc[optimised, "lambda"], points[optimised], curve, strict=True):
            obstacles = np.concatenate(taken)
            distances = np.linalg.norm((point + directions)[:, None] - obstacles, axis=2).min(axis=1)
            offset = directions[np.argmax(distances.round(3))]
            taken.append(point + offset + [[-5.0, 0.0], [0.0, 0.0], [5.0, 0.0]])
            axes.annotate(
                power_of_ten(value),
                data,
                xytext=offset,
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=6.5,
            )
