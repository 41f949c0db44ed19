"""Figures 4 and 10: energy of diatomics near the cutoff and over the full range, one FCL model at uniform cutoffs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcl.study.figures.common import (
    ANGSTROM,
    TEXT_WIDTH,
    PathLike,
    over_seeds,
    panel_title,
    read_tables,
    save,
    save_table,
    styled,
)

COLUMNS = ("pair", "cutoff_angstrom", "seed", "distance_angstrom", "energy_ev")
REGION = (3.0, 7.5)  # A: range in which the cutoff matters
DASHES = ("-", (0, (4, 1.2)), (0, (4, 1, 1, 1)), (0, (1, 0.8)))


def diatomic_table(diatomics: Sequence[PathLike], seed: int | None = None) -> pd.DataFrame:
    """The numbers of Figs. 4 and 10, in the order of the pairs in the files.

    Columns: ``pair``, ``cutoff_angstrom``, ``distance_angstrom``, ``seed`` and ``energy_ev`` (the curve
        drawn: the lowest seed unless ``seed`` is given), then ``energy_ev_mean`` and
        ``energy_ev_std`` over ``seeds`` models.

    Raises:
        ValueError: a table lacks a column, or no model has the requested seed.
    """
    table = read_tables(diatomics, COLUMNS)
    keys = ["pair", "cutoff_angstrom", "distance_angstrom"]
    for key in keys[1:]:
        table[key] = table[key].round(6)
    seed = int(table["seed"].min()) if seed is None else seed
    drawn = table.loc[table["seed"] == seed, [*keys, "seed", "energy_ev"]]
    if drawn.empty:
        raise ValueError(f"no diatomic curve of seed {seed}; there are seeds {sorted(table['seed'].unique())}")
    order = {pair: index for index, pair in enumerate(table["pair"].unique())}
    merged = drawn.merge(over_seeds(table, keys, ("energy_ev",)), on=keys, validate="one_to_one")
    return merged.sort_values(keys, key=lambda c: c.map(order) if c.name == "pair" else c, ignore_index=True)


def figure_04(
    diatomics: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    seed: int | None = None,
) -> pd.DataFrame:
    """Draw Fig. 4 (near the cutoffs), write PNG, PDF and CSV, and return the numbers.

    One model is drawn, as in the paper: a mean over models would hide oscillations. The CSV also contains the
    standard deviation over seeds.

    Args:
        diatomics: ``diatomics/fcl_seed*.csv``.
        png, pdf: output files.
        csv: the numbers; next to ``png`` if not given.
        title: data and study shown in the figure.
        seed: the model to draw; the lowest seed if not given.
    """
    table = diatomic_table(diatomics, seed)
    table = table[table["distance_angstrom"].between(*REGION)].reset_index(drop=True)
    with styled(TEXT_WIDTH, 2.5, f"{title}; seed {table['seed'].iloc[0]}") as figure:
        for axes, curves in _panels(figure, table, "energy (meV)", 1000.0):
            axes.set_xlim(*REGION)
            axes.set_xticks(np.arange(np.ceil(REGION[0]), REGION[1], 1.0))
            axes.set_ylim(*energy_limits(1000.0 * curves["energy_ev"]))
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def figure_10(
    diatomics: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    seed: int | None = None,
) -> pd.DataFrame:
    """Draw Fig. 10 (full range); arguments and result as for :func:`figure_04`."""
    table = diatomic_table(diatomics, seed)
    with styled(TEXT_WIDTH, 2.5, f"{title}; seed {table['seed'].iloc[0]}") as figure:
        for axes, curves in _panels(figure, table, "energy (eV)", 1.0):
            axes.set_xlim(curves["distance_angstrom"].min(), curves["distance_angstrom"].max())
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _panels(figure: Figure, table: pd.DataFrame, label: str, scale: float) -> list[tuple[Axes, pd.DataFrame]]:
    """One panel per pair with one curve per cutoff, energies times ``scale``; yields each panel with its rows."""
    pairs = list(table["pair"].unique())
    cutoffs = sorted(table["cutoff_angstrom"].unique())
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    result = []
    for index, (axes, pair) in enumerate(zip(panels, pairs, strict=True)):
        curves = table[table["pair"] == pair]
        axes.axhline(0.0, color="0.6", linewidth=0.6, zorder=1)
        for number, cutoff in enumerate(cutoffs):
            curve = curves[curves["cutoff_angstrom"] == cutoff]
            style = {"color": f"C{number}", "label": f"{cutoff:.1f} {ANGSTROM}"}
            dash = DASHES[number % len(DASHES)]
            axes.plot(curve["distance_angstrom"], scale * curve["energy_ev"], linestyle=dash, **style)
            tick = {"transform": axes.get_xaxis_transform(), "color": style["color"], "linewidth": 2.2}
            axes.plot([cutoff, cutoff], [0.0, 0.07], **tick)
        axes.set_title(panel_title(index, pair.replace("-", "–")))
        axes.set_xlabel(f"distance ({ANGSTROM})")
        result.append((axes, curves))
    panels[0].set_ylabel(label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="cutoff (ticks below)", loc="outside right center")
    return result


def energy_limits(energies: pd.Series) -> tuple[float, float]:
    """Limits that show the bulk of ``energies``: 2nd to 98th percentile and zero, with a margin."""
    low, high = np.percentile(energies, [2.0, 98.0])
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.12 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
