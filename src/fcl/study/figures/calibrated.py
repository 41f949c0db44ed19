"""Figures 6 and 7: optimised per-element cutoffs, of all subsets at one lambda and of one subset at several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fcl.config.types import SYMBOLS
from fcl.study.figures.common import (
    ANGSTROM,
    COLUMN_WIDTH,
    TEXT_WIDTH,
    PathLike,
    over_seeds,
    panel_title,
    power_of_ten,
    save,
    save_table,
    seeds_note,
    spread,
    styled,
)

MARKERS = ("o", "s", "^", "D", "v", "P")
CUTOFF = "cutoff_angstrom"
CUTOFF_LABEL = f"cutoff ({ANGSTROM})"
BOUND = {"color": "0.55", "linewidth": 0.7, "linestyle": (0, (4, 3)), "zorder": 1}
INITIAL = {"linestyle": "none", "color": "C0", "marker": "_", "markersize": 8, "markeredgewidth": 2}
STEM = {"color": "0.75", "linewidth": 0.8, "zorder": 1}
OPTIMISED = {"color": "C1", "marker": "o"}


def read_calibrations(files: Sequence[PathLike]) -> pd.DataFrame:
    """Calibrated cutoffs, one row per element of each file, in file order.

    Columns: ``subset``, ``lambda``, ``seed``, ``element``, ``atomic_number``, ``cutoff_angstrom``, ``calibrated``
    (false if an element is not in the calibration structures and kept its initial cutoff).

    Raises:
        ValueError: no files were given, or one lacks a key or has a cutoff for an unknown element; the message
            names file and key.
    """
    if not files:
        raise ValueError("a figure needs at least one file of calibrated cutoffs")
    rows = []
    for file in files:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        try:
            facts = {key: content["provenance"][key] for key in ("subset", "lambda", "seed")}
            cutoffs, kept = content["cutoffs"], content["provenance"]["not_calibrated"]
        except KeyError as error:
            raise ValueError(f"{file}: key {error} is missing") from None
        unknown = [element for element in cutoffs if element not in SYMBOLS]
        if unknown:
            raise ValueError(f"{file}: cutoffs: {unknown[0]!r} is not a chemical symbol")
        for element in cutoffs:
            number = 1 + SYMBOLS.index(element)
            labels = {"element": element, "atomic_number": number, "calibrated": element not in kept}
            rows.append({**facts, **labels, CUTOFF: float(cutoffs[element])})
    return pd.DataFrame(rows)


def calibrated_table(files: Sequence[PathLike]) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each optimised cutoff.

    Columns: ``subset``, ``lambda``, ``element``, ``atomic_number``, ``calibrated`` (for every seed), ``seeds`` and
    mean and standard deviation of ``cutoff_angstrom``; subsets in file order, lambdas descending, elements in the order
    of the periodic table. Raises ValueError as :func:`read_calibrations`.
    """
    table = read_calibrations(files)
    keys = ["subset", "lambda", "element", "atomic_number"]
    table["calibrated"] = table.groupby(keys)["calibrated"].transform("all")
    order = {subset: index for index, subset in enumerate(table["subset"].unique())}
    result = over_seeds(table, (*keys, "calibrated"), (CUTOFF,))
    ranked = result.assign(order=result["subset"].map(order))
    ranked = ranked.sort_values(["order", "lambda", "atomic_number"], ascending=[True, False, True])
    return ranked.drop(columns="order").reset_index(drop=True)


