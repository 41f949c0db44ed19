"""Ablation table: errors at uniform cutoffs and diatomic curves of a study and its ablations."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated, mean_and_deviation, paired_difference
from fcl.runs.files import write_csv, write_text
from fcl.study.claims.shapes import turns_by_seed
from fcl.study.results import Results
from fcl.study.tables.common import Column, markdown, shown

PathLike = str | os.PathLike[str]
#: Sections that define where a trained model is evaluated.
OBSERVATION = ("evaluation", "diatomics")
HIGHER, LOWER, ALIKE = "higher", "lower", "no difference"
COLUMNS = (
    "study", "change", "quantity", "unit", "base", "base_std", "value", "value_std", "difference", "half_width",
    "seeds", "verdict",
)  # fmt: skip


def _error(cutoff: float) -> Callable[[Results], dict[int, float]]:
    return lambda results: {seed: 1000.0 * rmse for seed, rmse in results.force_rmse("fcl", cutoff).items()}


def _upturn(results: Results) -> dict[int, float]:
    above, below = results.force_rmse("fcl", 7.0), results.force_rmse("fcl", 6.0)
    return {seed: above[seed] / below[seed] for seed in above if seed in below}


def _upturn_at_end(results: Results) -> dict[int, float]:
    end = results.largest_cutoff()
    above, below = results.force_rmse("fcl", end), results.force_rmse("fcl", end - 1.0)
    return {seed: above[seed] / below[seed] for seed in above if seed in below}


#: Quantity -> (unit, values by seed).
QUANTITIES: dict[str, tuple[str, Callable[[Results], dict[int, float]]]] = {
    **{f"force RMSE at {cutoff:.0f} A": ("meV/A", _error(cutoff)) for cutoff in (4.0, 5.0, 6.0, 7.0)},
    "force RMSE, 7 A / 6 A": ("", _upturn),
    "force RMSE, largest cutoff / 1 A below": ("", _upturn_at_end),
    "turns of a diatomic curve at 7 A": ("", lambda results: turns_by_seed(results, 7.0)),
    "turns of a diatomic curve at its largest cutoff": ("", turns_by_seed),
}
#: Of ablations that reach farther than their base only: elsewhere they are other quantities, or those at 7 A again.
AT_END = ("force RMSE, largest cutoff / 1 A below", "turns of a diatomic curve at its largest cutoff")
SHOWN = {
    "study": Column("study"),
    "change": Column("change"),
    "quantity": Column("quantity"),
    "base_text": Column("base"),
    "value_text": Column("ablation"),
    "difference_text": Column("difference (95%)"),
    "verdict": Column("verdict"),
}


def ablation_table(base: Results, ablations: Mapping[str, Results], changes: Mapping[str, str]) -> pd.DataFrame:
    """One row per (ablation, quantity), see `COLUMNS`; a quantity missing in either study is left out.

    Differences are paired by seed; ``half_width`` is that of Student's 95% interval, which must exclude zero for a
    verdict other than `ALIKE`. Raises ValueError if there is no ablation.
    """
    if not ablations:
        raise ValueError("no study is made for an ablation of this one (purpose: ablation in config.yaml)")
    rows = []
    for study, results in ablations.items():
        for quantity, (unit, values_of) in QUANTITIES.items():
            try:
                if quantity in AT_END and results.largest_cutoff() <= base.largest_cutoff():
                    continue
                before, after = values_of(base), values_of(results)
                difference = paired_difference(after, {seed: before[seed] for seed in after if seed in before})
            except NotEvaluated:
                continue
            before = {seed: before[seed] for seed in after}
            (old, old_std), (new, new_std) = mean_and_deviation(before), mean_and_deviation(after)
            verdict = ALIKE if not difference.significant else HIGHER if difference.value > 0 else LOWER
            half_width = difference.half_width if math.isfinite(difference.half_width) else None
            row = (
                study,
                changes.get(study, ""),
                quantity,
                unit,
                old,
                old_std,
                new,
                new_std,
                difference.value,
                half_width,
            )
            rows.append(dict(zip(COLUMNS, (*row, len(after), verdict), strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def readable(table: pd.DataFrame) -> str:
    """The ablation table as Markdown."""

    def number(value: float, spread: float | None, unit: str, sign: str = "") -> str:
        digits = 1 if unit else 3
        around = "" if spread is None or pd.isna(spread) else f" ± {spread:.{digits}f}"
        return f"{value:{sign}.{digits}f}{around} {unit}".strip()

    rows = list(table.itertuples())
    cells = table.fillna({"unit": ""}).assign(
        base_text=[number(row.base, row.base_std, _unit(row)) for row in rows],
        value_text=[number(row.value, row.value_std, _unit(row)) for row in rows],
        difference_text=[number(row.difference, row.half_width, _unit(row), "+") for row in rows],
    )
    return markdown(shown(cells, SHOWN))


def _unit(row: Any) -> str:
    return "" if pd.isna(row.unit) else row.unit.replace("A", "Å")


def change_text(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """``fcl.epochs 500 -> 125``; several separated by semicolons. Without seeds and settings of the evaluation."""
    made = {
        dotted: values
        for dotted, values in changes.items()
        if dotted.split(".")[0] not in OBSERVATION and not dotted.endswith(".seeds")
    }
    return "; ".join(f"{dotted} {before} -> {after}" for dotted, (before, after) in made.items())


def write_ablations(
    base: PathLike, ablations: Mapping[str, PathLike], changes: Mapping[str, Mapping[str, tuple[Any, Any]]],
    csv: PathLike, markdown: PathLike, *, title: str,
) -> None:  # fmt: skip
    """Write the ablation table as CSV and Markdown.

    Args:
        base: results folder of the study; ``ablations``: results folders of its ablations.
        changes: settings changed by each ablation, see `fcl.config.sharing.changes`.
        csv, markdown: output files.
        title: title of the data.
    """
    results = {study: Results.of_folder(folder) for study, folder in ablations.items()}
    texts = {study: change_text(change) for study, change in changes.items()}
    table = ablation_table(Results.of_folder(Path(base)), results, texts)
    write_csv(csv, table, COLUMNS)
    write_text(markdown, f"Ablations of {Path(base).name}. Data: {title}.\n\n{readable(table)}\n")
