"""Shared by all figures: reading tables, statistics over seeds, style sheet, writing."""

from __future__ import annotations

import functools
import io
import textwrap
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context
from PIL import Image

from fcl.runs.files import atomic_path, write_csv
from fcl.study import paper
from fcl.study.errors import ALL
from fcl.study.products import extended
from fcl.study.read import PathLike

#: A figure and the numbers that it shows; None if they have a file of their own.
Drawing = tuple[Figure, pd.DataFrame | None]

COLUMN_WIDTH = 3.4  # inches
TEXT_WIDTH = 7.0  # inches
CHARACTERS_PER_INCH = 18  # of the title font
ANGSTROM = "Å"
#: What is drawn against cutoffs and pairs, by its name in the CSV of a figure.
FORCE, ENERGY, PAIRS = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "pairs_per_atom"
LABELS = {FORCE: f"force RMSE (meV/{ANGSTROM})", ENERGY: "energy RMSE (meV/atom)", PAIRS: "pairs per atom"}
#: Their columns in ``metrics/`` and ``calibration/``, with a conversion factor.
SOURCES = {
    FORCE: ("force_rmse_ev_per_angstrom", 1000.0),
    ENERGY: ("energy_rmse_ev_per_atom", 1000.0),
    PAIRS: ("pairs_per_atom", 1.0),
}
#: Trivial predictions, as they are called in the figures.
TRIVIAL = {FORCE: "zero forces", ENERGY: "composition"}
LARGEST_PNG = 150_000  # bytes; records are committed
#: Subsets of MAD, the paper's four first, in the order of the colours and markers below.
SUBSETS = (*paper.SUBSETS, "MC3D-rattled", "MC3D-random", "MC3D-surface", "MC3D-cluster")
SUBSET_COLORS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C9")
SUBSET_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


