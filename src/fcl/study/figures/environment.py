"""Figure 1: a structure with one cutoff per atom, and the neighbours kept by Eq. 4."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from fcl.cutoffs.plain import numpy_rule, within
from fcl.study.figures.atoms import draw_atom, element_color, element_outline
from fcl.study.figures.calibrated import read_calibrations
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, PathLike, panel_title, power_of_ten, save, save_table, styled

KEPT = {"color": "0.35", "linewidth": 0.5}
REJECTED = {"color": "0.7", "linewidth": 0.5, "linestyle": ":"}
RADIUS_DIRECTION = np.array([0.5, -np.sqrt(0.75)])  # of the line marking a radius
EXAMPLE_KEYS = ("name", "subset", "symbols", "positions", "cell", "pairs")


def read_example(file: PathLike) -> dict:
    """The example structure of a study: symbols, positions [n, 3] and cell [3, 3] in A, and its pairs.

    A pair is ``[i, j, s1, s2, s3, distance]``: atoms i and j with the shift s of j in cell vectors, and their
    distance (A). Raises ValueError naming the file and a key that is missing.
    """
    content = json.loads(Path(file).read_text(encoding="utf-8"))
    missing = [key for key in EXAMPLE_KEYS if key not in content]
    if missing:
        raise ValueError(f"{file}: key {missing[0]!r} is missing")
    return content


def pair_table(example: Mapping, cutoffs: Mapping[str, float], initial_cutoff: float, mixing_rule: str) -> pd.DataFrame:
    """All candidate pairs (each once), with cutoff m_ij from the mixing rule and whether Eq. 4 keeps them.

    Columns: ``atom_i``, ``atom_j``, their ``element_*`` and ``cutoff_*_angstrom``, ``shift_1`` ... ``shift_3``,
    ``distance_angstrom``, ``pair_cutoff_angstrom`` and ``kept``. An element without an optimised cutoff gets the
    initial one. Raises ValueError for an unknown mixing rule.
    """
    rule = numpy_rule(mixing_rule)
    names = ["atom_i", "atom_j", "shift_1", "shift_2", "shift_3", "distance_angstrom"]
    table = pd.DataFrame(example["pairs"], columns=names).astype(dict.fromkeys(names[:5], int))
    symbols = np.asarray(example["symbols"], dtype=object)
    for side in ("i", "j"):
        elements = symbols[table[f"atom_{side}"].to_numpy(dtype=int)]
        table[f"element_{side}"] = elements
        table[f"cutoff_{side}_angstrom"] = [float(cutoffs.get(element, initial_cutoff)) for element in elements]
    table["pair_cutoff_angstrom"] = rule(table["cutoff_i_angstrom"], table["cutoff_j_angstrom"])
    table["kept"] = within(table["distance_angstrom"], table["pair_cutoff_angstrom"])
    return table


def neighbours(table: pd.DataFrame, example: Mapping, atom: int) -> pd.DataFrame:
    """Candidate neighbours of ``atom``: ``element``, ``distance``, ``pair_cutoff``, ``kept``, and ``x, y, z`` (A)."""
    positions, cell = np.asarray(example["positions"]), np.asarray(example["cell"])
    parts = []
    for own, other, sign in (("i", "j", 1.0), ("j", "i", -1.0)):  # each pair is listed once and used in both directions
        rows = table[table[f"atom_{own}"] == atom]
        shift = rows[["shift_1", "shift_2", "shift_3"]].to_numpy(dtype=float)
        i, j = rows["atom_i"].to_numpy(dtype=int), rows["atom_j"].to_numpy(dtype=int)
        vectors = sign * (positions[j] + shift @ cell - positions[i])
        part = rows[[f"element_{other}", "distance_angstrom", "pair_cutoff_angstrom", "kept"]].copy()
        part.columns = ["element", "distance", "pair_cutoff", "kept"]
        parts.append(part.assign(x=vectors[:, 0], y=vectors[:, 1], z=vectors[:, 2]))
    return pd.concat(parts, ignore_index=True)


def plane(positions: np.ndarray) -> np.ndarray:
    """Rows: the two directions of largest extent of the atoms, then the viewing direction; [3, 3], right-handed."""
    _, _, axes = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=True)
    for axis in axes[:2]:
        axis *= np.sign(axis[np.argmax(np.abs(axis))])  # the sign of a singular vector is arbitrary
    axes[2] = np.cross(axes[0], axes[1])
    return axes


def figure_01(
    example: PathLike,
    calibration: PathLike,
    png: PathLike,
    pdf: PathLike,
    csv: PathLike | None = None,
    *,
    title: str,
    mixing_rule: str,
    initial_cutoff: float,
) -> pd.DataFrame:
    """Draw Fig. 1 from a structure of the data and optimised cutoffs, write PNG, PDF and CSV, and return the pairs.

    (a) the atoms of the cell in projection, with the cutoff spheres of three of them and the pairs kept by Eq. 4;
    (b), (c) all candidate neighbours of the atoms with the smallest and the largest cutoff, periodic images included,
    each at its true distance in its direction in (a).

    Args:
        example: ``data/example.json``.
        calibration: ``calibration/<subset>_lambda<lambda>_seed<seed>.json`` of the same subset.
        png, pdf: output files.
        csv: all candidate pairs; next to ``png`` if not given.
        title: data and study shown in the figure.
        mixing_rule: name of the mixing rule of Eq. 4.
        initial_cutoff: cutoff (A) of elements that were not calibrated.

    Raises:
        ValueError: a file lacks a key, or the mixing rule is unknown; the message names it.
    """
    structure = read_example(example)
    calibrated = read_calibrations([calibration])
    given = calibrated.set_index("element")["cutoff_angstrom"]
    table = pair_table(structure, given, initial_cutoff, mixing_rule)
    symbols = structure["symbols"]
    cutoffs = np.array([float(given.get(symbol, initial_cutoff)) for symbol in symbols])
    positions = np.asarray(structure["positions"], dtype=float)
    view = plane(positions)
    shown = _shown_atoms(symbols, cutoffs, positions)
    reach = max(table["distance_angstrom"].max(), cutoffs.max()) if len(table) else cutoffs.max()
    facts = calibrated.iloc[0]
    note = f"; {structure['subset']}, cutoffs optimised at λ = {power_of_ten(facts['lambda'])} (seed {facts['seed']})"
    with styled(TEXT_WIDTH, 2.95, title + note) as figure:
        panels = figure.subplots(1, 3)
        points = (positions - positions.mean(axis=0)) @ view.T
        _structure_panel(panels[0], table, symbols, cutoffs, points, shown)
        panels[0].set_title(panel_title(0, "one cutoff an atom"))
        for index, (atom, which) in enumerate(((shown[0], "smallest"), (shown[-1], "largest")), start=1):
            axes, around = panels[index], neighbours(table, structure, atom)
            _environment_panel(axes, around, symbols[atom], cutoffs[atom], view)
            axes.set(xlim=(-1.04 * reach, 1.04 * reach), ylim=(-1.04 * reach, 1.04 * reach))
            axes.set_title(panel_title(index, f"{which} cutoff: {symbols[atom]}, {cutoffs[atom]:.2f} {ANGSTROM}"))
            axes.set_xlabel(f"{int(around['kept'].sum())} of {len(around)} neighbours kept")
        for axes in panels:
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            _scale_bar(axes)
        save(figure, png, pdf)
    save_table(table, png, csv)
    return table


def _shown_atoms(symbols: list[str], cutoffs: np.ndarray, positions: np.ndarray) -> list[int]:
    """Atoms with the smallest, a middle and the largest cutoff; for each element the atom nearest to the centre."""
    distance = np.linalg.norm(positions - positions.mean(axis=0), axis=1).round(6)
    nearest: dict[str, int] = {}
    for atom in np.argsort(distance, kind="stable"):
        nearest.setdefault(symbols[atom], int(atom))
    ranked = sorted(nearest.values(), key=lambda atom: (cutoffs[atom], atom))
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def _structure_panel(
    axes: Axes, table: pd.DataFrame, symbols: list[str], cutoffs: np.ndarray, points: np.ndarray, shown: list[int]
) -> None:
    """The atoms (drawn back to front), a disc for each of ``shown``, and the pairs inside the cell.

    Kept pairs are solid; rejected ones of the atom with the smallest cutoff are dotted.
    """
    for atom in reversed(shown):  # large ones below small ones
        color, edge, centre = element_color(symbols[atom]), element_outline(symbols[atom]), points[atom, :2]
        axes.add_patch(Circle(centre, cutoffs[atom], facecolor=color, alpha=0.16, linewidth=0, zorder=1))
        axes.add_patch(Circle(centre, cutoffs[atom], fill=False, edgecolor=edge, linewidth=1.0, zorder=2))
        tip = centre + cutoffs[atom] * RADIUS_DIRECTION
        axes.plot(*np.transpose([centre, tip]), color=edge, linewidth=0.8, zorder=2.5)
    for row in table[(table[["shift_1", "shift_2", "shift_3"]] == 0).all(axis=1)].itertuples():
        if row.kept or shown[0] in (row.atom_i, row.atom_j):
            ends = points[[row.atom_i, row.atom_j]]
            axes.plot(ends[:, 0], ends[:, 1], zorder=3, **(KEPT if row.kept else REJECTED))
    for rank, atom in enumerate(np.argsort(points[:, 2], kind="stable")):
        draw_atom(axes, points[atom, 0], points[atom, 1], symbols[atom], zorder=4 + 0.2 * rank)
    low = (points[shown, :2] - cutoffs[shown, None]).min(axis=0)
    high = (points[shown, :2] + cutoffs[shown, None]).max(axis=0)
    middle, half = (low + high) / 2, 0.52 * (high - low).max()
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    names = ", ".join(f"{symbols[atom]} {cutoffs[atom]:.2f}" for atom in shown)
    axes.set_xlabel(f"cutoffs ({ANGSTROM}): {names}")


def _environment_panel(axes: Axes, around: pd.DataFrame, element: str, cutoff: float, view: np.ndarray) -> None:
    """Candidate neighbours at their true distances; kept ones are connected to the atom, the others open and dotted."""
    axes.add_patch(Circle((0, 0), cutoff, facecolor=element_color(element), alpha=0.25, linewidth=0, zorder=1))
    for other, rows in around.groupby("element", sort=True):
        radius = rows["pair_cutoff"].iloc[0]
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=element_outline(other), linewidth=0.9, zorder=2))
    projected = around[["x", "y", "z"]].to_numpy() @ view.T
    angle = np.arctan2(projected[:, 1], projected[:, 0])
    x, y = around["distance"] * np.cos(angle), around["distance"] * np.sin(angle)
    for kept, other, x_j, y_j in zip(around["kept"], around["element"], x, y, strict=True):
        axes.plot([0, x_j], [0, y_j], zorder=3 if kept else 2.5, **(KEPT if kept else REJECTED))
        face, edge = (element_color(other), "0.2") if kept else ("white", element_outline(other))
        style = {"color": face, "markeredgecolor": edge, "markersize": 3.6, "markeredgewidth": 0.5}
        axes.plot(x_j, y_j, "o", zorder=4, **style)
    draw_atom(axes, 0, 0, element, zorder=6)


def _scale_bar(axes: Axes) -> None:
    """Scale bar of 2 A in the lower left corner."""
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.plot([left, left + 2.0], [bottom, bottom], color="black", linewidth=1.5, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"2 {ANGSTROM}", (left + 1.0, bottom), (0, 2), textcoords="offset points", ha="center", va="bottom")
