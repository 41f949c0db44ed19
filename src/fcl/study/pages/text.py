"""Formatting of numbers, lists and tables on generated pages."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from fcl.config.load import Config, load_config
from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, Judgement, NotEvaluated
from fcl.study.tables.common import as_markdown

#: The paper's numbers.
CLAIMS = Path("resources/claims.csv")
#: What brackets mean, on every page.
INTERVALS = (
    "Brackets are 95% intervals. For errors and pairs they contain the scatter over groups of structures (a parent "
    "with its variants) and over trained models, nested in the pre-trained models that they start from; for cutoffs "
    "and curves that over trained models alone. With a single pre-trained model nothing is known of others, with a "
    "single trained model nothing of other seeds."
)


#: How an error changes, by the verdict on whether it falls.
FALLS = {HOLDS: "falls", FAILS: "rises", UNDECIDED: UNDECIDED}


def interval_text(one: Judgement, pattern: str = ".0f", scale: float = 1.0) -> str:
    """``5.1 [4.0, 6.2]``; the value alone if it has no scatter that would be seen, or none is known."""
    value, low, high = (f"{scale * number:{pattern}}" for number in (one.value, one.low, one.high))
    return value if low == high else f"{value} [{low}, {high}]"


def or_reason(part: Callable[[], str], otherwise: str) -> str:
    """A part of a page; if it cannot be evaluated, ``otherwise`` with the reason."""
    try:
        return part()
    except NotEvaluated as missing:
        return otherwise.format(missing)


def listed(words: Iterable[str], none: str = "none") -> str:
    """``a``, ``a and b``, ``a, b and c``, or ``none``."""
    *first, last = [*words] or [none]
    return f"{', '.join(first)} and {last}" if first else last


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text cells."""
    return as_markdown(pd.DataFrame([list(row) for row in rows], columns=list(heads)))


def print_page(
    module: str, description: str | None, page: Callable[[Path, Config, Path], str], arguments: Sequence[str] | None
) -> None:
    """The command ``python -m module``: print the page of a study folder, which is named like the study."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=(description or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, such as record/embedded")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="default: config.yaml")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help=f"the paper's numbers (default {CLAIMS})")
    options = parser.parse_args(arguments)
    if not (options.study / "metrics").is_dir():
        parser.exit(1, f"error: {options.study}: no metrics/; has this study been run?\n")
    print(page(options.study, load_config(options.config), options.claims))
