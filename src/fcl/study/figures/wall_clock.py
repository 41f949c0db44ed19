"""Beyond the paper: measured time and peak memory against pairs per atom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fcl.study.figures.common import PAIRS_LABEL, TEXT_WIDTH, PathLike, read_tables, save, save_table, styled
from fcl.study.tables.cost import MEMORY, PAIRS, TIME, straight_line

COLUMNS = ("subset", "configuration", "cutoff_angstrom", "lambda", PAIRS, TIME, MEMORY, "device", "threads")
AXES = {TIME: "time per atom and step (µs)", MEMORY: "peak memory per atom (kB)"}
MARKERS = "osD^vP"


def figure_wall_clock(
    measured: PathLike, png: PathLike, pdf: PathLike, csv: PathLike | None = None, *, title: str
) -> pd.DataFrame:
    """Draw time and memory against pairs per atom, write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        measured: ``cost/wall_clock.csv``.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
    """
    table = read_tables([measured], COLUMNS)
    values = [value for value in AXES if table[value].notna().all()]  # memory cannot be measured everywhere
    threads = int(table["threads"].iloc[0])
    where = f"{table['device'].iloc[0]}, {threads} CPU thread{'s' if threads > 1 else ''}"
    subsets = list(table["subset"].unique())
    with styled(TEXT_WIDTH, 3.2, f"{title}; measured on {where}") as figure:
        panels = figure.subplots(1, len(values), squeeze=False).ravel()
        for axes, value in zip(panels, values, strict=True):
            _panel(axes, table, value, subsets)
        marks = dict(enumerate(MARKERS))
        keys = [
            Line2D([], [], linestyle="none", color=f"C{k}", marker=marks[k % len(marks)], label=subset)
            for k, subset in enumerate(subsets)
        ]
        keys.append(Line2D([], [], linestyle="none", color="0.3", marker="o", markerfacecolor="white", label="uniform"))
        keys.append(Line2D([], [], linestyle="none", color="0.3", marker="o", label="optimised"))
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _panel(axes: Axes, table: pd.DataFrame, value: str, subsets: list[str]) -> None:
    """Markers by subset, open for a uniform cutoff, and a line fitted to all points."""
    for k, subset in enumerate(subsets):
        for configuration, face in (("uniform", "white"), ("optimised", f"C{k}")):
            part = table[(table["subset"] == subset) & (table["configuration"] == configuration)]
            marker = MARKERS[k % len(MARKERS)]
            axes.plot(part[PAIRS], part[value], marker, color=f"C{k}", markerfacecolor=face, markersize=4)
    intercept, slope, determination = straight_line(table[PAIRS].to_numpy(float), table[value].to_numpy(float))
    ends = np.array([0.0, table[PAIRS].max()])
    line = f"{intercept:.0f} + {slope:.2g} × pairs, $R^2$ = {determination:.3f}"
    (fit,) = axes.plot(ends, intercept + slope * ends, color="0.5", zorder=1, label=line)
    axes.legend(handles=[fit], loc="upper left")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(PAIRS_LABEL)
    axes.set_ylabel(AXES[value])