def common_elements(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the elements common to all subsets of ``table``."""
    occurrences = table.groupby("element")["subset"].nunique()
    common = occurrences.index[occurrences == table["subset"].nunique()]
    return table[table["element"].isin(common)].reset_index(drop=True)


def figure_06(
    calibrations: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    initial_cutoff: float,
    bounds: tuple[float, float],
) -> pd.DataFrame:
    """Draw Fig. 6 (elements that all subsets have, one lambda), write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        calibrations: ``calibration/<subset>_lambda<lambda>_seed<seed>.json`` of each subset, all with the same lambda.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
        initial_cutoff: start of the optimisation (A).
        bounds: bounds of the cutoffs (A).

    Raises:
        ValueError: a file lacks a key, or the files differ in lambda.
    """
    everything = calibrated_table(calibrations)
    lambdas = everything["lambda"].unique()
    if len(lambdas) > 1:
        raise ValueError(f"cutoffs at one lambda are asked for, but the files have {sorted(lambdas)}")
    table, subsets = common_elements(everything), list(everything["subset"].unique())
    elements = list(table.sort_values("atomic_number")["element"].unique())
    note = f"; λ = {power_of_ten(lambdas[0])}{seeds_note(table)}"
    with styled(COLUMN_WIDTH, 3.0, title + note) as figure:
        axes = figure.subplots()
        _cutoff_axis(axes, initial_cutoff, bounds, table, color="0.35")
        axes.set_ylabel(CUTOFF_LABEL)
        for index, subset in enumerate(subsets):
            rows = table[table["subset"] == subset].set_index("element").reindex(elements).reset_index()
            x = np.arange(len(elements)) + 0.17 * (index - (len(subsets) - 1) / 2)
            style = {"color": f"C{index}", "marker": MARKERS[index % len(MARKERS)], "label": subset}
            _cutoffs(axes, x, rows, initial_cutoff, **style)
        _element_axis(axes, elements)
        if not elements:
            axes.text(0.5, 0.3, "no element occurs in all subsets", transform=axes.transAxes, ha="center")
        handles = axes.get_legend_handles_labels()[0][: len(subsets)]
        start = Line2D([], [], color="0.35", linewidth=0.9)
        _legend(figure, [*handles, start], [*subsets, _start_label(initial_cutoff)], table)
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def figure_07(
    calibrations: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    initial_cutoff: float,
    bounds: tuple[float, float],
) -> pd.DataFrame:
    """Draw Fig. 7 (every element of one subset, one panel per lambda), write PNG, PDF and CSV, and return the numbers.

    Args:
        calibrations: ``calibration/<subset>_lambda<lambda>_seed<seed>.json`` of one subset.
        png, pdf, csv, title, initial_cutoff, bounds: as for :func:`figure_06`.

    Raises:
        ValueError: a file lacks a key, or the files differ in subset.
    """
    table = calibrated_table(calibrations)
    subsets = table["subset"].unique()
    if len(subsets) > 1:
        raise ValueError(f"cutoffs of one subset are asked for, but the files have {', '.join(subsets)}")
    table.insert(table.columns.get_loc(f"{CUTOFF}_mean"), f"initial_{CUTOFF}", initial_cutoff)
    elements = list(table.sort_values("atomic_number")["element"].unique())
    lambdas = list(table["lambda"].unique())
    columns = min(2, len(lambdas))
    rows = -(-len(lambdas) // columns)
    with styled(TEXT_WIDTH, 0.8 + 1.6 * rows, f"{title}; {subsets[0]}{seeds_note(table)}") as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for index, (axes, lam) in enumerate(zip(panels, lambdas, strict=False)):
            part = table[table["lambda"] == lam].set_index("element").reindex(elements).reset_index()
            _cutoff_axis(axes, initial_cutoff, bounds, table, color=INITIAL["color"])
            x = np.arange(len(elements), dtype=float)
            axes.plot(x, part[f"initial_{CUTOFF}"], label="initial", **INITIAL)
            _cutoffs(axes, x, part, initial_cutoff, label="optimised", **OPTIMISED)
            if index % columns == 0:
                axes.set_ylabel(CUTOFF_LABEL)
            _element_axis(axes, elements)
            axes.set_title(panel_title(index, f"λ = {power_of_ten(lam)}"))
        for axes in panels[len(lambdas) :]:
            axes.set_visible(False)
        handles = [Line2D([], [], **INITIAL), Line2D([], [], linestyle="none", **OPTIMISED)]
        _legend(figure, handles, [_start_label(initial_cutoff), "optimised"], table)
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _cutoff_axis(axes: Axes, initial: float, bounds: tuple[float, float], table: pd.DataFrame, color: str) -> None:
    """Axis covering the bounds and all error bars of ``table``, with lines at the bounds and the initial cutoff."""
    mean, deviation = table[f"{CUTOFF}_mean"], table[f"{CUTOFF}_std"].fillna(0.0)
    low, high = min(bounds[0], (mean - deviation).min()), max(bounds[1], (mean + deviation).max())
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    for bound in bounds:
        axes.axhline(bound, **BOUND)
    axes.axhline(initial, color=color, linewidth=0.9, zorder=1)


def _element_axis(axes: Axes, elements: list[str]) -> None:
    axes.set_xticks(range(len(elements)), elements)
    axes.set_xlim(-0.6, max(len(elements), 1) - 0.4)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0, labelbottom=True)


def _cutoffs(axes: Axes, x: np.ndarray, rows: pd.DataFrame, initial: float, *, color: str, marker: str, label: str):
    """Markers with error bars on stems from the initial cutoff; open if an element was not calibrated."""
    y = rows[f"{CUTOFF}_mean"].to_numpy(dtype=float)
    axes.vlines(x, np.minimum(y, initial), np.maximum(y, initial), **STEM)
    kept = ~rows["calibrated"].fillna(True).to_numpy(dtype=bool)
    axes.errorbar(x, y, yerr=spread(rows, CUTOFF), linestyle="none", color=color, marker=marker, label=label)
    axes.plot(x[kept], y[kept], linestyle="none", marker=marker, color=color, markerfacecolor="white")


def _start_label(initial: float) -> str:
    return f"initial: {initial:.1f} {ANGSTROM}"


def _legend(figure: Figure, handles: list[Artist], names: list[str], table: pd.DataFrame) -> None:
    """Legend below the panels: dashed lines, and open markers if any."""
    handles, names = [*handles, Line2D([], [], **BOUND)], [*names, "bounds"]
    if not table["calibrated"].all():
        handles.append(Line2D([], [], linestyle="none", marker="o", color="0.4", markerfacecolor="white"))
        names.append("not calibrated: kept initial")
    columns = 2 if figure.get_figwidth() < TEXT_WIDTH else len(names)
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
