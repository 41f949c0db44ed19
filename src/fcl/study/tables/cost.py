"""Tables beyond the paper: measured time and memory against pairs; calibration with and without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, written

#: A difference of the Bayesian information criterion that counts as very strong evidence; points on each of two lines.
EVIDENCE, FEWEST = 10.0, 4
TIME, MEMORY, PAIRS = "microseconds_per_atom", "peak_memory_kb_per_atom", "pairs_per_atom"
WALL_CLOCK = {
    "subset": Column("subset"),
    "cutoffs": Column("cutoffs"),
    PAIRS: Column("pairs per atom", "{:.1f}"),
    TIME: Column("time per atom (µs)", "{:.0f}"),
    MEMORY: Column("peak memory per atom (kB)", "{:.0f}"),
    "pairs_ratio": Column("pairs, of the start", "{:.0%}"),
    "time_ratio": Column("time, of the start", "{:.0%}"),
    "memory_ratio": Column("memory, of the start", "{:.0%}"),
}
LABELS = {
    "subset": Column("subset"),
    "lambda": Column("λ", "{:.0e}"),
    "pairs_start": Column("pairs per atom: start", "{:.1f}"),
    "pairs_labelled": Column("pairs: with labels", "{:.1f}"),
    "pairs_unlabelled": Column("pairs: without", "{:.1f}"),
    "change_labelled": Column("change of force RMSE: with labels", "{:+.1%}"),
    "change_unlabelled": Column("change: without", "{:+.1%}"),
    "added_mev_per_angstrom": Column("added force error, without (meV/Å)", "{:.0f}"),
    "most_change_unlabelled": Column("hence the change without, at most", "{:+.1%}"),
}


@dataclass(frozen=True)
class Regimes:
    """Time or memory per atom against pairs per atom: a line, or two that meet at ``bend`` pairs per atom."""

    overhead: float  # per atom, without pairs
    slope: float  # per pair, up to the bend
    deviation: float  # RMS relative deviation of the measured values
    bend: float = math.inf
    slope_beyond: float = math.nan

    def at(self, pairs: np.ndarray) -> np.ndarray:
        """The fitted value at ``pairs`` per atom."""
        first = self.overhead + self.slope * np.minimum(pairs, self.bend)
        return first if math.isinf(self.bend) else first + self.slope_beyond * np.maximum(pairs - self.bend, 0.0)

    def text(self, unit: str) -> str:
        """The fit in words; ``unit`` follows its numbers."""
        line = f"{self.overhead:.0f}{unit} + {self.slope:.2g}{unit} × pairs per atom"
        if math.isinf(self.bend):
            return line
        return f"{line} up to {self.bend:.0f} pairs, {self.slope_beyond:.2g}{unit} for each further pair"


def regimes(pairs: np.ndarray, values: np.ndarray) -> Regimes:
    """Least squares of the relative deviations of ``values`` > 0 from one or two lines against ``pairs``.

    One line misses what happens where calls are dominated by another thing than the pairs, or pairs become more
    expensive. Two that meet at one of the measured points are taken if they lower the Bayesian information criterion
    by more than `EVIDENCE`, each has `FEWEST` points, and neither falls: no pair makes an evaluation cheaper.
    """
    count, found = len(pairs), []
    for bend in [math.inf, *np.unique(pairs)]:
        beyond = pairs > bend
        if math.isfinite(bend) and min(beyond.sum(), count - beyond.sum()) < FEWEST:
            continue
        columns = [np.ones(count), np.minimum(pairs, bend), *([] if math.isinf(bend) else [(pairs - bend) * beyond])]
        matrix = np.stack(columns, axis=1) / values[:, None]
        numbers, *_ = np.linalg.lstsq(matrix, np.ones(count), rcond=None)
        deviation = float(np.sqrt(np.mean((matrix @ numbers - 1.0) ** 2)))
        parameters = len(columns) + math.isfinite(bend)
        criterion = 2.0 * count * math.log(max(deviation, 1e-6)) + parameters * math.log(count)
        overhead, slope, *further = map(float, numbers)
        if math.isfinite(bend) and min(slope, *further) < -1e-6:
            continue
        found.append((criterion, Regimes(overhead, slope, deviation, float(bend), *further)))
    (single, line), (best, fit) = found[0], min(found, key=lambda one: one[0])
    return fit if best < single - EVIDENCE else line


def wall_clock_table(measured: PathLike, start: float) -> pd.DataFrame:
    """Measured rows with their ratios to the uniform cutoff ``start`` (A) of the same subset.

    Raises `ValueError` if a subset was not measured at ``start``.
    """
    table = pd.read_csv(measured)
    uniform = table["configuration"] == "uniform"
    first = table[uniform & np.isclose(table["cutoff_angstrom"], start)].set_index("subset")
    missing = [subset for subset in table["subset"].unique() if subset not in first.index]
    if missing:
        raise ValueError(f"{measured}: {missing[0]} was not measured at {start:g} A")
    for ratio, column in (("pairs_ratio", PAIRS), ("time_ratio", TIME), ("memory_ratio", MEMORY)):
        table[ratio] = table[column] / table["subset"].map(first[column])
    names = [
        f"{row.cutoff_angstrom:.1f} Å" if row.configuration == "uniform" else f"λ = {row.lam:.0e}"
        for row in table.rename(columns={"lambda": "lam"}).itertuples()
    ]
    ranks = {name: rank for rank, name in enumerate([*table["subset"].unique(), "uniform", "optimised"])}
    order = ["subset", "configuration", PAIRS]
    return table.assign(cutoffs=names).sort_values(order, key=lambda c: c.replace(ranks), ignore_index=True)


@written("tab:wall-clock")
def table_wall_clock(measured: PathLike, *, initial_cutoff: float) -> Table:
    """The table of measured cost; ratios refer to the cutoff ``initial_cutoff`` (A)."""
    table = wall_clock_table(measured, initial_cutoff)
    fit = regimes(table[PAIRS].to_numpy(float), table[TIME].to_numpy(float))
    caption = (
        f"Time of energies and forces per atom and step, and peak memory beyond model and batch: uniform cutoffs, and "
        f"those optimised at each λ. The start is {initial_cutoff:g} Å everywhere. Measured on one machine "
        f"({where_measured(table)}), whose numbers they are. Pairs "
        f"were selected beforehand: neighbour lists are not included. Fitted to all rows: time = {fit.text(' µs')} "
        f"(typical deviation {fit.deviation:.1%})."
    )
    return Table(table, WALL_CLOCK, caption)


def where_measured(table: pd.DataFrame) -> str:
    """``a processor, 2 CPU threads``: device and threads of the measurements."""
    threads = int(table["threads"].iloc[0])
    return f"{table['device'].iloc[0]}, {threads} CPU thread{'s' if threads > 1 else ''}"


def labels_table(labelled: Sequence[PathLike], unlabelled: Sequence[PathLike]) -> pd.DataFrame:
    """One row per (subset, lambda, seed) of ``unlabelled``: cost and test error of both calibrations.

    ``most_change_unlabelled`` is the bound from the added error: added error / force RMSE at the start.
    """
    key, force = ["subset", "lambda", "seed"], "force_rmse_ev_per_angstrom"
    with_labels, without = (
        pd.concat(map(pd.read_csv, files)).set_index([*key, "configuration"]) for files in (labelled, unlabelled)
    )
    start, end = (without.xs(name, level="configuration") for name in ("initial", "optimised"))
    other = with_labels.xs("optimised", level="configuration").loc[end.index]
    columns = {
        "pairs_start": start[PAIRS],
        "pairs_labelled": other[PAIRS],
        "pairs_unlabelled": end[PAIRS],
        "force_rmse_start_ev_per_angstrom": start[force],
        "change_labelled": other[force] / start[force] - 1.0,
        "change_unlabelled": end[force] / start[force] - 1.0,
        "added_mev_per_angstrom": 1000.0 * end[f"added_{force}"],
        "most_change_unlabelled": end[f"added_{force}"] / start[force],
    }
    return pd.DataFrame(columns).loc[end.index].reset_index()


@written("tab:labels")
def table_labels(labelled: Sequence[PathLike], unlabelled: Sequence[PathLike], *, initial_cutoff: float) -> Table:
    """The comparison of calibrations with and without labels; ``initial_cutoff`` in A."""
    caption = (
        "Cutoffs optimised with labels, and with the model's own energies and forces at the start "
        f"({initial_cutoff:g} Å everywhere) in their place; all else is the same. Pairs and force RMSE are those of "
        "the test structures, against their labels. The added force error is the RMS change of the model's own forces, "
        "all that is known where there are no labels: it bounds what shorter cutoffs add and says nothing of the error "
        "of the model itself."
    )
    return Table(labels_table(labelled, unlabelled), LABELS, caption)
