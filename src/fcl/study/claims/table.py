"""The claims table of a study: CSV, Markdown and HTML, and the block shown in the README."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated
from fcl.runs.files import write_csv, write_text
from fcl.study.claims.values import FUNCTIONS
from fcl.study.claims.verdicts import (
    KINDS,
    NOT_COMPARABLE,
    NOT_EVALUATED,
    NOT_REPRODUCED,
    REPRODUCED,
    VERDICTS,
    data_difference,
    parse_tolerance,
    verdict,
)
from fcl.study.results import Results
from fcl.study.tables.common import Column, html, markdown, shown

PathLike = str | os.PathLike[str]
CLAIM_COLUMNS = ("id", "where", "dataset", "quantity", "paper_value", "unit", "kind", "tolerance", "note")
COLUMNS = (
    "id", "where", "dataset", "quantity", "kind", "unit", "paper_value", "value", "standard_error",
    "relative_difference", "tolerance", "verdict", "reason",
)  # fmt: skip
UNITS = {"1": "", "ratio": "", "A": " Å", "eV/A": " eV/Å", "meV/A": " meV/Å", "eV": " eV"}
COLOURS = {REPRODUCED: "#cce8d6", NOT_REPRODUCED: "#f6cfc4", NOT_COMPARABLE: "#e4e4e4", NOT_EVALUATED: "#fbf0c4"}
SHOWN = {
    "where": Column("paper"),
    "claim": Column("claim"),
    "paper_text": Column("paper's value"),
    "value_text": Column("this study"),
    "difference_text": Column("difference"),
    "tolerance": Column("tolerance"),
    "verdict": Column("verdict"),
    "reason": Column("reason"),
}


def read_claims(source: PathLike) -> pd.DataFrame:
    """The claims (resources/claims.csv) with parsed tolerances in ``rule``.

    Raises `ValueError` naming the file and the claim for a missing column, a duplicate id, a claim without a function,
    an unknown kind, unit or tolerance, or a tolerance without a paper value.
    """
    table = pd.read_csv(Path(source), dtype=str, keep_default_na=False)
    missing = [name for name in CLAIM_COLUMNS if name not in table]
    if missing:
        raise ValueError(f"{source}: column {missing[0]!r} is missing")
    doubled = table.loc[table["id"].duplicated(), "id"]
    if len(doubled):
        raise ValueError(f"{source}: id {doubled.iloc[0]!r} occurs twice")
    rules = []
    for claim in table.itertuples():
        where = f"{source}: claim {claim.id!r}"
        if claim.id not in FUNCTIONS:
            raise ValueError(f"{where}: no function computes it (fcl.study.claims.values)")
        if claim.kind not in KINDS:
            raise ValueError(f"{where}: kind {claim.kind!r} is unknown; known are {', '.join(KINDS)}")
        if claim.unit and claim.unit not in UNITS:
            raise ValueError(f"{where}: unit {claim.unit!r} is unknown")
        try:
            rules.append(parse_tolerance(claim.tolerance, claim.unit))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if (rules[-1].rule == "all") != (claim.paper_value == ""):
            raise ValueError(f"{where}: either both a paper_value and a tolerance, or neither")
    table["paper_value"] = pd.to_numeric(table["paper_value"])
    return table.assign(rule=rules)


def claims_table(results: Results, source: PathLike, *, dataset: str, whole: bool) -> pd.DataFrame:
    """One row per claim with the study's value and the verdict, see `COLUMNS`.

    ``dataset`` is the name in the data manifest; ``whole``: no structure was left out.
    """
    other = data_difference(dataset, whole)
    claims = read_claims(source)
    rows = []
    for claim in claims.to_dict("records"):
        paper = None if pd.isna(claim["paper_value"]) else float(claim["paper_value"])
        row = {"value": None, "standard_error": None, "relative_difference": None}
        try:
            measured = FUNCTIONS[claim["id"]](results)
        except NotEvaluated as missing:
            row |= {"verdict": NOT_EVALUATED, "reason": str(missing)}
        else:
            name, reason = verdict(claim["kind"], measured, paper, claim["rule"], other)
            row |= {"value": measured.value, "standard_error": measured.standard_error}
            row |= {"verdict": name, "reason": reason}
            if paper is not None:
                row["relative_difference"] = measured.value / paper - 1.0
        rows.append({**{name: claim[name] for name in claim if name not in ("note", "rule")}, **row})
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def write_claims(
    metrics: Sequence[PathLike], histories: Sequence[PathLike], diatomics: Sequence[PathLike],
    cutoffs: Sequence[PathLike], calibrations: Sequence[PathLike], neighbors: PathLike, elements: PathLike,
    hyperparameters: PathLike, source: PathLike, csv: PathLike, markdown: PathLike, html: PathLike, *,
    dataset: str, title: str, whole: bool,
) -> None:  # fmt: skip
    """Compute every claim of ``source`` from the result files and write the table as CSV, Markdown and HTML."""
    results = Results.of_files(
        metrics, histories, diatomics, cutoffs, calibrations, neighbors, elements, hyperparameters
    )
    table = claims_table(results, source, dataset=dataset, whole=whole)
    write_csv(csv, table, COLUMNS)
    write_text(markdown, f"Data of this study: {title}.\n\n{claims_markdown(table)}")
    write_text(html, claims_html(table, title))


def read_table(path: PathLike) -> pd.DataFrame:
    """Read a claims table; units are kept as text, since one of them is 1."""
    return pd.read_csv(Path(path), dtype={"unit": str})


def counts(table: pd.DataFrame) -> str:
    """Number of claims per verdict, as a sentence."""
    found = table["verdict"].value_counts()
    return f"{len(table)} claims: " + ", ".join(f"{found.get(name, 0)} {name}" for name in VERDICTS) + "."


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` as text: ``claim``, ``paper_text``, ``value_text`` (± standard error), ``difference_text``.

    Differences from a bound are meaningless and omitted.
    """

    def number(value: float, unit: str) -> str:
        digits = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return digits + UNITS[unit]

    def value(row) -> str:
        if pd.isna(row.value):
            return ""
        if pd.isna(row.paper_value):
            return f"{row.value:.0%} of the conditions"
        error = "" if pd.isna(row.standard_error) else f" ± {row.standard_error:.2g}"
        return f"{number(row.value, '1')}{error}{UNITS[row.unit]}"

    rows = list(table.itertuples())
    bounds = {"lower bound": "> ", "upper bound": "< "}
    return table.assign(
        claim=[f"{row.quantity} ({row.dataset})" for row in rows],
        paper_text=[
            "" if pd.isna(row.paper_value) else bounds.get(row.tolerance, "") + number(row.paper_value, row.unit)
            for row in rows
        ],
        value_text=[value(row) for row in rows],
        difference_text=[
            "" if pd.isna(row.relative_difference) or row.tolerance in bounds else f"{row.relative_difference:+.1%}"
            for row in rows
        ],
        tolerance=["all conditions" if pd.isna(row.tolerance) or not row.tolerance else row.tolerance for row in rows],
    )


def claims_markdown(table: pd.DataFrame) -> str:
    """The counts and the table as Markdown."""
    return f"{counts(table)}\n\n{markdown(shown(readable(table), SHOWN))}\n"


def claims_html(table: pd.DataFrame, title: str) -> str:
    """The table with its counts as an HTML page, verdicts in colour."""
    caption = f"The paper's claims beside this study. Data of this study: {title}. {counts(table)}"
    return html(shown(readable(table), SHOWN), caption, COLOURS)


def readme_block(study: PathLike) -> str:
    """Content of the README's claims block: the counts and the collapsed table, from the study's claims.csv."""
    table = readable(read_table(Path(study) / "claims.csv"))
    columns = {name: SHOWN[name] for name in ("where", "claim", "paper_text", "value_text", "verdict")}
    return (
        f"{counts(table)}\n\n<details>\n<summary>Every claim of the paper beside the value of this study</summary>\n\n"
        f"{markdown(shown(table, columns))}\n\n</details>"
    )
