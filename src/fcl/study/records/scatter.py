"""Scatter over seeds in a record, and the resulting tolerance for a run.

Numbers whose location differs only in the seed (in the file name or in the column ``seed``) form a group with a mean
and a standard deviation. The scatter of a column is that of asinh(number / size), where size is the column's
typical (median) mean: relative for large numbers, absolute for small ones, including sign changes. The `QUANTILE` of
the scatter over groups is used, so that a few outlying seeds do not widen the tolerance of all others; with three seeds
of equal scatter it is 1.2 standard deviations. The group's own deviation is used if it is larger. Groups are taken from
all files of a folder, or, if these are fewer than `MIN_GROUPS` (a single seed), from all files with the column. Groups
without scatter are ignored, but a column that has no other must agree to `EXACT`.

Groups are pooled over a folder, not a file or subset: the errors of three seeds at many cutoffs are only three
independent models, and all FCL seeds share one pre-trained model, so that their scatter is smaller than that of whole
runs. Checked with two runs of the study mini whose arithmetic differed in the last bits: of 1 978 numbers of each
against the other none is off; with scatter by file or by subset up to 9 were.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median, stdev

from fcl.study.records.rows import KEYS, Cell, Rows

#: A number is off beyond this many standard deviations (times sqrt(2), for the difference of two runs). For seeds that
#: scatter by 3%, the tolerance is 5 * sqrt(2) * 1.2 * 3% = 25%, and a deviation of 30% is off.
LIMIT = 5.0
#: Relative tolerance for numbers independent of training (different summation order).
EXACT = 1e-6
#: Minimum relative scatter of a column with a single seed in the record.
FALLBACK = 0.1
#: Quantile of the scatter over groups, used for the column.
QUANTILE = 0.75
#: Minimum number of groups for an estimate.
MIN_GROUPS = 5
#: Files independent of training.
TRAINING_FREE = re.compile(r"data/|tables/table0[1-4]\.csv$")
#: Files made from other results: figures, tables, and files in the study folder (claims).
DERIVED = re.compile(r"figures/|tables/|[^/]*$")

_SEED = re.compile(r"seed=?\d+")


class Scatter:
    """Standard deviations over the seeds of a record, by file and column; see the module docstring."""

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
                mean, deviation = fmean(values), stdev(values)
                self._own[name, where, column] = deviation
                for level in _levels(name, where, column):
                    groups[level].append((mean, deviation))
        self._sizes = {level: len(found) for level, found in groups.items()}
        self._pooled = {level: _pool(found) for level, found in groups.items()}

    def allowed(self, name: str, where: str, row: Mapping[str, Cell], column: str, up: bool) -> float | None:
        """Allowed difference of a number; None if the record does not give its scatter, 0 for text.

        ``row`` is that of the record; ``up`` is true if the number of the run is larger.
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
    """Search order for the scatter of a column: files of the same folder and kind, then all files."""
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
    """Allowed upward or downward difference from ``value``, in its unit."""
    if not size or not deviation:
        return EXACT * abs(value)
    step = LIMIT * math.sqrt(2.0) * deviation * (1.0 if up else -1.0)
    return abs(size * math.sinh(math.asinh(value / size) + step) - value)
