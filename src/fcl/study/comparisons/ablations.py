"""Ablation table: errors at uniform cutoffs and diatomic curves of a study and its ablations, paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, Estimate, NotEvaluated, contrast, verdicts
from fcl.runs.files import write_csv, write_text
from fcl.study.claims.shapes import FORCE_RMSE, turns_by_seed
from fcl.study.claims.verdicts import basis
from fcl.study.read import PathLike
from fcl.study.results import Results
from fcl.study.tables.common import Column, as_markdown, shown

#: Sections that define where a trained model is evaluated.
OBSERVATION = ("evaluation", "diatomics")
HIGHER, LOWER = "higher", "lower"
COLUMNS = (
    "study", "change", "quantity", "unit", "by", "low", "high", "votes_lower", "basis", "alone", "verdict",
)  # fmt: skip


def _error(cutoff: float) -> Callable[[Results, Results, list[int]], Estimate]:
    return lambda new, old, seeds: contrast(*([one.uniform.fcl(FORCE_RMSE, cutoff, seeds=seeds)] for one in (new, old)))


def _upturn(new: Results, old: Results, seeds: list[int], *, at_end: bool = False) -> Estimate:
    """Ratio of the ratios 7 A / 6 A, or of those of the largest cutoff to 1 A below."""
    above, below = [], []
    for one in (new, old):
        end = one.uniform.largest_cutoff() if at_end else 7.0
        above.append(one.uniform.fcl(FORCE_RMSE, end, seeds=seeds))
        below.append(one.uniform.fcl(FORCE_RMSE, end - 1.0, seeds=seeds))
    return contrast([above[0], below[1]], [below[0], above[1]])


def _turns(cutoff: float | None) -> Callable[[Results, Results, list[int]], Estimate]:
    def difference(new: Results, old: Results, seeds: list[int]) -> Estimate:
        after, before = turns_by_seed(new, cutoff), turns_by_seed(old, cutoff)
        return old.over_seeds({seed: after[seed] - before[seed] for seed in seeds if seed in after and seed in before})

    return difference


#: Quantity -> its change: a ratio of errors, or a difference in turning points. Models are paired by seed, errors by
#: structure.
QUANTITIES: dict[str, Callable[[Results, Results, list[int]], Estimate]] = {
    **{f"force RMSE at {cutoff:.0f} A": _error(cutoff) for cutoff in (4.0, 5.0, 6.0, 7.0)},
    "force RMSE, 7 A / 6 A": _upturn,
    "force RMSE, largest cutoff / 1 A below": partial(_upturn, at_end=True),
    "turns of a diatomic curve at 7 A": _turns(7.0),
    "turns of a diatomic curve at its largest cutoff": _turns(None),
}
#: Of ablations that reach farther than their base only: elsewhere they are other quantities, or those at 7 A again.
AT_END = ("force RMSE, largest cutoff / 1 A below", "turns of a diatomic curve at its largest cutoff")
SHOWN = {
    "study": Column("study"),
    "change": Column("change"),
    "quantity": Column("quantity"),
    "by": Column("by how much (95%)", "{by:+.2f} [{low:+.2f}, {high:+.2f}]{unit}"),
    "basis": Column("of"),
    "alone": Column("alone"),
    "verdict": Column("verdict"),
}


def ablation_table(base: Results, ablations: Mapping[str, Results], changes: Mapping[str, str]) -> pd.DataFrame:
    """One row per (ablation, quantity), see `COLUMNS`; a quantity missing in either study is left out.

    ``alone`` is the verdict on the row by itself, ``verdict`` that in the table (Holm): `HIGHER`, `LOWER` or undecided.
    Raises ValueError if there is no ablation.
    """
    if not ablations:
        raise ValueError("no study is made for an ablation of this one (purpose: ablation in config.yaml)")
    words = {HOLDS: LOWER, FAILS: HIGHER, UNDECIDED: UNDECIDED}
    rows, judged = [], []
    for study, results in ablations.items():
        for quantity, change_of in QUANTITIES.items():
            try:
                if quantity in AT_END and results.uniform.largest_cutoff() <= base.uniform.largest_cutoff():
                    continue
                change = change_of(results, base, [seed for seed in results.seeds if seed in base.seeds])
            except NotEvaluated:
                continue
            # a ratio is shown as a change in percent
            percent = change.logarithmic
            one = change.times(100.0, -100.0).judged(0.0) if percent else change.judged(0.0)
            judged.append(one)
            labels = (study, changes.get(study, ""), quantity, "%" if percent else "")
            rows.append((*labels, one.value, one.low, one.high, one.share, basis(one), words[one.verdict]))
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    return table.assign(verdict=[words[verdict] for verdict in verdicts(judged)])


def readable(table: pd.DataFrame) -> str:
    """The ablation table as Markdown."""
    return as_markdown(shown(table.fillna({"unit": ""}), SHOWN))


def change_text(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """``fcl.epochs 500 -> 125``; several separated by semicolons. Seeds and evaluation settings are not listed."""
    made = {
        dotted: values
        for dotted, values in changes.items()
        if dotted.split(".")[0] not in OBSERVATION and not dotted.endswith(".seeds")
    }
    return "; ".join(f"{dotted} {before} -> {after}" for dotted, (before, after) in made.items())


def write_ablations(
    base: PathLike, ablations: Mapping[str, PathLike], changes: Mapping[str, Mapping[str, tuple[Any, Any]]],
    csv: PathLike, markdown: PathLike, *, nests: Mapping[str, Mapping[str, int]], title: str,
) -> None:  # fmt: skip
    """Write the ablation table as CSV and Markdown.

    ``base`` and ``ablations`` are results folders, ``changes`` the settings changed by each ablation
    (`fcl.config.sharing.changes`), ``nests`` as for `Results`, by study, and ``title`` is that of the data.
    """
    base = Path(base)
    results = {study: Results.of_folder(folder, nests[study]) for study, folder in ablations.items()}
    texts = {study: change_text(change) for study, change in changes.items()}
    table = ablation_table(Results.of_folder(base, nests[base.name]), results, texts)
    write_csv(csv, table, COLUMNS)
    write_text(markdown, f"Ablations of {base.name}. Data: {title}.\n\n{readable(table)}\n")
