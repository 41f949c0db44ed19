"""Scatter over seeds in a record, and how far a run may be from it.

Numbers with one address but for the seed (in the name of the file, or in the column ``seed``) form a group, which has a
mean and a standard deviation. The scatter of a column is that of asinh(number / size), where size is the column's
typical (median) mean: relative for large numbers, absolute for small ones, also where the sign changes. Of the groups'
scatters the `QUANTILE` is taken, so that a few seeds that went astray do not widen the tolerance of all others; with
three seeds of equal scatter it is 1.2 standard deviations. A group's own deviation counts where it is larger. Groups
are those of all files of a folder, and where these are fewer than `MIN_GROUPS` (a single seed) of all files that have
the column. Groups without any scatter do not count, but a column that has no other must agree to `EXACT`.

The folder, not one file or one subset: the errors of three seeds at many cutoffs are no more than three independent
models, and all FCL seeds share one pre-trained model, so that their own scatter is smaller than that of whole runs.
Checked with two runs of the study mini whose arithmetic differed in the last bits: of 1 978 numbers of each against the
other none is off; with scatter by file or by subset up to 9 were.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from fcl.study.records.rows import KEYS, Cell, Rows

#: A number is off beyond this many standard deviations (times sqrt(2), for the difference of two runs). An error of 30%
#: is off where seeds scatter by 3%: the tolerance is then 5 * sqrt(2) * 1.2 * 3% = 25%.
LIMIT = 5.0
#: Relative tolerance for what does not depend on training (sums in another order).
EXACT = 1e-6
#: Relative scatter, at least, of a column of which the record has one seed.
FALLBACK = 0.1
#: Of the groups' scatters, which one stands for the column.
QUANTILE = 0.75
#: Groups that an estimate needs.
MIN_GROUPS = 5
#: Files that no training enters.
TRAINING_FREE = re.compile(r"data/|tables/table0[1-4]\.csv$")
#: Files made from other results: figures, tables, and what lies in the study's folder (claims).
DERIVED = re.compile(r"figures/|tables/|[^/]*$")

_SEED = re.compile(r"seed=?\d+")


class Scatter:
    """Standard deviations over the seeds of a record, by file and column; the module has the rules."""

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        seeds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)  # (mean, standard deviation)
        for name, rows in tables.items():
            for where, row in rows.items():
                for column, value in row.items():
                    if not isinstance(value, float) or column in KEYS:
                        continue
                    if "seed" in row or _SEED.search(name):
                        seeds[_SEED.sub("seed", name), _SEED.sub("seed", where), column].append(value)
                    stated = row.get(f"{_stem(column)}_std")
                    if isinstance(stated, float) and not column.endswith("_std"):
                        groups[name, f"{_stem(column)} stated"].append((value, stated))
        self._own: dict[tuple[str, str, str], float] = {}
        for (name, where, column), values in seeds.items():
            if len(values) > 1:
                mean = sum(values) / len(values)
                variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
                deviation = 0.0 if min(values) == max(values) else math.sqrt(variance)
                self._own[name, where, column] = deviation
                for level in _levels(name, where, column):
                    groups[level].append((mean, deviation))
        self._sizes = {level: len(found) for level, found in groups.items()}
        self._pooled = {level: _pool(found) for level, found in groups.items()}

    def allowed(self, name: str, where: str, row: Mapping[str, Cell], column: str, up: bool) -> float | None:
        """Largest difference of a number that is not off; None where the record does not give its scatter.

        ``row`` is the record's; ``up`` says whether the run's number is larger. 0 for text.
        """
        value, stem = row[column], _stem(column)
        if not isinstance(value, float):
            return None if value is None and DERIVED.match(name) else 0.0
        if TRAINING_FREE.match(name) or column in KEYS:
            return EXACT * abs(value)
        folder, everywhere = _levels(name, where, column)
        if self._sizes.get(folder, 0) >= MIN_GROUPS:
            own = self._own.get((_SEED.sub("seed", name), _SEED.sub("seed", where), column), 0.0)
            return max(LIMIT * math.sqrt(2.0) * own, _band(value, *self._pooled[folder], up))
        if (stated := (name, f"{stem} stated")) in self._sizes:
            centre = row.get(f"{stem}_mean", row.get(stem))
            return _band(centre if isinstance(centre, float) else value, *self._pooled[stated], up)
        if DERIVED.match(name):
            return None
        size, deviation = self._pooled.get(everywhere, (0.0, 0.0))
        return _band(value, size or abs(value), max(deviation, FALLBACK), up)


def _stem(column: str) -> str:
    return column.removesuffix("_mean").removesuffix("_std")


def _levels(name: str, where: str, column: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Where to look for the scatter of a column: the files of that folder and kind, and all files."""
    column = f"{where}.{column}" if name.endswith(".json") else column
    return (f"{Path(name).parent}/*{Path(name).suffix}", column), ("*", column)


def _pool(groups: list[tuple[float, float]]) -> tuple[float, float]:
    """Typical size (median) and scatter (`QUANTILE`) of asinh(number / size); groups are (mean, deviation)."""
    groups = [(mean, deviation) for mean, deviation in groups if deviation > 0.0]
    if not groups:
        return 0.0, 0.0
    size = median(abs(mean) for mean, _ in groups)
    scatter = sorted(deviation / math.hypot(mean, size) for mean, deviation in groups)
    return size, scatter[min(int(QUANTILE * len(scatter)), len(scatter) - 1)]


def _band(value: float, size: float, deviation: float, up: bool) -> float:
    """Allowed difference from ``value`` upwards or downwards, in its unit."""
    if not size or not deviation:
        return EXACT * abs(value)
    step = LIMIT * math.sqrt(2.0) * deviation * (1.0 if up else -1.0)
    return abs(size * math.sinh(math.asinh(value / size) + step) - value)
