"""Eq. 4 for any arrays: r_ij <= m_ij, and mixing rules for NumPy. Figures are drawn with it, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Rule = TypeVar("Rule")
#: `fcl.cutoffs.mixing.MIXING_RULES` for NumPy arrays.
NUMPY_RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "arithmetic": lambda a_i, a_j: 0.5 * (a_i + a_j),
    "geometric": lambda a_i, a_j: np.sqrt(a_i * a_j),
}


def within(distances: torch.Tensor, pair_cutoffs: torch.Tensor) -> torch.Tensor:
    """Eq. 4, elementwise: whether pairs at r_ij (A) are within m_ij (A), also if equal. Tensors or NumPy arrays."""
    return distances <= pair_cutoffs


def numpy_rule(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The mixing rule ``name`` for NumPy arrays; `ValueError` for an unknown one."""
    return named_rule(name, NUMPY_RULES)


def named_rule(name: str, rules: Mapping[str, Rule]) -> Rule:
    """The rule ``name``; `ValueError` lists the known ones."""
    if name not in rules:
        raise ValueError(f"mixing rule {name!r} is unknown; known are {', '.join(rules)}")
    return rules[name]
