"""Figure 1: a structure with one cutoff per atom, and the neighbours kept by Eq. 4."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Wedge

from fcl.cutoffs.plain import numpy_rule, within
from fcl.study.figures.atoms import draw_atom, element_color, element_outline
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn, new_figure, panel_title, power_of_ten
from fcl.study.read import PathLike, json_of, read_calibrations

KEPT = {"color": "0.35", "linewidth": 0.5}
REJECTED = {"color": "0.7", "linewidth": 0.5, "linestyle": ":"}
KEPT_ATOM = {"linestyle": "none", "marker": "o", "color": "0.2", "markersize": 4.0, "markeredgewidth": 0.5, "zorder": 4}
REJECTED_ATOM = {
    "linestyle": "none", "marker": "o", "color": "0.6", "markerfacecolor": "white", "markersize": 2.4,
    "markeredgewidth": 0.5, "zorder": 3,
}  # fmt: skip
RADIUS_DIRECTION = np.array([0.5, -np.sqrt(0.75)])  # of the line marking a radius
GAP = 4.0  # degrees between the sectors of two elements
NARROWEST = 20.0  # degrees; room for the label
#: Of the example structure: positions [n, 3] and cell [3, 3] in A; a pair is ``[i, j, s1, s2, s3, distance]``, atoms i
#: and j with the shift s of j in cell vectors, and their distance (A).
EXAMPLE_KEYS = ("name", "subset", "symbols", "positions", "cell", "pairs")


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


def neighbours(table: pd.DataFrame, atom: int) -> pd.DataFrame:
    """Candidate neighbours of ``atom``: ``element``, ``distance``, ``pair_cutoff`` (A) and ``kept``."""
    parts = []
    for own, other in (("i", "j"), ("j", "i")):  # each pair is listed once and used in both directions
        columns = [f"element_{other}", "distance_angstrom", "pair_cutoff_angstrom", "kept"]
        part = table.loc[table[f"atom_{own}"] == atom, columns]
        parts.append(part.set_axis(["element", "distance", "pair_cutoff", "kept"], axis=1))
    return pd.concat(parts, ignore_index=True)


def sectors(around: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Begin and end (degrees) of the sector of each element among neighbours, by their number, in alphabetical order.

    The rest of the circle is gaps; sectors are not narrower than a label.
    """
    counts = around["element"].value_counts().sort_index()
    least = min(NARROWEST + GAP, 360.0 / len(counts))
    ends = (least + (360.0 - len(counts) * least) * counts / counts.sum()).cumsum()
    begins = ends.shift(fill_value=0.0)
    return {e: (90.0 + begins[e] + GAP / 2, 90.0 + ends[e] - GAP / 2) for e in counts.index}


def spread_out(count: int) -> np.ndarray:
    """``count`` places in (0, 1), consecutive ones far apart: the van der Corput sequence, shifted off the ends."""
    places = [int(f"{index:b}"[::-1], 2) / 2 ** index.bit_length() for index in range(1, count + 1)]
    return np.array(places, dtype=float)


def plane(positions: np.ndarray) -> np.ndarray:
    """Rows: the two directions of largest extent of the atoms, then the viewing direction; [3, 3], right-handed."""
    _, _, axes = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=True)
    for axis in axes[:2]:
        axis *= np.sign(axis[np.argmax(np.abs(axis))])  # the sign of a singular vector is arbitrary
    axes[2] = np.cross(axes[0], axes[1])
    return axes


@drawn
def figure_01(
    example: PathLike, calibration: PathLike, *, title: str, mixing_rule: str, initial_cutoff: float
) -> Drawing:
    """Fig. 1, from a structure of the data and optimised cutoffs; its numbers are all candidate pairs.

    (a) the atoms of the cell in projection, with the cutoff spheres of three of them and the pairs kept by Eq. 4;
    (b), (c) all candidate neighbours of the atoms with the smallest and the largest cutoff, periodic images included,
    at their true distances, but sorted by element: a sector each, filled up to the pair cutoff with this element.

    ``example`` is ``data/example.json``, ``calibration`` a cutoffs file of the same subset, ``mixing_rule`` that of
    Eq. 4, and ``initial_cutoff`` (A) the cutoff of elements that were not calibrated. Raises ValueError if a file lacks
    a key, or for an unknown mixing rule; the message names it.
    """
    with json_of(example) as content:
        structure = {key: content[key] for key in EXAMPLE_KEYS}
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
    figure = new_figure(TEXT_WIDTH, 3.05, title + note)
    panels = figure.subplots(1, 3)
    points = (positions - positions.mean(axis=0)) @ view.T
    _structure_panel(panels[0], table, symbols, cutoffs, points, shown)
    panels[0].set_title(panel_title(0, "one cutoff per atom"))
    for index, (atom, which) in enumerate(((shown[0], "smallest"), (shown[-1], "largest")), start=1):
        axes, around = panels[index], neighbours(table, atom)
        _environment_panel(axes, around, symbols[atom], reach)
        axes.set(xlim=(-1.34 * reach, 1.34 * reach), ylim=(-1.34 * reach, 1.34 * reach))
        axes.set_title(panel_title(index, f"{which} cutoff: {symbols[atom]}, {cutoffs[atom]:.2f} {ANGSTROM}"))
        axes.set_xlabel(
            f"{int(around['kept'].sum())} of {len(around)} neighbours kept\n(numbers: pair cutoffs in {ANGSTROM})"
        )
    for axes in panels:
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
        _scale_bar(axes)
    return figure, table


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


def _environment_panel(axes: Axes, around: pd.DataFrame, element: str, reach: float) -> None:
    """Candidate neighbours at their true distances, a sector for each element; kept ones are filled and large."""
    for other, (begin, end) in (sectors(around) if len(around) else {}).items():
        rows = around[around["element"] == other].sort_values("distance", kind="stable")
        radius, color = rows["pair_cutoff"].iloc[0], element_outline(other)
        axes.add_patch(Wedge((0, 0), radius, begin, end, facecolor=color, alpha=0.25, linewidth=0, zorder=1))
        angle = np.deg2rad(begin + (end - begin) * spread_out(len(rows)))
        x, y = rows["distance"] * np.cos(angle), rows["distance"] * np.sin(angle)
        kept = rows["kept"].to_numpy(dtype=bool)
        axes.plot(x[~kept], y[~kept], **REJECTED_ATOM)
        axes.plot(x[kept], y[kept], **KEPT_ATOM, markerfacecolor=element_color(other))
        middle = np.deg2rad((begin + end) / 2)
        place = 1.2 * reach * np.array([np.cos(middle), np.sin(middle)])
        axes.text(*place, f"{other}\n{radius:.1f}", ha="center", va="center", linespacing=1.1)
    draw_atom(axes, 0, 0, element, zorder=6)


def _scale_bar(axes: Axes) -> None:
    """Scale bar of 2 A in the lower left corner."""
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.plot([left, left + 2.0], [bottom, bottom], color="black", linewidth=1.5, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"2 {ANGSTROM}", (left + 1.0, bottom), (0, 2), textcoords="offset points", ha="center", va="bottom")
