"""The claims table of a study: CSV, Markdown and HTML, and the block shown in the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, NotEvaluated, verdicts
from fcl.runs.files import write_csv, write_text
from fcl.study.claims.values import FUNCTIONS
from fcl.study.claims.verdicts import (
    KINDS,
    NOT_COMPARABLE,
    NOT_EVALUATED,
    OF_THE_MODEL,
    WAYS,
    StudyData,
    ask,
    parse_tolerance,
)
from fcl.study.read import PathLike, read_table
from fcl.study.results import Results
from fcl.study.tables.common import Column, as_html, as_markdown, shown

CLAIM_COLUMNS = ("id", "where", "dataset", "quantity", "paper_value", "unit", "kind", "tolerance", "note")
COLUMNS = (
    "id", "where", "dataset", "quantity", "kind", "unit", "paper_value", "value", "low", "high", "votes",
    "relative_difference", "tolerance", "verdict", "reason",
)  # fmt: skip
UNITS = {"1": "", "ratio": "", "A": " Å", "eV/A": " eV/Å", "meV/A": " meV/Å", "eV": " eV"}
#: Colours of verdicts, by a word for each and for what it becomes on other data.
COLOURS = {HOLDS: "#cce8d6", FAILS: "#f6cfc4", UNDECIDED: "#fbf0c4"}
GREY = "#e4e4e4"
SHOWN = {
    "where": Column("paper"),
    "claim": Column("claim"),
    "paper_text": Column("paper's value"),
    "value_text": Column("this study (95%)"),
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


def read_sample(source: PathLike | None) -> dict[str, tuple[str, str]]:
    """How each claim can be judged on a sample of the paper's data, and why: ``claims.csv`` beside its data manifest.

    Empty without a file. Raises `ValueError` naming the file for an unknown way.
    """
    if source is None:
        return {}
    table = pd.read_csv(Path(source), dtype=str, keep_default_na=False)
    for row in table.itertuples():
        if row.judged not in WAYS:
            known = ", ".join(WAYS)
            raise ValueError(f"{source}: claim {row.id!r}: judged {row.judged!r} is unknown; known are {known}")
    return {row.id: (row.judged, row.reason) for row in table.itertuples()}


def claims_table(results: Results, source: PathLike, data: StudyData) -> pd.DataFrame:
    """One row per claim with the study's value and the verdict, see `COLUMNS`.

    Verdicts that rest on intervals are adjusted for their number in the table (Holm). Raises `ValueError` for a claim
    that the list of a sample lacks.
    """
    claims = read_claims(source)
    missing = [claim for claim in claims["id"] if data.sample and claim not in data.sample]
    if missing:
        raise ValueError(f"the list of claims of {data.title} lacks {missing[0]!r}")
    rows, asked = [], []
    for claim in claims.to_dict("records"):
        paper = None if pd.isna(claim["paper_value"]) else float(claim["paper_value"])
        unjudged = data.unjudged(claim["id"], claim["kind"])
        row, question = dict.fromkeys(("value", "low", "high", "votes", "relative_difference")), None
        try:
            measured = FUNCTIONS[claim["id"]](results)
            question = ask(measured, claim["rule"], paper, as_exact=claim["kind"] == "data" and not data.difference)
            if data.sample and claim["kind"] == "data" and unjudged is None and not question.sampled:
                raise NotEvaluated("the results do not say how the value scatters over the structures of the sample")
        except NotEvaluated as missing:
            row |= {"verdict": NOT_EVALUATED, "reason": str(missing)}
        else:
            row |= question.cells()
            if paper is not None:
                row["relative_difference"] = row["value"] / paper - 1.0
        if unjudged is not None and (row.get("verdict") != NOT_EVALUATED or unjudged[0] == NOT_COMPARABLE):
            row |= dict(zip(("verdict", "reason"), unjudged, strict=True)) | {"votes": None}
        rows.append({**{key: claim[key] for key in claim if key not in ("note", "rule")}, **row})
        asked.append(None if "verdict" in row else question)
    parts = [part for question in asked if question for part in question.judged.values()]
    judged = iter(verdicts(parts))
    for row, question in zip(rows, asked, strict=True):
        if question:
            found = [next(judged) for _ in question.judged]
            row |= {"verdict": data.word(question.verdict(found), row["kind"]), "reason": question.note(found)}
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def write_claims(
    errors: Sequence[PathLike], histories: Sequence[PathLike], diatomics: Sequence[PathLike],
    cutoffs: Sequence[PathLike], neighbors: PathLike, elements: PathLike, hyperparameters: PathLike, source: PathLike,
    csv: PathLike, markdown: PathLike, html: PathLike, *, nests: Mapping[str, int], dataset: str, title: str,
    whole: bool, sample: PathLike | None = None, structures: PathLike | None = None,
) -> None:  # fmt: skip
    """Compute every claim of ``source`` from the result files and write the table as CSV, Markdown and HTML."""
    described = (neighbors, elements, hyperparameters, nests, structures if sample else None)
    results = Results(errors, histories, diatomics, cutoffs, *described)
    table = claims_table(results, source, StudyData(dataset, title, whole, read_sample(sample)))
    write_csv(csv, table, COLUMNS)
    write_text(markdown, f"Data of this study: {title}.\n\n{claims_markdown(table)}")
    write_text(html, claims_html(table, title))


def read_written(path: PathLike) -> pd.DataFrame:
    """The table that `write_claims` wrote; units are kept as text, since one of them is 1."""
    return read_table(path, COLUMNS, dtype={"unit": str})


def counts(table: pd.DataFrame) -> str:
    """Number of claims per verdict, as a sentence."""
    found = table["verdict"].value_counts(sort=False).sort_index()
    return f"{len(table)} claims: " + ", ".join(f"{number} {verdict}" for verdict, number in found.items()) + "."


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` as text: ``claim``, ``paper_text``, ``value_text`` (with its interval), ``difference_text``.

    Differences from a bound are meaningless and omitted.
    """

    def number(value: float, unit: str = "1") -> str:
        digits = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return digits + UNITS[unit]

    def value(row) -> str:
        if pd.isna(row.value):
            return "" if pd.isna(row.votes) or not pd.isna(row.paper_value) else f"{row.votes:.0%} of the votes"
        low, high = number(row.low), number(row.high)
        return f"{number(row.value)}{'' if low == high else f' [{low}, {high}]'}{UNITS[row.unit]}"

    rows = list(table.itertuples())
    bounds = {"lower bound": "> ", "upper bound": "< "}
    return table.assign(
        claim=[f"{row.quantity} ({row.dataset.removeprefix('mad-')})" for row in rows],
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


def apart(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Results, and apart from them what follows from the architecture and the sampling alone."""
    of_model = table["kind"].isin(OF_THE_MODEL)
    parts = {"Results": table[~of_model], "The model and the sampling, whatever the data": table[of_model]}
    return {title: part for title, part in parts.items() if len(part)}


def claims_markdown(table: pd.DataFrame, columns: Mapping[str, Column] = SHOWN) -> str:
    """Counts and tables as Markdown, those of the model apart."""
    parts = (f"**{title}.** {counts(part)}\n\n{as_markdown(shown(readable(part), columns))}\n"
             for title, part in apart(table).items())  # fmt: skip
    return "\n".join(parts)


def claims_html(table: pd.DataFrame, title: str) -> str:
    """The tables as one HTML page, verdicts in colour, those of the model at the end."""
    parts = apart(table)
    said = " ".join(f"{name}: {counts(part)}" for name, part in parts.items())
    caption = f"The paper's claims beside this study. Data of this study: {title}. {said}"
    colours = {verdict: _colour(verdict) for verdict in table["verdict"].unique()}
    return as_html(shown(readable(pd.concat(parts.values())), SHOWN), caption, colours)


def _colour(verdict: str) -> str:
    kind = {"reproduced": HOLDS, "not reproduced": FAILS}.get(verdict, verdict)
    return next((colour for word, colour in COLOURS.items() if kind.startswith(word)), GREY)


def readme_block(study: PathLike) -> str:
    """Content of the README's claims block: counts and collapsed tables, from the study's claims.csv."""
    table = read_written(Path(study) / "claims.csv")
    columns = {name: SHOWN[name] for name in ("where", "claim", "paper_text", "value_text", "verdict")}
    said = " ".join(f"{name}: {counts(part)}" for name, part in apart(table).items())
    return (
        f"{said}\n\n<details>\n<summary>Every claim of the paper beside the value of this study</summary>\n\n"
        f"{claims_markdown(table, columns)}\n</details>"
    )
