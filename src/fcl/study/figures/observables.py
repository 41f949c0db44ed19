"""Physics with optimised cutoffs: differences from a uniform cutoff, with intervals, nulls and tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, NotEvaluated
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn, key, new_figure, panel_title, power_of_ten
from fcl.study.read import PathLike
from fcl.study.tables.observables import (
    DRIFT,
    MINIMUM,
    MODULUS,
    NO_REFERENCE,
    PHONONS,
    RDF,
    RMSD,
    VOLUME,
    observable_rows,
)

#: Quantity -> title and label of its panel. Relative ones are in per cent of the value at the uniform cutoff.
PANELS = {
    RMSD: ("minima", f"RMSD ({ANGSTROM})"),
    VOLUME: ("volume", "difference (%)"),
    MODULUS: ("bulk modulus", "difference (%)"),
    PHONONS: ("phonons at Γ", "RMS difference (cm⁻¹)"),
    DRIFT: ("energy drift", "difference (meV/atom/ps)"),
    RDF: ("radial distribution", f"∫|Δg| dr ({ANGSTROM})"),
}
RELATIVE, SIGNED = (VOLUME, MODULUS), (VOLUME, MODULUS, DRIFT)
MARKERS = {
    HOLDS: {"marker": "o", "color": "C0"},
    UNDECIDED: {"marker": "o", "color": "C0", "markerfacecolor": "white"},
    FAILS: {"marker": "s", "color": "C3"},
}
NULLS = {"other_seed": ("another seed, uniform", {"marker": "d", "color": "0.45"})}
NULLS["repeated"] = ("same potential, repeated", {"marker": "x", "color": "0.45"})
STEPS = (1.0, 3.0)  # of the ticks in a decade, where there is room
ROWS, COLUMNS = 2, 3
ROW_HEIGHT = 0.17  # inches per structure


def drawn_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `observable_rows` as drawn, with a ``label`` for each structure; relative quantities in per cent."""
    drawn = table.copy()
    numbers = ["uniform", "difference", "uncertainty", "other_seed", "repeated", "tolerance"]
    drawn[numbers] = drawn[numbers].astype(float)
    relative = drawn["quantity"].isin(RELATIVE)
    scale = 100.0 / drawn.loc[relative, "uniform"]
    for name in numbers[1:]:
        drawn.loc[relative, name] *= scale
    drawn.loc[relative, "unit"] = "%"
    drawn.insert(0, "label", [f"{row.formula} ({row.subset} {row.structure})" for row in drawn.itertuples()])
    return drawn.drop(columns="reason")


@drawn
def figure_observables(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike], *, tolerances: Mapping[str, float],
    title: str, at_lambda: float, uniform_cutoff: float,
) -> Drawing:  # fmt: skip
    """One panel per quantity; arguments as for `table_observables`.

    Files of an earlier version give an empty figure that says so.
    """
    try:
        table, missing = drawn_rows(observable_rows(statics, nve, rdf, tolerances)), "no structure"
    except NotEvaluated as error:
        table, missing = pd.DataFrame(columns=["label", "quantity", "tolerance"]), str(error)
    structures = list(dict.fromkeys(table["label"]))
    heading = f"{title}; cutoffs at λ = {power_of_ten(at_lambda)} minus uniform {uniform_cutoff:g} {ANGSTROM}"
    if not structures:
        heading = f"{heading}; nothing to draw: {missing}"
    figure = new_figure(TEXT_WIDTH, 1.9 + ROWS * ROW_HEIGHT * max(len(structures), 4), heading)
    panels = figure.subplots(ROWS, COLUMNS, sharey=True)
    for number, (axes, (quantity, labels)) in enumerate(zip(panels.flat, PANELS.items(), strict=True)):
        _panel(axes, table[table["quantity"] == quantity], structures)
        axes.set(title=panel_title(number, labels[0]), xlabel=labels[1])
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(structures)), structures)
        axes.set_ylim(max(len(structures), 1) - 0.5, -0.5)
        for row in table[table["quantity"] == MINIMUM].itertuples():
            _note(axes, structures.index(row.label), NO_REFERENCE)
    _legend(figure)
    return figure, table


def _note(axes: Axes, place: float, text: str) -> None:
    """Text instead of a point, behind the nulls."""
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0.0, "pad": 0.8}
    where = {"transform": axes.get_yaxis_transform(), "va": "center", "zorder": 1.5, "bbox": box}
    axes.text(0.02, place, text, color="0.45", fontsize=6.5, **where)


def _panel(axes: Axes, part: pd.DataFrame, structures: list[str]) -> None:
    if part["tolerance"].notna().any():
        _scale(axes, part)
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color="0.4")
    for row in part.itertuples():
        place = structures.index(row.label)
        for name, (_, style) in NULLS.items():
            axes.plot(getattr(row, name), place + 0.22, linestyle="none", markersize=3.5, **style)
        if np.isfinite(row.difference):
            axes.errorbar(row.difference, place - 0.12, xerr=row.uncertainty, markersize=4, **MARKERS[row.verdict])
        else:
            _note(axes, place - 0.12, row.verdict)
    axes.grid(axis="y", visible=False)


def _scale(axes: Axes, part: pd.DataFrame) -> None:
    """The tolerance as a band; linear inside it and logarithmic beyond."""
    tolerance, signed = float(part["tolerance"].dropna().iloc[0]), bool(part["quantity"].isin(SIGNED).any())
    ends = part["difference"].abs() + part["uncertainty"].fillna(0.0)
    largest = np.nanmax([tolerance, *ends, *part[["other_seed", "repeated"]].abs().to_numpy().flat])
    ticks = [tolerance]
    while ticks[-1] < largest:
        ticks.append(10.0 * ticks[-1] if signed else tolerance * STEPS[len(ticks) % 2] * 10.0 ** (len(ticks) // 2))
    axes.set_xscale("symlog", linthresh=tolerance)
    axes.axvspan(-tolerance if signed else 0.0, tolerance, color="C2", alpha=0.15, linewidth=0)
    axes.set_xticks([*(-tick for tick in ticks if signed), 0.0, *ticks], minor=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-1.3 * ticks[-1] if signed else -0.15 * tolerance, 1.3 * ticks[-1])


def _legend(figure: Figure) -> None:
    point = {"linestyle": "none", "markersize": 4}
    handles = [key(f"optimised cutoffs: {verdict}", **point, **style) for verdict, style in MARKERS.items()]
    handles += [key(label, **{**point, "markersize": 3.5}, **style) for label, style in NULLS.values()]
    handles.append(Patch(color="C2", alpha=0.15, label="tolerance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
