"""Physics with optimised cutoffs: drift, equation of state, phonons and radial distribution, one column per subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, PathLike, panel_title, power_of_ten, save, save_table, styled
from fcl.study.tables.observables import read_records

STRUCTURE = 1  # the first of each subset is drawn
STYLES = {"uniform": {"color": "C0"}, "calibrated": {"color": "C1"}}
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # time steps, in the order of the runs


def observable_curves(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The numbers of the figure, one row per point, and the formula drawn for each subset.

    Columns: ``subset``, ``panel`` (``drift``, ``eos``, ``phonons``, ``rdf``), ``configuration``, ``timestep_fs``
    (of ``drift``), ``x``, ``y`` and ``error`` (of ``rdf``, the standard error). x and y are ps and meV/atom;
    A^3/atom and meV/atom above the lowest point; frequencies in 1/cm, uniform and calibrated; A and g.
    A quantity without values (unstable, not applicable) has no rows.
    """
    rows, formulas = [], {}
    for files, curves in ((statics, _equation_of_state), (statics, _phonons), (nve, _drift), (rdf, _rdf)):
        for record in read_records(files):
            if record["structure"] == STRUCTURE:
                formulas[record["subset"]] = record["formula"]
                rows += [{"subset": record["subset"], **row} for row in curves(record)]
    columns = ["subset", "panel", "configuration", "timestep_fs", "x", "y", "error"]
    return pd.DataFrame(rows, columns=columns), formulas


def _points(panel: str, configuration: str, x, y, **others) -> Iterator[dict[str, Any]]:
    for values in zip(x, y, others.pop("error", [None] * len(x)), strict=True):
        point = dict(zip(("x", "y", "error"), values, strict=True))
        yield {"panel": panel, "configuration": configuration, **others, **point}


def _drift(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in STYLES:
        for run in record[name]:
            if "trace" in run:
                trace = run["trace"]
                yield from _points(
                    "drift", name, trace["times_ps"], trace["energy_mev_per_atom"], timestep_fs=run["timestep_fs"]
                )


def _equation_of_state(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in STYLES:
        points = record[name].get("equation_of_state", {})
        if "energies_ev_per_atom" in points:
            energies = 1000.0 * np.array(points["energies_ev_per_atom"])
            yield from _points("eos", name, points["volumes_angstrom3_per_atom"], energies - energies.min())


def _phonons(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = [record[name].get("phonons", {}).get("frequencies_per_cm") for name in STYLES]
    if all(found):
        yield from _points("phonons", "both", *found)


def _rdf(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in STYLES:
        if "g" in record[name]:
            values = record[name]
            yield from _points("rdf", name, values["distances_angstrom"], values["g"], error=values["g_standard_error"])


def figure_observables(
    statics: Sequence[PathLike],
    nve: Sequence[PathLike],
    rdf: Sequence[PathLike],
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    at_lambda: float,
    uniform_cutoff: float,
) -> pd.DataFrame:
    """Draw the first structure of each subset, write PNG, PDF and CSV, and return the numbers drawn.

    Args:
        statics, nve, rdf: ``observables/<subset>_<stage>.json`` of each subset.
        png, pdf: output files.
        csv: the numbers drawn; next to ``png`` if not given.
        title: data and study shown in the figure.
        at_lambda: lambda of the calibrated cutoffs.
        uniform_cutoff: uniform cutoff of the comparison (A).

    Raises:
        ValueError: a file lacks a key, or no file has a structure.
    """
    table, formulas = observable_curves(statics, nve, rdf)
    if not formulas:
        raise ValueError("no structure in the files of the observables")
    with styled(TEXT_WIDTH, 8.2, f"{title}; λ = {power_of_ten(at_lambda)}") as figure:
        panels = figure.subplots(len(PANELS), len(formulas), squeeze=False)
        for column, (subset, formula) in enumerate(formulas.items()):
            for row, (name, (draw, *axis_labels)) in enumerate(PANELS.items()):
                axes = panels[row][column]
                part = table[(table["subset"] == subset) & (table["panel"] == name)]
                _panel(axes, part, draw, axis_labels)
                axes.set_title(panel_title(row * len(formulas) + column, f"{subset}, {formula}"))
        names = {"uniform": f"uniform {uniform_cutoff:g} {ANGSTROM}", "calibrated": "calibrated cutoffs"}
        handles = [axes.plot([], [], label=label, **STYLES[name])[0] for name, label in names.items()]
        steps = sorted(table["timestep_fs"].dropna().unique())
        handles += [
            axes.plot([], [], color="0.4", linestyle=dash, label=f"{step:g} fs")[0]
            for step, dash in zip(steps, DASHES, strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _panel(axes: Axes, part: pd.DataFrame, draw, axis_labels: Sequence[str]) -> None:
    if part.empty:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color="0.4")
        axes.set(xticks=[], yticks=[])
        return
    draw(axes, part)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(axis_labels[0])
    axes.set_ylabel(axis_labels[1])


def _draw_drift(axes: Axes, part: pd.DataFrame) -> None:
    steps = sorted(part["timestep_fs"].unique())
    for (name, step), run in part.groupby(["configuration", "timestep_fs"]):
        dash = DASHES[steps.index(step) % len(DASHES)]
        axes.plot(run["x"], run["y"], linestyle=dash, linewidth=0.9, **STYLES[name])


def _draw_equation_of_state(axes: Axes, part: pd.DataFrame) -> None:
    for name, curve in part.groupby("configuration"):
        axes.plot(curve["x"], curve["y"], marker="o" if name == "uniform" else "s", **STYLES[name])


def _draw_phonons(axes: Axes, part: pd.DataFrame) -> None:
    ends = [min(part["x"].min(), part["y"].min()), max(part["x"].max(), part["y"].max())]
    axes.plot(ends, ends, color="0.6", linewidth=0.7)
    axes.plot(part["x"], part["y"], linestyle="none", marker="o", markersize=2.5, color="C2")


def _draw_rdf(axes: Axes, part: pd.DataFrame) -> None:
    for name, curve in part.groupby("configuration"):
        x, y, error = (curve[key].to_numpy(dtype=float) for key in ("x", "y", "error"))
        axes.plot(x, y, linewidth=0.9, **STYLES[name])
        axes.fill_between(x, y - error, y + error, alpha=0.3, linewidth=0, **STYLES[name])


#: Panel -> drawing function and axes.
PANELS = {
    "drift": (_draw_drift, "time (ps)", "total energy (meV/atom)"),
    "eos": (_draw_equation_of_state, f"volume ({ANGSTROM}³/atom)", "energy (meV/atom)"),
    "phonons": (_draw_phonons, "uniform: frequency (1/cm)", "calibrated (1/cm)"),
    "rdf": (_draw_rdf, f"distance ({ANGSTROM})", "g"),
}
