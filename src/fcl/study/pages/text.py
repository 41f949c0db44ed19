"""Formatting of numbers, lists and tables on the reproduction page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from fcl.evaluation.statistics import Difference, mean_and_deviation
from fcl.study.tables.common import markdown


def mean_text(values: Mapping[int, float], pattern: str = "{:.0f}", scale: float = 1.0) -> str:
    """Mean ± standard deviation over seeds; the mean alone for a single seed."""
    mean, deviation = mean_and_deviation({seed: scale * value for seed, value in values.items()})
    return pattern.format(mean) + ("" if deviation is None else f" ± {pattern.format(deviation).lstrip('+')}")


def difference_text(difference: Difference, pattern: str = "{:+.0f}", scale: float = 1.0) -> str:
    """A difference ± half-width of its 95% interval; without the latter for a single seed."""
    value = pattern.format(scale * difference.value)
    if difference.half_width == float("inf"):
        return f"{value} (one seed)"
    return f"{value} ± {pattern.format(scale * difference.half_width).lstrip('+')}"


def listed(words: Iterable[str], none: str = "none") -> str:
    """``a``, ``a and b``, ``a, b and c``, or ``none``."""
    *first, last = [*words] or [none]
    return f"{', '.join(first)} and {last}" if first else last


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text cells."""
    return markdown(pd.DataFrame([list(row) for row in rows], columns=list(heads)))
