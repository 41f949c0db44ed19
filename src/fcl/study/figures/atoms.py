"""Drawing of atoms in Figures 1 and 2."""

from __future__ import annotations

from matplotlib.axes import Axes

#: Conventional element colours mapped to the colour-blind palette; other elements are brown.
COLORS = {
    "H": "#f4f4f4", "C": "#5a5a5a", "N": "#56b4e9", "O": "#d55e00", "F": "#029e73", "S": "#ece133", "P": "#de8f05",
    "Cl": "#7cc9a0", "Si": "#fbafe4", "Na": "#cc78bc", "K": "#cc78bc",
}  # fmt: skip
OTHER_COLOR = "#ca9161"


def element_color(element: str) -> str:
    """Fill colour of an element."""
    return COLORS.get(element, OTHER_COLOR)


def element_outline(element: str) -> str:
    """Line colour of an element; hydrogen's fill colour would be invisible on white."""
    return "0.55" if element == "H" else element_color(element)


def draw_atom(axes: Axes, x: float, y: float, element: str, zorder: float) -> None:
    """Draw a ball labelled with the element symbol."""
    style = {"markersize": 9, "markeredgecolor": "0.2", "markeredgewidth": 0.6, "zorder": zorder}
    axes.plot(x, y, "o", color=element_color(element), **style)
    text = {"ha": "center", "va": "center_baseline", "fontsize": 6.5, "zorder": zorder + 0.1}
    axes.text(x, y, element, color="white" if element == "C" else "black", **text)
