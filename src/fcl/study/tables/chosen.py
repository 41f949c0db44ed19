"""Test errors at the lambda that was chosen by cross-validation on training and validation structures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated, relative, verdicts
from fcl.study.errors import CalibratedErrors, UniformErrors, family
from fcl.study.read import PathLike, read_choices
from fcl.study.tables.common import Column, Table, ranged, written
from fcl.study.tables.controls import how, judged, texts, where_skilled, with_verdicts

#: Errors shown.
SHOWN_ERRORS = ("force RMSE", "force MAE")
SHOWN = {
    "quantity": Column("error"),
    "subset": Column("subset"),
    "chosen": Column("chosen λ (resamples that agree)"),
    "initial_pairs": Column("pairs at the start", "{:.1f}"),
    "pairs_per_atom": Column("pairs", "{:.1f}"),
    "saving": Column("pairs saved", "{:.0%}"),
    "trivial": Column("trivial", "{:.0f}", 1000.0),
    "optimised_text": Column("optimised"),
    **ranged("optimised_to_initial", "change from the start", "+.1f", 100.0),
    "within": Column("within the tolerance"),
    **ranged("optimised_to_uniform", "to uniform, equal pairs", "+.1f", 100.0),
    "below_uniform": Column("better than uniform"),
}


def chosen_lambdas(choices: pd.DataFrame, subset: str) -> dict[int, float | None]:
    """The chosen lambda of each seed; None for the initial cutoff."""
    rows = choices[choices["subset"] == subset]
    if rows.empty:
        raise NotEvaluated(f"{subset}: no choice of lambda")
    return {int(row["seed"]): None if pd.isna(row["lambda"]) else row["lambda"] for _, row in rows.iterrows()}


def chosen_text(choices: pd.DataFrame, subset: str) -> str:
    """``1e-04 (87%)``, or ``1e-03, 2 of 3: 1e-04 (50%)`` where seeds differ."""
    rows = choices[choices["subset"] == subset]
    labels = ["none" if pd.isna(lam) else f"{lam:.0e}" for lam in rows["lambda"]]
    share = f"({rows['share'].mean():.0%})"
    counts = Counter(labels)
    if len(counts) == 1:
        return f"{labels[0]} {share}"
    return f"{', '.join(f'{label} ({n} of {len(labels)} models)' for label, n in counts.items())} {share}"


def chosen_table(calibrated: CalibratedErrors, errors: UniformErrors, choices: pd.DataFrame) -> pd.DataFrame:
    """One row per (error, subset), each model with the lambda that was chosen for it.

    ``within``: whether the error rises by less than the tolerance over that at the initial cutoff.
    """
    rows, found, rises = [], [], []
    for quantity in SHOWN_ERRORS:
        for subset in calibrated.subsets():
            lambdas = chosen_lambdas(choices, subset)
            tolerance = float(choices["max_error_increase"].iloc[0])
            row, judgements = judged(calibrated, errors, quantity, subset, lambdas)
            row |= {"chosen": chosen_text(choices, subset), "max_error_increase": tolerance}
            nests = calibrated.nests(subset)
            pair = (family(calibrated.tables(subset, lambdas, c), quantity, nests) for c in ("optimised", "initial"))
            rises.append(relative(*pair, bound=tolerance, paired=True))
            rows.append(row | {"votes_within": rises[-1].share})
            found.append(judgements)
    return with_verdicts(rows, found).assign(within=where_skilled(verdicts(rises), found, "initial"))


@written("tab:chosen")
def table_chosen(
    files: Sequence[PathLike], uniform: Sequence[PathLike], choices: Sequence[PathLike], *, nests: Mapping[str, int]
) -> Table:
    """The table of the chosen lambdas; ``choices`` is ``choice/*.json``, other arguments as for `table_controls`."""
    table = chosen_table(CalibratedErrors(files, nests), UniformErrors(uniform, nests), read_choices(choices))
    tolerance = table["max_error_increase"].iloc[0]
    caption = (
        "Errors on the test structures at the lambda with the fewest pairs whose force RMSE, in cross-validation over "
        f"groups of training and validation structures, rises by at most {tolerance:.0%} over the start, with one "
        "standard error to spare; in brackets the share of the resamples of these groups in which the same lambda is "
        f"chosen. Errors {how(table)}"
    )
    return Table(table, SHOWN, caption, texts(table))