def subset_style(subset: str) -> dict[str, str]:
    """Colour and marker of a subset, the same in all figures and studies; both are for use inside `drawn`.

    Those of an unknown name follow from its letters. All structures together (`ALL`) are dark.
    """
    if subset == ALL:
        return {"color": "0.2", "marker": "p"}
    code = zlib.crc32(subset.encode())
    known = SUBSETS.index(subset) if subset in SUBSETS else None
    color, marker = (code % len(SUBSET_COLORS), code // 8 % len(SUBSET_MARKERS)) if known is None else (known, known)
    return {"color": SUBSET_COLORS[color], "marker": SUBSET_MARKERS[marker]}


def check_seeds(table: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise ValueError if a group of ``by`` holds the same seed twice: its spread would not be that over seeds."""
    doubled = table.duplicated([*by, "seed"])
    if doubled.any():
        row = table.loc[doubled, [*by, "seed"]].iloc[0].to_dict()
        raise ValueError(f"two rows for the same seed: {row}")


def over_seeds(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean and sample standard deviation of ``values`` over seeds in each group of ``by``.

    Returns the columns ``<value>_mean`` and ``<value>_std`` (not a number for a single seed) and ``seeds``, how many.
    Raises ValueError as `check_seeds`.
    """
    check_seeds(table, by)
    statistics = {f"{value}_{name}": (value, name) for value in values for name in ("mean", "std")}
    groups = table.groupby(list(by), sort=True, dropna=False)
    return groups.agg(seeds=("seed", "size"), **statistics).reset_index()


def new_figure(width: float, height: float, title: str) -> Figure:
    """Figure of ``width`` x ``height`` inches with ``title`` (if any) above it, in the style of `drawn`."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    if title:
        lines = textwrap.wrap(title, int(width * CHARACTERS_PER_INCH))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", color="0.35")
    return figure


def panel_grid(
    count: int, most: int, height: tuple[float, float], title: str, *, width: float = TEXT_WIDTH, **options
) -> tuple[Figure, np.ndarray]:
    """Figure and its ``count`` panels, at most ``most`` of them in a row; ``options`` are those of ``subplots``.

    ``height`` is that of all but the panels, and of a row of panels (inches).
    """
    columns = min(most, count)
    rows = -(-count // columns)
    figure = new_figure(width, height[0] + height[1] * rows, title)
    panels = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


@contextmanager
def style() -> Iterator[None]:
    """The project's style, active inside the block only."""
    sheet = resources.files("fcl.study.figures").joinpath("fcl.mplstyle")
    with resources.as_file(sheet) as path, matplotlib.rc_context(), style_context(["default", path]):
        # Distinguishable by colour-blind readers; each use also has its own marker or dash.
        matplotlib.rcParams["axes.prop_cycle"] = cycler("color", seaborn.color_palette("colorblind"))
        yield


def drawn(draw: Callable[..., Drawing]) -> Callable[..., pd.DataFrame | None]:
    """Decorator of a function that draws a figure, in the project's style, and returns it with its numbers.

    The decorated function also takes the output files ``png``, ``pdf`` and ``csv`` (next to ``png`` if not given),
    writes them and returns the numbers; the CSV has six digits. A figure without numbers of its own (None) has no CSV.
    """

    @functools.wraps(draw)
    def written(*inputs, png: PathLike, pdf: PathLike, csv: PathLike | None = None, **options) -> pd.DataFrame | None:
        with style():
            figure, numbers = draw(*inputs, **options)
            save(figure, png, pdf)
        if numbers is not None:
            write_csv(Path(png).with_suffix(".csv") if csv is None else csv, numbers, float_format="%.6g")
        return numbers

    written.__signature__ = extended(draw, png=..., pdf=..., csv=None)
    return written


def panel_title(index: int, text: str) -> str:
    """``(a) text`` for the first panel, ``(b) text`` for the second one."""
    return f"({chr(ord('a') + index)}) {text}"


def as_text(name: str) -> str:
    """A name from the data as a label, in which a dollar sign does not begin a formula."""
    return name.replace("$", r"\$")


def power_of_ten(value: float) -> str:
    """``1e-4`` as mathtext ``10^{-4}``; other values as ``3·10^{-4}``."""
    mantissa, exponent = f"{value:.6e}".split("e")
    digits = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if digits == "1" else rf"${digits}\cdot {power}$"


def spread(table: pd.DataFrame, value: str) -> np.ndarray | None:
    """Standard deviations for error bars; ``None`` for a single seed, so that no bar is drawn."""
    deviations = table[f"{value}_std"].to_numpy(dtype=float)
    return None if np.isnan(deviations).all() else np.nan_to_num(deviations)


def seeds_note(table: pd.DataFrame) -> str:
    """Description of the error bars, appended to a title; empty for a single seed."""
    fewest, most = (int(table["seeds"].min()), int(table["seeds"].max())) if len(table) else (0, 0)
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"; mean ± s.d. of {seeds} seeds" if most > 1 else ""


def in_units_drawn(table: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """``table`` with the columns ``values`` of a figure, from those of `SOURCES`."""
    return table.assign(**{value: SOURCES[value][1] * table[SOURCES[value][0]] for value in values})


def key(label: str, **style) -> Line2D:
    """Entry of a legend."""
    return Line2D([], [], label=label, **style)


def trivial_key(label: str) -> Line2D:
    """Entry of a legend for `trivial_level`."""
    return key(label, color="0.4", linestyle="--", linewidth=1.0)


def trivial_level(axes: Axes, level: float) -> None:
    """The trivial prediction: its value above the panel, and a dashed line unless that is far off."""
    axes.set_title(f"trivial: {level:.0f}", loc="right", color="0.4", fontsize="small")
    low, high = axes.get_ylim()
    if low - 0.5 * (high - low) < level < high + 0.5 * (high - low):
        axes.axhline(level, color="0.4", linestyle="--", linewidth=1.0)


def save(figure: Figure, png: PathLike, pdf: PathLike) -> None:
    """Write a figure as PNG (200 dpi, a palette, at most `LARGEST_PNG`) and PDF, atomically, without dates."""
    with atomic_path(png) as temporary:
        temporary.write_bytes(_small_png(figure))
    with atomic_path(pdf) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def _small_png(figure: Figure) -> bytes:
    """The figure as PNG, with as many of 256 colours as `LARGEST_PNG` allows."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        pixels, dpi = image.convert("RGB"), image.info["dpi"]
    for colours in (256, 128, 64, 32):
        packed = io.BytesIO()
        palette = pixels.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        palette.save(packed, format="png", optimize=True, dpi=dpi)
        if packed.tell() <= LARGEST_PNG:
            break
    return packed.getvalue()
