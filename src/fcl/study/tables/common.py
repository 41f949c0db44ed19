"""Tables in four formats: CSV with full precision and plain column names; Markdown, LaTeX and HTML for reading."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from string import Formatter
from typing import Any

import pandas as pd

from fcl.evaluation.statistics import Judgement
from fcl.runs.files import write_csv, write_text
from fcl.study.products import extended
from fcl.study.read import PathLike

MISSING = "–"
#: LaTeX special characters in text mode.
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
_STYLE = """
body { font-family: sans-serif; font-size: 14px; margin: 1.5em; color: #222; }
table { border-collapse: collapse; min-width: 60em; }
caption { text-align: left; padding-bottom: 0.8em; }
th, td { text-align: left; vertical-align: top; padding: 0.25em 0.8em; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #555; }
"""


@dataclass(frozen=True)
class Column:
    """Display of a column: heading and cell format (``str.format``); the CSV keeps names and digits.

    Fields of the format are the value of the column itself, or by name those of other columns; all are multiplied by
    ``scale``. A cell without a value, or of which a field is missing, is a dash.
    """

    heading: str
    format: str = "{}"
    scale: float = 1.0


def ranged(name: str, heading: str, pattern: str, scale: float) -> dict[str, Column]:
    """A column ``name`` with its interval, from `interval_cells`: ``5.1 [4.0, 6.2]``."""
    fields = (f"{{{field}:{pattern}}}" for field in (name, f"{name}_low", f"{name}_high"))
    return {name: Column(heading, "{} [{}, {}]".format(*fields), scale)}


@dataclass(frozen=True)
class Table:
    """A table to be written: ``rows`` is the CSV, ``columns`` are those shown, in order, also of further ``texts``."""

    rows: pd.DataFrame
    columns: Mapping[str, Column]
    caption: str
    texts: Mapping[str, Any] = field(default_factory=dict)


def written(label: str) -> Callable[[Callable[..., Table]], Callable[..., None]]:
    """Decorator of a function that makes a `Table`: it is written in four formats, atomically.

    The decorated function also takes the output files ``csv``, ``markdown``, ``latex`` and ``html``, and the ``title``
    of the study's data, if there is one, with which the caption ends. ``label`` is the LaTeX label.
    """

    def decorator(make: Callable[..., Table]) -> Callable[..., None]:
        @functools.wraps(make)
        def write(
            *inputs, csv: PathLike, markdown: PathLike, latex: PathLike, html: PathLike, title: str = "", **options
        ) -> None:
            table = make(*inputs, **options)
            caption = f"{table.caption} Data of this study: {title}." if title else table.caption
            cells = shown(table.rows.assign(**table.texts), table.columns)
            write_csv(csv, table.rows)
            write_text(markdown, f"{caption}\n\n{as_markdown(cells)}\n")
            write_text(latex, as_latex(cells, caption, label))
            write_text(html, as_html(cells, caption))

        write.__signature__ = extended(make, csv=..., markdown=..., latex=..., html=..., title="")
        return write

    return decorator


def interval_cells(name: str, one: Judgement) -> dict[str, float]:
    """``name``, ``<name>_low`` and ``<name>_high``: a value with its interval, as columns of a CSV."""
    return {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}


def interval_of(row: Mapping[str, float], name: str, pattern: str, scale: float = 1.0) -> str:
    """The cell of `ranged` for a single row."""
    return _cell(row, name, ranged(name, "", pattern, scale)[name])


def shown(table: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The cells of ``table`` as text under their headings; empty cells become a dash. Other columns are left out.

    Raises `ValueError` if two columns have the same heading.
    """
    headings = [column.heading for column in columns.values()]
    if len(set(headings)) < len(headings):
        raise ValueError(f"two columns of a table have the same heading: {', '.join(headings)}")
    rows = table.to_dict("records")
    return pd.DataFrame(
        {column.heading: [_cell(row, name, column) for row in rows] for name, column in columns.items()}
    )


def _cell(row: Mapping[str, Any], name: str, column: Column) -> str:
    fields = {field or name for _, field, _, _ in Formatter().parse(column.format) if field is not None}
    values = {field: row[field] for field in fields}
    if row[name] == "" or any(map(pd.isna, values.values())):
        return MISSING
    scaled = values if column.scale == 1.0 else {field: column.scale * value for field, value in values.items()}
    return column.format.format(scaled.get(name), **scaled)


def as_markdown(table: pd.DataFrame) -> str:
    """A Markdown table of text cells; ``|`` is escaped."""
    cells = table.map(lambda text: text.replace("|", r"\|"))
    return cells.to_markdown(index=False, disable_numparse=True)


def latex_escape(text: str) -> str:
    """``text`` with LaTeX's special characters escaped."""
    return text.translate(_LATEX)


def as_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table of text cells with booktabs' rules; everything is escaped."""
    cells = table.map(latex_escape).rename(columns=latex_escape)
    return cells.to_latex(index=False, escape=False, caption=latex_escape(caption), label=label, position="htbp")


def as_html(table: pd.DataFrame, caption: str, classes: Mapping[str, str] | None = None) -> str:
    """A self-contained page with the table. ``classes`` maps cell text to colours (CSS)."""
    colours = dict(classes or {})
    head = "".join(f"<th>{escape(str(name))}</th>" for name in table.columns)
    rows = []
    for row in table.itertuples(index=False):
        cells = (f'<td style="background: {colours[text]}">' if text in colours else "<td>" for text in row)
        rows.append("".join(f"{cell}{escape(text)}</td>" for cell, text in zip(cells, row, strict=True)))
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(caption)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<table>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</body>\n</html>\n"
    )
