"""Figures 6 and 7: optimised per-element cutoffs, of all subsets at one lambda and of one subset at several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcl.study.figures import common
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn
from fcl.study.read import PathLike, read_calibrations

CUTOFF = "cutoff_angstrom"
CUTOFF_LABEL = f"cutoff ({ANGSTROM})"
TOLERANCE = 1e-5  # A: files may hold bounds in single precision
GROUP_WIDTH = 0.8  # of an element's share of the axis, for the points of all subsets
BOUND = {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 1}
INITIAL = {"color": "0.45", "linewidth": 0.9, "zorder": 1}
POINT = {"linestyle": "none", "markersize": 3.2, "markeredgewidth": 0.8, "zorder": 3}
MEDIAN = {"linewidth": 1.6, "solid_capstyle": "butt", "alpha": 0.55, "zorder": 2}
AT_BOUND = {
    "linestyle": "none", "marker": "o", "color": "black", "markerfacecolor": "none", "markersize": 6.5,
    "markeredgewidth": 0.7, "zorder": 4,
}  # fmt: skip


def calibrated_table(files: Sequence[PathLike], bounds: tuple[float, float]) -> pd.DataFrame:
    """The rows of `read_calibrations`, and whether each cutoff is ``at_bounds`` (``lower``, ``upper`` or empty).

    Subsets in file order, lambdas descending, elements in the order of the periodic table, seeds ascending. Raises
    ValueError as `read_calibrations`, and if a seed is given twice.
    """
    table = read_calibrations(files)
    common.check_seeds(table, ("subset", "lambda", "element"))
    low, high = bounds
    at_bounds = np.select([table[CUTOFF] <= low + TOLERANCE, table[CUTOFF] >= high - TOLERANCE], ["lower", "upper"], "")
    order = {subset: index for index, subset in enumerate(table["subset"].unique())}
    ranked = table.assign(at_bounds=at_bounds, order=table["subset"].map(order)).sort_values(
        ["order", "lambda", "atomic_number", "seed"], ascending=[True, False, True, True], ignore_index=True
    )
    return ranked.drop(columns="order")


@drawn
def figure_06(
    calibrations: Sequence[PathLike], *, title: str, initial_cutoff: float, bounds: tuple[float, float]
) -> Drawing:
    """Fig. 6: elements that all subsets have, at one lambda.

    ``calibrations`` are the cutoffs files of each subset, ``initial_cutoff`` (A) is the start of the optimisation,
    ``bounds`` are those of the cutoffs (A). Raises ValueError if a file lacks a key, or the files differ in lambda.
    """
    everything = calibrated_table(calibrations, bounds)
    lambdas = everything["lambda"].unique()
    if len(lambdas) > 1:
        raise ValueError(f"cutoffs at one lambda are asked for, but the files have {sorted(lambdas)}")
    subsets = list(everything["subset"].unique())
    in_subsets = everything.groupby("element")["subset"].transform("nunique")
    table = everything[in_subsets == len(subsets)].reset_index(drop=True)
    figure = common.new_figure(
        TEXT_WIDTH, 3.0, f"{title}; λ = {common.power_of_ten(lambdas[0])}{_points_note(everything)}"
    )
    axes = figure.subplots()
    elements = _panel(axes, table, table, subsets, initial_cutoff, bounds)
    if not elements:
        axes.text(0.5, 0.3, "no element occurs in all subsets", transform=axes.transAxes, ha="center")
    _legend(figure, table, subsets, initial_cutoff)
    return figure, table


@drawn
def figure_07(
    calibrations: Sequence[PathLike], *, title: str, initial_cutoff: float, bounds: tuple[float, float]
) -> Drawing:
    """Fig. 7: every element of one subset, one panel per lambda; arguments as for `figure_06`.

    Raises ValueError if a file lacks a key, or the files differ in subset.
    """
    table = calibrated_table(calibrations, bounds)
    subsets = list(table["subset"].unique())
    if len(subsets) > 1:
        raise ValueError(f"cutoffs of one subset are asked for, but the files have {', '.join(subsets)}")
    lambdas = list(table["lambda"].unique())
    title = f"{title}; {subsets[0]}{_points_note(table)}"
    figure, panels = common.panel_grid(len(lambdas), 2, (0.8, 1.6), title, sharex=True, sharey=True)
    for index, (axes, lam) in enumerate(zip(panels, lambdas, strict=True)):
        _panel(axes, table[table["lambda"] == lam], table, subsets, initial_cutoff, bounds)
        axes.label_outer()
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_title(common.panel_title(index, f"λ = {common.power_of_ten(lam)}"))
    _legend(figure, table, subsets, initial_cutoff)
    return figure, table


def _points_note(table: pd.DataFrame) -> str:
    """What the points are, appended to a title."""
    seeds = table.groupby(["subset", "lambda"])["seed"].nunique()
    fewest, most = int(seeds.min()), int(seeds.max())
    if most == 1:
        return f"; seed {table['seed'].iloc[0]}" if table["seed"].nunique() == 1 else "; one seed each"
    return f"; a point for each of {most if fewest == most else f'{fewest} to {most}'} seeds"


def _panel(
    axes: Axes, rows: pd.DataFrame, table: pd.DataFrame, subsets: list[str], initial: float,
    bounds: tuple[float, float],
) -> list[str]:  # fmt: skip
    """The points of ``rows`` side by side: elements of ``table``, within each the subsets, within each the seeds.

    Filled: a cutoff of its own; open: a shared one; cross: not calibrated; circled: at a bound. A bar is the median
    over seeds. Returns the elements.
    """
    elements = list(table.sort_values("atomic_number")["element"].unique())
    for index in range(1, len(elements), 2):
        axes.axvspan(index - 0.5, index + 0.5, color="0.96", linewidth=0, zorder=0)
    _cutoff_axis(axes, rows, initial, bounds)
    width = GROUP_WIDTH / len(subsets)
    for number, subset in enumerate(subsets):
        style = common.subset_style(subset)
        for element, group in rows[rows["subset"] == subset].groupby("element", sort=False):
            centre = elements.index(element) + width * (number - (len(subsets) - 1) / 2)
            step = min(0.15, 0.65 * width / max(len(group) - 1, 1))
            x = centre + step * (np.arange(len(group)) - (len(group) - 1) / 2)
            if len(group) > 1:
                ends = centre + 0.4 * min(width, 0.6) * np.array([-1.0, 1.0])
                axes.plot(ends, 2 * [group[CUTOFF].median()], color=style["color"], **MEDIAN)
            _points(axes, x, group, style)
    axes.set_xticks(range(len(elements)), elements)
    axes.set_xlim(-0.6, max(len(elements), 1) - 0.4)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
    return elements


def _cutoff_axis(axes: Axes, rows: pd.DataFrame, initial: float, bounds: tuple[float, float]) -> None:
    """Axis with lines at the initial cutoff and the bounds, whose tick labels say so."""
    low, high = min(bounds[0], rows[CUTOFF].min()), max(bounds[1], rows[CUTOFF].max())  # NaN, if empty, is not smaller
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    between = [value for value in range(math.ceil(low), int(high) + 1) if min(abs(value - b) for b in bounds) > 0.3]
    ticks = {bounds[0]: "bound ", **dict.fromkeys(between, ""), bounds[1]: "bound "}
    axes.set_yticks(list(ticks), [f"{word}{value:.1f}" for value, word in ticks.items()])
    for bound in bounds:
        axes.axhline(bound, **BOUND)
    axes.axhline(initial, **INITIAL)
    axes.set_ylabel(CUTOFF_LABEL)


def _points(axes: Axes, x: np.ndarray, group: pd.DataFrame, style: dict[str, str]) -> None:
    """One marker per seed, circled at a bound."""
    for position, row in zip(x, group.itertuples(), strict=True):
        marker = style["marker"] if row.calibrated else "x"
        face = "white" if row.shared else style["color"]
        axes.plot(position, row.cutoff_angstrom, marker, color=style["color"], markerfacecolor=face, **POINT)
        if row.at_bounds:
            axes.plot(position, row.cutoff_angstrom, **AT_BOUND)


def _legend(figure: Figure, table: pd.DataFrame, subsets: list[str], initial: float) -> None:
    """Legend below the panels, with an entry for each kind of mark that occurs."""
    handles = [common.key(subset, **common.subset_style(subset), **POINT) for subset in subsets]
    grey = {"color": "0.4", "marker": "o", **POINT}
    if table.duplicated(["subset", "lambda", "element"]).any():
        handles.append(common.key("median of the seeds", color="0.4", **MEDIAN))
    handles.append(common.key(f"initial: {initial:.1f} {ANGSTROM}", **INITIAL))
    if table["shared"].any():
        handles.append(common.key("cutoff shared by rare elements (open)", **grey, markerfacecolor="white"))
    if not table["calibrated"].all():
        handles.append(common.key("not calibrated: kept initial", **{**grey, "marker": "x"}))
    if (table["at_bounds"] != "").any():
        handles.append(common.key("at a bound (circled)", **AT_BOUND))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
