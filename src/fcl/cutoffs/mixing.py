"""Mixing rules, Eq. 4: m_ij from the cutoffs of the two atoms."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fcl.cutoffs.plain import named_rule

#: m_ij (A) from the cutoffs of two atoms, elementwise.
MixingRule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _check_mixing_rule(name: str, rule: MixingRule) -> None:
    """Check the properties stated at `MIXING_RULES` for cutoffs up to 20 A: lists, stores and exports rely on them."""
    tried = torch.linspace(0.5, 20.0, 40, dtype=torch.float64, device="cpu")
    a_i, a_j = torch.meshgrid(tried, tried, indexing="ij")
    m, margin = rule(a_i, a_j), 1e-9
    if not torch.allclose(m, m.T, rtol=margin, atol=0.0):
        raise ValueError(f"mixing rule {name!r} is not symmetric: a pair has to have one cutoff")
    low, high = torch.minimum(a_i, a_j), torch.maximum(a_i, a_j)
    if not bool(((m >= low * (1.0 - margin)) & (m <= high * (1.0 + margin))).all()):
        raise ValueError(
            f"mixing rule {name!r} is no mean: m_ij has to lie between the two cutoffs, as lists of neighbours reach "
            "as far as the larger one"
        )


def arithmetic_mean(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    """m_ij = (a_i + a_j) / 2 (A), the paper's mixing rule (Eq. 4)."""
    return 0.5 * (a_i + a_j)


def geometric_mean(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    """m_ij = sqrt(a_i a_j) (A)."""
    return (a_i * a_j).sqrt()


#: Mixing rules by name. All are symmetric, so a pair has one cutoff and the total force is zero; all values lie between
#: the two cutoffs, so neighbour lists at the largest cutoff are complete. Export requires TorchScript compatibility.
MIXING_RULES: dict[str, MixingRule] = {
    "arithmetic": arithmetic_mean,
    "geometric": geometric_mean,
}


def mixing_rule(name: str) -> MixingRule:
    """The mixing rule ``name``; `ValueError` for an unknown one, and for a function that is not a symmetric mean."""
    rule = named_rule(name, MIXING_RULES)
    _check_mixing_rule(name, rule)
    return rule
