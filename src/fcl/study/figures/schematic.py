"""Figure 2: schematic of training with sampled cutoffs and of optimising the cutoffs of the trained model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from fcl.study.figures.atoms import draw_atom, element_color, element_outline
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn, new_figure, panel_title

#: Sketch of methanol: element and position (panel units) of each atom, and bonds.
ATOMS = (
    ("C", 0.0, 0.0),
    ("O", 0.66, 0.34),
    ("H", 0.74, 1.02),
    ("H", -0.62, 0.34),
    ("H", -0.3, -0.64),
    ("H", 0.5, -0.56),
)
BONDS = ((0, 1), (1, 2), (0, 3), (0, 4), (0, 5))
#: Fixed draws from U(0, 1), one per (step, atom), since a schematic shows no result.
DRAWS = ((0.2, 0.85, 0.35, 0.6, 1.0, 0.1), (1.0, 0.2, 0.7, 0.05, 0.4, 0.55), (0.5, 1.0, 0.1, 0.8, 0.2, 0.35))
#: The same per element, before and after the optimisation.
INITIAL, OPTIMISED = dict.fromkeys("HCO", 0.75), {"H": 0.05, "C": 0.5, "O": 0.9}
RADII = (0.42, 1.05)  # radii drawn for the smallest and the largest cutoff
MIDDLE, HEIGHT = 2.9, 1.6  # of the rows; of the boxes
FORWARD = {"color": "0.25", "linewidth": 1.1}
BACKWARD = {"color": "C1", "linewidth": 1.6, "linestyle": (0, (4, 2))}


@drawn
def figure_02(*, r_min: float, r_max: float, initial_cutoff: float) -> Drawing:
    """Fig. 2, a schematic without data: interval of the sampled cutoffs and start of the optimisation (A)."""
    figure = new_figure(TEXT_WIDTH, 4.1, "")
    top, bottom = figure.subplots(2, 1)
    for index, axes in enumerate((top, bottom)):
        axes.set(xlim=(-0.2, 20.4), ylim=(-0.3, 5.5), aspect="equal")
        axes.set_axis_off()
        axes.set_title(panel_title(index, ("training with sampled cutoffs", "optimising the cutoffs")[index]))
    _training(top, f"$r^{{(i)}}_{{cut}}$ ~ U({r_min:.1f}, {r_max:.1f}) {ANGSTROM}")
    _optimisation(bottom, f"{initial_cutoff:.1f} {ANGSTROM}")
    return figure, None


def _training(axes: Axes, distribution: str) -> None:
    axes.text(5.0, 5.2, f"every atom, every step: {distribution}", ha="center", va="center")
    for step, draws in enumerate(DRAWS):
        x = 1.8 + 3.2 * step
        _molecule(axes, x, draws)
        axes.text(x, 0.55, f"step {('t', 't + 1', 't + 2')[step]}", ha="center", fontstyle="italic")
    _arrow(axes, (10.0, 2.9), (10.9, 2.9), **FORWARD)
    _box(axes, (13.0, 2.9), 4.0, "model $f_θ(X; R)$\nweights θ are trained", "C0")
    _arrow(axes, (15.1, 2.9), (16.2, 2.9), **FORWARD)
    _box(axes, (18.2, 2.9), 3.8, "loss: energies and\nforces (L1)", "0.5")
    _arrow(axes, (18.2, 2.0), (13.0, 2.0), curve=-0.3, **BACKWARD)
    axes.text(15.6, 0.55, "gradient with respect to θ", ha="center", color=BACKWARD["color"])


def _optimisation(axes: Axes, initial: str) -> None:
    _molecule(axes, 1.8, [INITIAL[element] for element, *_ in ATOMS])
    axes.text(1.8, 5.2, f"start: uniform {initial}", ha="center", va="center")
    _arrow(axes, (3.6, 2.9), (4.5, 2.9), **FORWARD)
    _molecule(axes, 6.1, [OPTIMISED[element] for element, *_ in ATOMS])
    axes.text(6.1, 5.2, r"$R_E = \{a^{(H)}, a^{(C)}, a^{(O)}\}$", ha="center", va="center")
    _arrow(axes, (7.75, 3.3), (8.6, 3.7), **FORWARD)
    _arrow(axes, (7.75, 2.5), (8.6, 2.1), **FORWARD)
    _box(axes, (10.7, 3.95), 4.0, "model $f_θ(X; R)$\nweights θ are frozen", "0.75")
    _box(axes, (10.7, 1.85), 4.0, "cost $C$: mean of $a^3$", "C2")
    _arrow(axes, (12.8, 3.95), (13.5, 3.95), **FORWARD)
    _box(axes, (14.6, 3.95), 2.0, "error ε", "0.5")
    _arrow(axes, (15.7, 3.95), (16.6, 3.3), **FORWARD)
    _arrow(axes, (12.8, 1.85), (16.6, 2.5), **FORWARD)
    _box(axes, (18.4, 2.9), 3.4, r"$T = ε + λ\,C$" "\nis minimised", "C4")
    _arrow(axes, (18.4, 2.0), (6.1, 1.1), curve=-0.15, **BACKWARD)
    axes.text(13.6, -0.1, "gradient with respect to the cutoffs $R_E$", ha="center", color=BACKWARD["color"])


def _molecule(axes: Axes, x: float, fractions: Sequence[float]) -> None:
    """The sketched molecule around ``x``; ``fractions`` (0 to 1) set the drawn sphere size of each atom."""
    points = np.array([(x + dx, MIDDLE + dy) for _, dx, dy in ATOMS])
    for (element, *_), point, fraction in zip(ATOMS, points, fractions, strict=True):
        radius = RADII[0] + fraction * (RADII[1] - RADII[0])
        color = element_color(element)
        axes.add_patch(Circle(point, radius, facecolor=color, alpha=0.14, linewidth=0))
        axes.add_patch(Circle(point, radius, fill=False, edgecolor=element_outline(element), linewidth=0.8))
    for pair in BONDS:
        axes.plot(*points[list(pair)].T, color="0.2", linewidth=1.2, zorder=3)
    for (element, *_), point in zip(ATOMS, points, strict=True):
        draw_atom(axes, *point, element, zorder=4)


def _box(axes: Axes, centre: tuple[float, float], width: float, text: str, color: str) -> None:
    corner = (centre[0] - width / 2, centre[1] - HEIGHT / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.25", "edgecolor": color, "linewidth": 1.2}
    axes.add_patch(FancyBboxPatch(corner, width, HEIGHT, facecolor="white", **style))
    axes.text(*centre, text, ha="center", va="center", linespacing=1.4)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], *, curve: float = 0.0, **style: object
) -> None:
    shape = f"arc3,rad={curve}"
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, connectionstyle=shape, **style))
