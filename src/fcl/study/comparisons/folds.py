"""Cross-validation: FCL against static models at uniform cutoffs, each structure tested once, by models of its fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import NotEvaluated, error_over_folds, ratio_over_folds, relative, verdicts
from fcl.runs.files import write_csv, write_text
from fcl.study.errors import QUANTITIES, UniformErrors
from fcl.study.read import PathLike
from fcl.study.tables import uniform
from fcl.study.tables.common import Column, as_markdown, interval_cells, shown

COLUMNS = (
    "quantity", "subset", "cutoff_angstrom", "pairs_per_atom", "trivial", "fcl", "static", "static_to_fcl",
    "by_fold_text", "static_below_fcl",
)  # fmt: skip
SHOWN = {name: {**uniform.SHOWN, "by_fold_text": Column("in each fold")}[name] for name in COLUMNS}


def folds_table(folds: Sequence[UniformErrors], cutoffs: Sequence[float]) -> pd.DataFrame:
    """One row per (error, subset, cutoff), from the errors of each fold on its own test structures.

    Verdicts on "static better than FCL" are adjusted for the number of rows (Holm). Raises `NotEvaluated` for fewer
    than two folds, or if one lacks a subset of the others.
    """
    if len(folds) < 2:
        raise NotEvaluated("cross-validation needs two folds or more (purpose: folds in config.yaml)")
    rows, comparisons = [], []
    for quantity in QUANTITIES:
        for subset in folds[0].subsets():
            trivial = [fold.trivial(quantity, subset) for fold in folds]
            for cutoff in cutoffs:
                fcl = [fold.fcl(quantity, cutoff, subset) for fold in folds]
                static = [fold.static(quantity, cutoff, subset) for fold in folds]
                comparison = ratio_over_folds(static, fcl).times(1.0, -1.0).judged(0.0)
                structures = [len(one.counts) for one in fcl]
                pairs = [fold.pairs_per_atom(cutoff, subset) for fold in folds]
                row = {"quantity": quantity, "subset": subset, "cutoff_angstrom": cutoff}
                row |= {"unit": QUANTITIES[quantity].unit}
                row |= {"pairs_per_atom": float(np.average(pairs, weights=structures)), "folds": len(folds)}
                row |= {"structures": sum(structures), "groups": comparison.groups}
                row |= {"trivial": error_over_folds(trivial).value}
                row |= interval_cells("fcl", error_over_folds(fcl).judged())
                row |= interval_cells("static", error_over_folds(static).judged())
                row |= interval_cells("static_to_fcl", comparison)
                for number, (a, b) in enumerate(zip(static, fcl, strict=True), start=1):
                    row[f"static_to_fcl_{number}"] = relative(a, b, paired=False).value
                rows.append(row | {"votes_static_below_fcl": comparison.share})
                comparisons.append(comparison)
    return pd.DataFrame(rows).assign(static_below_fcl=verdicts(comparisons))


def readable(table: pd.DataFrame) -> str:
    """The table as Markdown, in meV/A, meV/atom and percent."""
    single = [100.0 * table[f"static_to_fcl_{number}"] for number in range(1, int(table["folds"].iloc[0]) + 1)]
    by_fold = [", ".join(f"{value:+.0f}" for value in values) for values in zip(*single, strict=True)]
    return as_markdown(shown(table.assign(by_fold_text=by_fold), SHOWN))


def write_folds(
    folds: Mapping[str, Sequence[PathLike]], nests: Mapping[str, Mapping[str, int]], csv: PathLike, markdown: PathLike,
    *, cutoffs: Sequence[float], title: str,
) -> None:  # fmt: skip
    """Write the table of a cross-validation as CSV and Markdown.

    ``folds`` and ``nests`` as for `UniformErrors`, by the study of each fold; ``cutoffs`` are the uniform ones (A) at
    which there are static models, ``title`` is that of the data.
    """
    table = folds_table([UniformErrors(files, nests[study]) for study, files in folds.items()], cutoffs)
    write_csv(csv, table)
    whole = table[table["subset"] == "all"].iloc[0]
    text = (
        f"Cross-validation: {whole['folds']} folds of the groups of all splits, {whole['groups']} groups and "
        f"{whole['structures']} structures, each tested once, by models of other folds. "
        "Errors are geometric means over the folds, in meV/Å and meV/atom, ratios are differences in percent, with 95% "
        "intervals from the scatter between folds (models and structures) or of the resampled groups, whichever is "
        "larger. Trivial: zero forces; energies linear in the composition. Verdicts: votes of resampled folds and "
        f"groups, adjusted for the number of rows (Holm). Data: {title}."
    )
    write_text(markdown, f"{text}\n\n{readable(table)}\n")
