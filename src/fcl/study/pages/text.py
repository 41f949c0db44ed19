"""Formatting of numbers, lists and tables on generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from fcl.evaluation.statistics import Judgement
from fcl.study.tables.common import as_markdown

#: What brackets mean, on every page.
INTERVALS = (
    "Brackets are 95% intervals. For errors and pairs they contain the scatter over groups of structures (a parent "
    "with its variants) and over trained models, nested in the pre-trained models that they start from; for cutoffs "
    "and curves that over trained models alone. With a single pre-trained model nothing is known of others, with a "
    "single trained model nothing of other seeds."
)


def interval_text(one: Judgement, pattern: str = "{:.0f}", scale: float = 1.0) -> str:
    """``5.1 [4.0, 6.2]``; the value alone if it has no scatter that would be seen, or none is known."""
    value, low, high = (pattern.format(scale * number) for number in (one.value, one.low, one.high))
    return value if low == high else f"{value} [{low}, {high}]"


def listed(words: Iterable[str], none: str = "none") -> str:
    """``a``, ``a and b``, ``a, b and c``, or ``none``."""
    *first, last = [*words] or [none]
    return f"{', '.join(first)} and {last}" if first else last


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text cells."""
    return as_markdown(pd.DataFrame([list(row) for row in rows], columns=list(heads)))
