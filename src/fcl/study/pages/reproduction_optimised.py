"""Optimised cutoffs: savings and errors, controls, the chosen lambda, and cutoffs of subsets and elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import Judgement, contrast, verdicts
from fcl.study.claims.shapes import FORCE_RMSE
from fcl.study.claims.values import saving
from fcl.study.claims.verdicts import basis
from fcl.study.pages.text import FALLS, interval_text, table
from fcl.study.paper import SUBSETS
from fcl.study.read import read_table
from fcl.study.results import Results
from fcl.study.tables import chosen as chosen_tables
from fcl.study.tables import controls as control_tables
from fcl.study.tables.common import Column, as_markdown, shown

ELEMENTS = ("H", "C", "N", "O", "S")
SHOWN_LAMBDA = 1e-4


def label(lam: float) -> str:
    """``1e-4``."""
    return f"{lam:.0e}".replace("e-0", "e-")


def changes(results: Results) -> Iterator[tuple[str, float, Judgement, Judgement]]:
    """(subset, lambda, fraction of pairs saved, change of the force RMSE) of each calibration, on test structures."""
    errors = results.calibrated
    for subset in errors.subsets():
        for lam in errors.lambdas(subset):
            after, before = (errors.family(FORCE_RMSE, subset, lam, name) for name in ("optimised", "initial"))
            change = contrast([after], [before]).times(1.0, -1.0).judged(0.0)
            yield subset, lam, saving(results, subset, lam).judged(), change


def savings(results: Results) -> str:
    """Pairs saved and change of the force error, of each subset and lambda."""
    found = list(changes(results))
    judged = verdicts([change for *_, change in found])
    rows = [
        (subset, label(lam), f"{interval_text(saved, '.0f', 100.0)}%", f"{interval_text(change, '+.1f', 100.0)}%",
         FALLS[verdict], basis(change))
        for (subset, lam, saved, change), verdict in zip(found, judged, strict=True)
    ]  # fmt: skip
    heads = ("subset", "λ", "pairs saved", "change of force RMSE", "the error", "of")
    return (
        "Relative to the uniform start of the calibration, on the test structures of the subset. No λ is chosen here: "
        f"the best of several on the structures that it is reported on would look too good.\n\n{table(heads, rows)}"
    )


def chosen(folder: Path) -> str:
    """Test errors at the lambda chosen by cross-validation."""
    return _judged(folder / "tables/chosen.csv", "λ chosen without test structures", lambda table: chosen_tables.SHOWN)


def controls(folder: Path) -> str:
    """Force RMSE with optimised cutoffs beside uniform cutoffs of equal pairs and static models."""
    return _judged(folder / "tables/controls.csv", "Beside uniform cutoffs of equal pairs", control_tables.columns_of)


def _judged(file: Path, title: str, columns: Callable[[pd.DataFrame], Mapping[str, Column]]) -> str:
    """The rows of the force RMSE of a table of the study."""
    found = read_table(file, ("quantity", "optimised_to_initial"))
    found = found[found["quantity"] == FORCE_RMSE]
    cells = shown(found.assign(**control_tables.texts(found)), columns(found))
    return f"### {title}\n\nForce RMSE {control_tables.how(found)}\n\n{as_markdown(cells)}"


def orderings(results: Results) -> str:
    """Optimised cutoffs of the elements named in the paper, in each subset."""
    tables = {subset: results.element_cutoffs_by_seed(subset, SHOWN_LAMBDA) for subset in SUBSETS}

    def cell(values: dict[int, float] | None) -> str:
        return "–" if values is None else interval_text(results.over_seeds(values).judged(), ".2f")

    rows = [(element, *(cell(cutoffs.get(element)) for cutoffs in tables.values())) for element in ELEMENTS]
    sentence = (
        f"At λ = {label(SHOWN_LAMBDA)}; elements that share a cutoff with others have none of their own. Whether a "
        "subset has the largest or smallest cutoffs is judged above, by the votes of the models."
    )
    return f"{sentence}\n\n{table(('cutoff (Å)', *SUBSETS), rows)}"
