"""Optimised cutoffs: savings, error, and ordering of subsets and elements."""

from __future__ import annotations

import numpy as np

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims.shapes import SUBSETS
from fcl.study.claims.values import FORCE, MOLCRYS, PAIRS
from fcl.study.pages.text import listed, mean_text, table
from fcl.study.results import Results

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
    """Pairs saved and change of the force error, each subset and lambda; ``saving`` and ``penalty`` are the paper's."""
    rows, reached, in_the_mean = [], [], []
    for subset in SUBSETS:
        for lam in LAMBDAS:
            try:
                pairs, error = (_relative(results, subset, lam, quantity) for quantity in (PAIRS, FORCE))
            except NotEvaluated:
                continue
            saved = {seed: -value for seed, value in pairs.items()}
            rows.append((subset, _label(lam), mean_text(saved, "{:.1%}"), mean_text(error, "{:+.2%}")))
            if subset == MOLCRYS:
                if min(saved.values()) > saving and max(error.values()) < penalty:
                    reached.append(f"λ = {_label(lam)}")
                if np.mean([*saved.values()]) > saving and np.mean([*error.values()]) < penalty:
                    in_the_mean.append(f"λ = {_label(lam)}")
    if not rows:
        raise NotEvaluated("no subset was calibrated")
    sentence = (
        f"More than {saving:.0%} of the pairs of {MOLCRYS} are saved for less than {penalty:.0%} of force RMSE, with "
        f"every seed, at: {listed(reached, 'no λ')}; in the mean over seeds at: {listed(in_the_mean, 'no λ')}."
    )
    return f"{sentence}\n\n{table(('subset', 'λ', 'pairs saved', 'change of force RMSE'), rows)}"


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
