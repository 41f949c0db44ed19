"""Result files as rows of cells: keys that identify a row, and the part that is comparable between two runs.

A CSV file is read as its rows, named by their key cells (``subset=MC3D, cutoff_angstrom=4``); a JSON file as its
objects and lists, named by their path (``provenance``, ``structures[0].uniform``).
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

#: Columns and keys measured on the machine, or describing it.
MEASURED = re.compile(r"(?:^|_)(?:(?:micro)?seconds|memory|time_ratio|threads|device)(?:_|$)")
#: Columns that identify a row and are not results, besides text columns; these two do so alone.
KEYS = frozenset(
    "seed seeds lambda cutoff_angstrom training_cutoff_angstrom distance_angstrom structure structures atoms atom_i "
    "atom_j frame group shift_1 shift_2 shift_3 epoch step repeats atomic_number timestep_fs".split()
)
NAMES = ("id", "key")
#: Text columns derived from numbers.
VERDICTS = frozenset(
    "verdict reason kept best skill static_below_fcl below_uniform below_static within chosen status at_bounds "
    "starts".split()
)
#: Columns of a training history that are settings or random draws.
DRAWN = frozenset({"learning_rate", "mean_cutoff_angstrom", "best"})
#: Distance (A) below which diatomic curves are extrapolated: hardly any training structure has closer atoms.
SHORTEST = 1.0

HISTORY = re.compile(r"(?:.*/)?history/|.*_history\.csv$")
CURVES = re.compile(r"diatomics/")
#: Cutoffs files; how an optimisation ended is another matter with other weights.
CUTOFFS = re.compile(r"(?:calibration|unlabelled)/.*\.json$")
#: Per-structure errors are summed up in ``metrics/``; a choice of lambda is discrete.
CHAOTIC = re.compile(
    r"errors/|calibration/.*_errors\.csv|choice/|observables/|figures/(?:observables|fig04|fig10)\.csv$"
)

Cell = float | str | None
#: Row (its keys, or a JSON path) -> column or JSON key -> cell.
Rows = dict[str, dict[str, Cell]]


def read_rows(path: Path) -> Rows:
    """The cells of a CSV or JSON file; an empty cell, null and nan are None.

    Raises ValueError naming a file that cannot be read.
    """
    rows: Rows = {}
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        if path.suffix == ".json":
            flatten(json.loads(text), "", "", rows)
            return rows
        table = [{name: _cell(cell) for name, cell in row.items()} for row in csv.DictReader(text.splitlines())]
    # AttributeError and TypeError: of a row that is longer or shorter than the header
    except (ValueError, AttributeError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    texts = {name for row in table for name, cell in row.items() if isinstance(cell, str)}
    keys = KEYS | {name for name in texts if name not in VERDICTS and not MEASURED.search(name)}
    repeats: dict[str, int] = defaultdict(int)
    for row in table:
        names = [name for name in NAMES if name in row] or [name for name in row if name in keys]
        where = ", ".join(f"{name}={shown(row[name])}" for name in names if row[name] is not None)
        repeats[where] += 1
        rows[where if repeats[where] == 1 else f"{where} ({repeats[where]})"] = row
    return rows


def flatten(value: Any, where: str, key: str, rows: Rows) -> None:
    """Add a JSON ``value``, found as ``key`` (or ``[index]``) in ``where``, to ``rows``."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else ((f"[{index}]", item) for index, item in enumerate(value))
        below = where + key if key.startswith("[") else f"{where}.{key}".strip(".")
        for name, item in items:
            flatten(item, below, name, rows)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        cell = value if value is None or isinstance(value, str) else float(value) if number else str(value)
        rows.setdefault(where, {})[key] = None if isinstance(cell, float) and math.isnan(cell) else cell


def reduced(name: str, rows: Rows) -> Rows:
    """Part of a file that is comparable between trainings: all, the best epoch, RMS values of curves, or nothing."""
    if CHAOTIC.match(name):
        return {}
    if CUTOFFS.match(name):
        return {where: row for where, row in rows.items() if not where.startswith("provenance.convergence")}
    if HISTORY.match(name) and rows:
        best = [row for row in rows.values() if row.get("best") == "True"] or list(rows.values())
        return {"best epoch": {column: cell for column, cell in best[-1].items() if column not in KEYS | DRAWN}}
    if not CURVES.match(name):
        return rows
    curves: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for where, row in rows.items():
        if isinstance(distance := row.get("distance_angstrom"), float) and distance >= SHORTEST:
            curve = curves[re.sub(r",? ?distance_angstrom=[^,]*", "", where)]
            for column, cell in row.items():
                if column not in KEYS and not isinstance(cell, str):
                    curve[column].append(cell)
    return {where: {column: _rms(cells) for column, cells in curve.items()} for where, curve in curves.items()}


def shown(cell: Cell) -> str:
    """A cell as printed in the name of a row."""
    return "empty" if cell is None else f"{cell:.10g}" if isinstance(cell, float) else cell


def _rms(cells: list[Cell]) -> Cell:
    return None if None in cells else math.sqrt(fmean(cell**2 for cell in cells))


def _cell(text: str) -> Cell:
    try:
        number = float(text)
    except ValueError:
        return text or None
    return None if math.isnan(number) else number
