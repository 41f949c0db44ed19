"""Subsets of the paper, and the subset and lambdas shown in figures: those of the paper, where the study has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Molecular crystals (Fig. 7, Table 4) and their fragments.
MOLCRYS, MOLFRAGS = "SHIFTML-molcrys", "SHIFTML-molfrags"
#: Subsets of MAD that the paper calibrates.
SUBSETS = ("MC3D", "MC2D", MOLCRYS, MOLFRAGS)
PAPER_LAMBDA = 1e-4  # Fig. 6
PAPER_PANELS = 4  # Fig. 7: 1e-3 ... 1e-6 of five lambdas


def shown_subset(subsets: Sequence[str]) -> str:
    """The paper's subset of molecular crystals if in ``subsets``, otherwise the first one."""
    return MOLCRYS if MOLCRYS in subsets else subsets[0]


def nearest_lambda(lambdas: Sequence[float], target: float = PAPER_LAMBDA) -> float:
    """The lambda nearest to ``target`` on a logarithmic scale; the smaller one in case of a tie."""
    return min(lambdas, key=lambda lam: (round(abs(math.log10(lam / target)), 9), lam))


def smallest_lambdas(lambdas: Sequence[float], count: int = PAPER_PANELS) -> list[float]:
    """The ``count`` smallest lambdas, or all if there are fewer, in descending order."""
    return sorted(lambdas)[:count][::-1]
