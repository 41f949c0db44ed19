"""Figures 4 and 10: energy of diatomics near the cutoff and over the full range, one FCL model at uniform cutoffs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd

from fcl.study.figures import common
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn
from fcl.study.read import CURVES, PathLike, read_curves

KEYS = ["pair", "cutoff_angstrom", "distance_angstrom"]
NEAR = 3.0  # A: from here on the cutoff matters; the wells are at smaller distances
BEYOND = 0.5  # A beyond the largest cutoff
DASHES = ("-", (0, (4, 1.2)), (0, (4, 1, 1, 1)), (0, (1, 0.8)))
#: Percentiles of the energies drawn that the axes show; at both ends of the range of distances walls go on.
NEAR_LIMITS, FULL_LIMITS = (2.0, 100.0), (0.0, 95.0)


def oscillation(table: pd.DataFrame) -> float:
    """How far (eV) energies turn back: total variation of a curve less its net change, mean over the curves."""
    curves = table.sort_values("distance_angstrom").groupby(["pair", "cutoff_angstrom"])["energy_ev"]
    return float(curves.agg(lambda e: e.diff().abs().sum() - abs(e.iloc[-1] - e.iloc[0])).mean())


def near_cutoffs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of Fig. 4: from 3 A to half an angstrom beyond the largest cutoff."""
    return table[table["distance_angstrom"].between(NEAR, table["cutoff_angstrom"].max() + BEYOND)]


def diatomic_table(diatomics: Sequence[PathLike]) -> pd.DataFrame:
    """The numbers of Figs. 4 and 10: the curves of the typical seed, in the order of the pairs in the files.

    One model is drawn, as in the paper: a mean over models would hide oscillations. Typical is the seed with the median
    `oscillation` in the range of Fig. 4 (of an even number, the lower one of the two in the middle). Columns: `CURVES`
    and ``seeds``, how many there are. Raises ValueError if a seed is given twice.
    """
    table = read_curves(diatomics)
    for key in KEYS[1:]:
        table[key] = table[key].round(6)
    common.check_seeds(table, KEYS)
    found = sorted((oscillation(rows), seed) for seed, rows in near_cutoffs(table).groupby("seed"))
    _, typical = found[(len(found) - 1) // 2]
    order = {pair: index for index, pair in enumerate(table["pair"].unique())}
    drawn = table.loc[table["seed"] == typical, list(CURVES)]
    return drawn.sort_values(KEYS, key=lambda c: c.map(order) if c.name == "pair" else c, ignore_index=True).assign(
        seeds=len(found)
    )


@drawn
def figure_04(diatomics: Sequence[PathLike], *, title: str) -> Drawing:
    """Fig. 4: near the cutoffs; ``diatomics`` are ``diatomics/fcl_seed*.csv``."""
    table = near_cutoffs(diatomic_table(diatomics)).reset_index(drop=True)
    return _figure(table, 1000.0, "energy (meV)", NEAR_LIMITS, title)


@drawn
def figure_10(diatomics: Sequence[PathLike], *, title: str) -> Drawing:
    """Fig. 10: full range of distances; arguments as for `figure_04`."""
    return _figure(diatomic_table(diatomics), 1.0, "energy (eV)", FULL_LIMITS, title)


def _figure(table: pd.DataFrame, scale: float, label: str, shown: tuple[float, float], title: str) -> Drawing:
    """One panel per pair with one curve per cutoff, energies times ``scale``; a tick on the axis marks the cutoff."""
    seed, seeds = int(table["seed"].iloc[0]), int(table["seeds"].iloc[0])
    note = f"; seed {seed}" + (f" of {seeds}, that of the median oscillation" if seeds > 1 else "")
    figure = common.new_figure(TEXT_WIDTH, 2.5, title + note)
    pairs = list(table["pair"].unique())
    cutoffs = sorted(table["cutoff_angstrom"].unique())
    colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.8, len(cutoffs)))  # cutoffs have an order
    panels = figure.subplots(1, len(pairs), squeeze=False, sharex=True, sharey=True)[0]
    for index, (axes, pair) in enumerate(zip(panels, pairs, strict=True)):
        axes.axhline(0.0, color="0.6", linewidth=0.6, zorder=1)
        for number, cutoff in enumerate(cutoffs):
            curve = table[(table["pair"] == pair) & (table["cutoff_angstrom"] == cutoff)]
            style = {"color": colors[number], "label": f"{cutoff:.1f} {ANGSTROM}"}
            dash = DASHES[number % len(DASHES)]
            axes.plot(curve["distance_angstrom"], scale * curve["energy_ev"], linestyle=dash, **style)
            tick = {"transform": axes.get_xaxis_transform(), "color": style["color"], "linewidth": 2.2}
            axes.plot([cutoff, cutoff], [0.0, 0.07], **tick)
        axes.set_title(common.panel_title(index, pair.replace("-", "–")))
        axes.set_xlabel(f"distance ({ANGSTROM})")
    panels[0].set_ylabel(label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="cutoff (ticks below)", loc="outside right center")
    panels[0].set_xlim(table["distance_angstrom"].min(), table["distance_angstrom"].max())  # shared by the others
    panels[0].set_ylim(*energy_limits(scale * table["energy_ev"], shown))
    return figure, table


def energy_limits(energies: pd.Series, shown: tuple[float, float]) -> tuple[float, float]:
    """Limits that show the percentiles ``shown`` of ``energies`` and zero, with a margin."""
    low, high = np.percentile(energies, shown)
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
