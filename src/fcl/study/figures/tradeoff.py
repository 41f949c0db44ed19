"""Figures 5 and 9: force and energy error against pairs per atom with optimised cutoffs, one panel per subset.

Beside them the same models at uniform cutoffs, static models and trivial predictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcl.study.figures import common
from fcl.study.figures.common import ANGSTROM, ENERGY, FORCE, PAIRS, Drawing, drawn
from fcl.study.figures.uniform import models_at_uniform_cutoffs
from fcl.study.read import PathLike, read_choices, read_tables

COLUMNS = ("seed", "subset", "lambda", "configuration", "cutoff_angstrom", PAIRS)
START = {"linestyle": "none", "marker": "D", "markerfacecolor": "white", "markersize": 5}
SWEEP = {"linestyle": "-", "color": "0.55", "linewidth": 1.0}
STATIC = {"linestyle": "none", "marker": "s", "color": "0.2", "markersize": 3.5}
CHOSEN = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "markersize": 9}
LABEL_DISTANCE = 10.0  # points from the centre of a label to its data point
SAME_POINT = 7.0  # points


def tradeoff_table(
    calibration_metrics: Sequence[PathLike], error: str = FORCE, uniform: Sequence[PathLike] = (),
    choices: Sequence[PathLike] = (),
) -> pd.DataFrame:  # fmt: skip
    """The numbers of Fig. 5, or of Fig. 9 if ``error`` is ``ENERGY``, with subsets in file order.

    Columns: ``subset``, ``configuration`` (``initial`` or ``optimised``; ``uniform``, the sweep of the same models,
    ``static`` and ``trivial``), ``lambda`` (of ``optimised``), ``cutoff_angstrom`` (of uniform cutoffs), ``seeds``,
    mean and standard deviation of ``error`` and ``pairs_per_atom``, and ``chosen``: for how many of the models
    ``choices`` name this lambda (or the start). Raises ValueError if there is no optimised configuration.
    """
    table = read_tables(calibration_metrics, (*COLUMNS, common.SOURCES[error][0]), "calibration")
    if (table["subset"] != common.ALL).any():
        table = table[table["subset"] != common.ALL]
    if not (table["configuration"] == "optimised").any():
        raise ValueError("no row with configuration 'optimised' in the tables")
    table = table[table["configuration"].isin(["initial", "optimised"])]
    initial = table["configuration"] == "initial"
    table = table.assign(cutoff_angstrom=table["cutoff_angstrom"].where(initial))  # a single cutoff only at the start
    table.loc[initial, "lambda"] = np.nan  # every job repeats the starting point, which does not depend on lambda
    table = table[~(initial & table.duplicated(["subset", "seed", "configuration"]))]
    order = {subset: index for index, subset in enumerate(table["subset"].unique())}
    if uniform:
        table = pd.concat([table, _at_uniform_cutoffs(uniform, error, table)], ignore_index=True)
    table = common.in_units_drawn(table, [error])
    result = common.over_seeds(table, ("subset", "configuration", "lambda", "cutoff_angstrom"), (error, PAIRS))
    result = result.sort_values(
        ["lambda", "cutoff_angstrom"], ascending=[False, True], na_position="first", kind="stable"
    )
    result = result.sort_values("subset", key=lambda c: c.map(order), kind="stable", ignore_index=True)
    return result.assign(chosen=_chosen(result, choices)) if choices else result


def _at_uniform_cutoffs(files: Sequence[PathLike], error: str, calibrated: pd.DataFrame) -> pd.DataFrame:
    """Rows of the calibrated models at uniform cutoffs, of static models at their own, and of trivial predictions."""
    table = models_at_uniform_cutoffs(files, (error, PAIRS))
    table = table[table["subset"].isin(calibrated["subset"].unique())]
    wanted = (table["model_kind"] != "fcl") | table["seed"].isin(calibrated["seed"].unique())
    names = table["model_kind"].replace("fcl", "uniform")
    return table.assign(configuration=names, **{"lambda": np.nan})[wanted]


def _chosen(table: pd.DataFrame, choices: Sequence[PathLike]) -> list[int]:
    """For how many models each row was chosen."""
    chosen = read_choices(choices)
    counts = []
    for row in table.itertuples():
        own = chosen[chosen["subset"] == row.subset]["lambda"]
        if row.configuration == "optimised":
            counts.append(int(np.isclose(own, table.loc[row.Index, "lambda"]).sum()))
        else:
            counts.append(int(own.isna().sum()) if row.configuration == "initial" else 0)
    return counts


@drawn
def figure_05(
    calibration_metrics: Sequence[PathLike], *, title: str, uniform: Sequence[PathLike] = (),
    choices: Sequence[PathLike] = (),
) -> Drawing:  # fmt: skip
    """Fig. 5: force RMSE, from ``calibration/*_metrics.csv``.

    ``uniform``: ``metrics/*.csv`` of FCL and static models and of trivial predictions, to compare with; ``choices``:
    ``choice/*.json``, to mark the chosen lambda.
    """
    return _figure(tradeoff_table(calibration_metrics, FORCE, uniform, choices), FORCE, title)


@drawn
def figure_09(
    calibration_metrics: Sequence[PathLike], *, title: str, uniform: Sequence[PathLike] = (),
    choices: Sequence[PathLike] = (),
) -> Drawing:  # fmt: skip
    """Fig. 9: RMSE of the energy per atom; arguments as for `figure_05`."""
    return _figure(tradeoff_table(calibration_metrics, ENERGY, uniform, choices), ENERGY, title)


def _figure(table: pd.DataFrame, error: str, title: str) -> Drawing:
    subsets = list(table["subset"].unique())
    initial = table[table["configuration"] == "initial"]
    start = ", ".join(f"{cutoff:.1f}" for cutoff in sorted(initial["cutoff_angstrom"].unique()))
    title += common.seeds_note(table[table["configuration"] == "optimised"])
    figure, panels = common.panel_grid(len(subsets), 2, (1.2, 2.1), title)
    for index, (axes, subset) in enumerate(zip(panels, subsets, strict=True)):
        _panel(axes, table[table["subset"] == subset], error, color=f"C{index}")
        axes.set_title(subset)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(common.LABELS[error])
        if index >= len(subsets) - 2:
            axes.set_xlabel(common.LABELS[PAIRS])
    entries = {
        "optimised": common.key("optimised cutoffs, λ beside each point", color="0.3", marker="o"),
        "initial": common.key(f"start: uniform {start} {ANGSTROM}", color="0.3", **START),
        "uniform": common.key("same model, uniform cutoffs", **SWEEP),
        "static": common.key("static models", **STATIC),
        "chosen": common.key("λ chosen by cross-validation", color="0.3", **CHOSEN),
        "trivial": common.trivial_key(f"trivial: {common.TRIVIAL[error]} (where in range)"),
    }
    shown = {"optimised", "initial", *table["configuration"], *table.columns}
    keys = [key for name, key in entries.items() if name in shown]
    figure.legend(handles=keys, loc="outside lower center", ncols=min(3, len(keys)))
    _label_points(figure, table, error, dict(zip(subsets, panels, strict=True)))
    return figure, table


def _panel(axes: Axes, table: pd.DataFrame, error: str, *, color: str) -> None:
    """One subset: the curve over lambda and the uniform start (open marker); controls within the range of these."""
    parts = dict(list(table.groupby("configuration")))
    styles = {
        "static": {**STATIC, "elinewidth": 0.7, "capsize": 1.5, "label": "static"},
        "optimised": {"marker": "o", "label": "optimised", "color": color},
        "initial": {**START, "label": "start", "color": color},
    }  # fmt: skip
    pairs = table.loc[table["configuration"].isin(["optimised", "initial"]), f"{PAIRS}_mean"]
    room = 0.14 * max(float(pairs.max() - pairs.min()), 0.05 * float(pairs.max()))
    low, high = float(pairs.min()) - room, float(pairs.max()) + room
    shown = table[table[f"{PAIRS}_mean"].between(low, high)]
    if "uniform" in parts:
        sweep = parts["uniform"]
        axes.plot(sweep[f"{PAIRS}_mean"], sweep[f"{error}_mean"], label="uniform", zorder=1, **SWEEP)
    for name, style in styles.items():
        if len(part := shown[shown["configuration"] == name]):
            bars = {"xerr": common.spread(part, PAIRS), "yerr": common.spread(part, error)}
            axes.errorbar(part[f"{PAIRS}_mean"], part[f"{error}_mean"], **bars, **style)
    if "chosen" in table:
        rows = table[table["chosen"] > 0]
        axes.plot(rows[f"{PAIRS}_mean"], rows[f"{error}_mean"], color=color, label="chosen", **CHOSEN)
    deviations = shown[f"{error}_std"].where(shown["configuration"].isin(["optimised", "initial"])).fillna(0.0)
    bottom, top = (shown[f"{error}_mean"] - deviations).min(), (shown[f"{error}_mean"] + deviations).max()
    margin = 0.15 * max(top - bottom, 0.02 * top)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom - margin, top + margin)
    if "trivial" in parts:
        common.trivial_level(axes, float(parts["trivial"][f"{error}_mean"].iloc[0]))


def _label_points(figure: Figure, table: pd.DataFrame, error: str, panels: dict[str, Axes]) -> None:
    """Label each point with lambda, as far as possible from curves, markers, error bars, frame and other labels.

    Points that coincide share a label.
    """
    figure.draw_without_rendering()  # free space around a point depends on the layout
    angles = np.deg2rad(np.arange(0.0, 360.0, 22.5))
    for subset, axes in panels.items():
        rows = table[table["subset"] == subset]
        points = rows[[f"{PAIRS}_mean", f"{error}_mean"]].to_numpy()
        scale = 72.0 / figure.dpi  # in points, like the label distances
        positions = axes.transData.transform(points) * scale
        optimised = (rows["configuration"] == "optimised").to_numpy()
        curve, sweep = (positions[m] for m in (optimised, (rows["configuration"] == "uniform").to_numpy()))
        taken = [positions]
        for line in (curve, sweep):
            taken += [_between(*ends) for ends in zip(line[:-1], line[1:], strict=True)]
        for axis, name in enumerate((f"{PAIRS}_std", f"{error}_std")):  # None for a single seed
            reach = np.zeros_like(points)
            reach[:, axis] = rows[name].fillna(0.0)
            ends = (axes.transData.transform(points + sign * reach) * scale for sign in (-1.0, 1.0))
            taken += [_between(*pair) for pair in zip(*ends, strict=True)]
        frame = axes.bbox.get_points() * scale
        for y in (line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"):  # the trivial prediction
            height = axes.transData.transform((0.0, y))[1] * scale
            taken.append(_between(np.array([frame[0, 0], height]), np.array([frame[1, 0], height])))
        for members in _coinciding(curve):
            text = ", ".join(common.power_of_ten(value) for value in rows.loc[optimised, "lambda"].iloc[members])
            half, middle = 8.5 * len(members), curve[members].mean(0)
            around = np.stack([(half + 6.0) * np.cos(angles), LABEL_DISTANCE * np.sin(angles)], axis=1)
            offsets = np.concatenate([around, 1.5 * around])
            box = np.stack([np.linspace(-half, half, 9), np.zeros(9)], axis=1)
            boxes = middle + offsets[:, None] + box
            obstacles = np.concatenate(taken)
            distances = np.linalg.norm(boxes[:, :, None] - obstacles, axis=3).min(axis=(1, 2))
            inside = ((boxes > frame[0] + 3.0) & (boxes < frame[1] - 3.0)).all(axis=(1, 2))
            preferred = np.minimum(distances, LABEL_DISTANCE) - 100.0 * ~inside  # farther away is no better
            best = np.argmax(preferred.round(2))
            taken.append(boxes[best])
            axes.annotate(
                text, axes.transData.inverted().transform(middle / scale), xytext=offsets[best],
                textcoords="offset points", ha="center", va="center", fontsize=6.5,
            )  # fmt: skip


def _between(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Points [50, 2] on the line between two."""
    return first + np.linspace(0.0, 1.0, 50)[:, None] * (last - first)


def _coinciding(curve: np.ndarray) -> list[list[int]]:
    """Indices of consecutive points of a curve [n, 2], of those together that are closer than `SAME_POINT`."""
    groups = [[0]]
    for index in range(1, len(curve)):
        if np.linalg.norm(curve[index] - curve[groups[-1][0]]) < SAME_POINT:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
