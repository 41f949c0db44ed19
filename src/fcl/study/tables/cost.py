"""Tables beyond the paper: measured time and memory against pairs; calibration with and without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fcl.study.tables.common import Column, PathLike, TableFiles, write_table

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


def straight_line(pairs: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Intercept, slope and R^2 of a least-squares line through ``values`` against ``pairs``."""
    slope, intercept = np.polyfit(pairs, values, 1)
    residual = values - intercept - slope * pairs
    return float(intercept), float(slope), float(1.0 - residual.var() / values.var())


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


def table_wall_clock(
    measured: PathLike, csv: PathLike, markdown: PathLike, latex: PathLike, html: PathLike, *, title: str, start: float
) -> None:
    """Write the table of measured cost; ``title`` names the data, ratios refer to the cutoff ``start`` (A)."""
    table = wall_clock_table(measured, start)
    pairs, time = table[PAIRS].to_numpy(float), table[TIME].to_numpy(float)
    intercept, slope, determination = straight_line(pairs, time)
    threads = int(table["threads"].iloc[0])
    caption = (
        f"Time of energies and forces per atom and step, and peak memory beyond model and batch: uniform cutoffs, and "
        f"those optimised at each λ. The start is {start:g} Å everywhere. Measured on one machine "
        f"({table['device'].iloc[0]}, {threads} CPU thread{'s' if threads > 1 else ''}), whose numbers they are. Pairs "
        "were selected beforehand: neighbour lists are not included. Line through all rows: time = "
        f"{intercept:.0f} µs + {slope:.2g} µs × pairs per atom, R² = {determination:.3f}. "
        f"Data of this study: {title}."
    )
    write_table(table, WALL_CLOCK, TableFiles(csv, markdown, latex, html), caption=caption, label="tab:wall-clock")


def labels_table(labelled: Sequence[PathLike], unlabelled: Sequence[PathLike]) -> pd.DataFrame:
    """One row per (subset, lambda, seed) of ``unlabelled``: cost and test error of both calibrations.

    ``most_change_unlabelled`` is the bound from the added error: added error / force RMSE at the start.
    """
    key, force = ["subset", "lambda", "seed"], "force_rmse_ev_per_angstrom"
    with_labels, without = (
        pd.concat(map(pd.read_csv, files)).set_index([*key, "configuration"]) for files in (labelled, unlabelled)
    )
    rows = []
    for where in without.index.droplevel("configuration").unique():
        start, end, other = without.loc[(*where, "initial")], without.loc[(*where, "optimised")], (*where, "optimised")
        rows.append(
            {
                **dict(zip(key, where, strict=True)),
                "pairs_start": start[PAIRS],
                "pairs_labelled": with_labels.loc[other, PAIRS],
                "pairs_unlabelled": end[PAIRS],
                "force_rmse_start_ev_per_angstrom": start[force],
                "change_labelled": with_labels.loc[other, force] / start[force] - 1.0,
                "change_unlabelled": end[force] / start[force] - 1.0,
                "added_mev_per_angstrom": 1000.0 * end[f"added_{force}"],
                "most_change_unlabelled": end[f"added_{force}"] / start[force],
            }
        )
    return pd.DataFrame(rows)


def table_labels(
    labelled: Sequence[PathLike], unlabelled: Sequence[PathLike], csv: PathLike, markdown: PathLike, latex: PathLike,
    html: PathLike, *, title: str, start: float,
) -> None:  # fmt: skip
    """Write the comparison of calibrations; ``title`` names the data, ``start`` is the initial cutoff (A)."""
    caption = (
        "Cutoffs optimised with labels, and with the model's own energies and forces at the start "
        f"({start:g} Å everywhere) in their place; all else is the same. Pairs and force RMSE are those of the test "
        "structures, against their labels. The added force error is the RMS change of the model's own forces, all that "
        "is known where there are no labels: it bounds what shorter cutoffs add and says nothing of the error of the "
        f"model itself. Data of this study: {title}."
    )
    table = labels_table(labelled, unlabelled)
    write_table(table, LABELS, TableFiles(csv, markdown, latex, html), caption=caption, label="tab:labels")
