"""Beyond the paper: measured time and peak memory against pairs per atom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fcl.study.figures import common
from fcl.study.figures.common import TEXT_WIDTH, Drawing, drawn
from fcl.study.read import PathLike, read_table
from fcl.study.tables.cost import MEMORY, PAIRS, TIME, regimes, where_measured

COLUMNS = ("subset", "configuration", "cutoff_angstrom", "lambda", PAIRS, TIME, MEMORY, "device", "threads")
AXES = {TIME: "time per atom and step (µs)", MEMORY: "peak memory per atom (kB)"}
POINT = {"linestyle": "none", "markersize": 4}


@drawn
def figure_wall_clock(measured: PathLike, *, title: str) -> Drawing:
    """Time and memory against pairs per atom; ``measured`` is ``cost/wall_clock.csv``."""
    table = read_table(measured, COLUMNS)
    values = [value for value in AXES if table[value].notna().all()]  # memory cannot be measured everywhere
    subsets = list(table["subset"].unique())
    figure = common.new_figure(TEXT_WIDTH, 3.2, f"{title}; measured on {where_measured(table)}")
    panels = figure.subplots(1, len(values), squeeze=False).ravel()
    for axes, value in zip(panels, values, strict=True):
        _panel(axes, table, value, subsets)
    keys = [common.key(subset, **common.subset_style(subset), **POINT) for subset in subsets]
    grey = {"color": "0.3", "marker": "o", **POINT}
    keys += [common.key("uniform", markerfacecolor="white", **grey), common.key("optimised", **grey)]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return figure, table


def _panel(axes: Axes, table: pd.DataFrame, value: str, subsets: list[str]) -> None:
    """Markers by subset, open for a uniform cutoff, and the line or lines fitted to all points."""
    for subset in subsets:
        style = common.subset_style(subset)
        for configuration, face in (("uniform", "white"), ("optimised", style["color"])):
            part = table[(table["subset"] == subset) & (table["configuration"] == configuration)]
            axes.plot(part[PAIRS], part[value], markerfacecolor=face, **style, **POINT)
    fit = regimes(table[PAIRS].to_numpy(float), table[value].to_numpy(float))
    bends = [fit.bend] if np.isfinite(fit.bend) else []
    pairs = np.array([0.0, *bends, table[PAIRS].max()])
    words = fit.text("").replace(" per atom", "").replace(" up to", "\nup to").replace(", ", ",\n")
    label = f"{words}\n(typical deviation {fit.deviation:.0%})"
    (line,) = axes.plot(pairs, fit.at(pairs), color="0.5", zorder=1, label=label)
    axes.vlines(bends, 0.0, fit.at(np.array(bends)), color="0.5", linestyle=(0, (1, 2)), linewidth=0.8, zorder=1)
    axes.legend(handles=[line], loc="upper left")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(common.LABELS[PAIRS])
    axes.set_ylabel(AXES[value])
