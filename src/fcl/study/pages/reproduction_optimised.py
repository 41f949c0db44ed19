"""Optimised cutoffs: savings, error, and ordering of subsets and elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims.shapes import SUBSETS
from fcl.study.claims.values import FORCE, MOLCRYS, PAIRS
from fcl.study.pages.text import mean_text, table
from fcl.study.results import Results
from fcl.study.tables import chosen as chosen_tables
from fcl.study.tables import controls as control_tables
from fcl.study.tables.common import Column, markdown, shown

LAMBDAS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ELEMENTS = ("H", "C", "N", "O", "S")
SHOWN_LAMBDA = 1e-4


def _label(lam: float) -> str:
    return f"{lam:.0e}".replace("e-0", "e-")


def _relative(results: Results, subset: str, lam: float, quantity: str) -> dict[int, float]:
    """optimised / initial - 1 by seed."""
    after, before = results.calibrated(subset, lam, quantity), results.calibrated(subset, None, quantity)
    return {seed: after[seed] / before[seed] - 1.0 for seed in after}


def savings(results: Results, saving: float, penalty: float) -> str:
    """Pairs saved and change of the force error, each subset and lambda; ``saving`` and ``penalty`` are the paper's.

    The paper's claim is set beside its own lambda: to name others that reach it would choose on test structures.
    """
    rows, sentence = [], ""
    for subset in SUBSETS:
        for lam in LAMBDAS:
            try:
                pairs, error = (_relative(results, subset, lam, quantity) for quantity in (PAIRS, FORCE))
            except NotEvaluated:
                continue
            saved = {seed: -value for seed, value in pairs.items()}
            rows.append((subset, _label(lam), mean_text(saved, "{:.1%}"), mean_text(error, "{:+.2%}")))
            if (subset, lam) == (MOLCRYS, SHOWN_LAMBDA):
                reached = sum(saved[seed] > saving and error[seed] < penalty for seed in saved)
                sentence = (
                    f"At the paper's λ = {_label(lam)} more than {saving:.0%} of the pairs of {MOLCRYS} are saved for "
                    f"less than {penalty:.0%} of force RMSE by {reached} of {len(saved)} models.\n\n"
                )
    if not rows:
        raise NotEvaluated("no subset was calibrated")
    return f"{sentence}{table(('subset', 'λ', 'pairs saved', 'change of force RMSE'), rows)}"


def chosen(folder: Path) -> str:
    """Test errors at the lambda chosen by cross-validation."""
    return _judged(folder / "tables/chosen.csv", "λ chosen without test structures", lambda table: chosen_tables.SHOWN)


def controls(folder: Path) -> str:
    """Force RMSE with optimised cutoffs beside uniform cutoffs of equal pairs and static models."""
    return _judged(folder / "tables/controls.csv", "Beside uniform cutoffs of equal pairs", control_tables.columns_of)


def _judged(file: Path, title: str, columns: Callable[[pd.DataFrame], Mapping[str, Column]]) -> str:
    """The rows of the force RMSE of a table of the study."""
    if not file.is_file():
        raise NotEvaluated(f"tables/{file.name} of this study")
    found = pd.read_csv(file)
    found = found[found["quantity"] == "force RMSE"]
    cells = shown(found.assign(**control_tables.texts(found)), columns(found))
    return f"### {title}\n\nForce RMSE {control_tables.how(found)}\n\n{markdown(cells)}"


def orderings(results: Results) -> str:
    """Optimised cutoffs of the elements named in the paper, in each subset."""
    tables = {subset: results.element_cutoffs_by_seed(subset, SHOWN_LAMBDA) for subset in SUBSETS}
    rows, ends = [], []
    for element in ELEMENTS:
        values = {subset: cutoffs.get(element) for subset, cutoffs in tables.items()}
        rows.append((element, *("–" if value is None else mean_text(value, "{:.2f}") for value in values.values())))
        means = {subset: sum(value.values()) / len(value) for subset, value in values.items() if value}
        if len(means) == len(SUBSETS):
            order = sorted(means, key=lambda subset: means[subset])
            ends.append(f"{element} in {order[0]} and {order[-1]}")
    found = "; ".join(ends) or "no element occurs in all subsets"
    sentence = f"The smallest and the largest cutoff at λ = {_label(SHOWN_LAMBDA)}: {found}."
    return f"{sentence}\n\n{table(('cutoff (Å)', *SUBSETS), rows)}"
