"""The cost model, Eq. 10, and the measured pairs per atom."""

from __future__ import annotations

import torch

#: Means of the cost model: ``structures``, over structures of the mean over their atoms (Eq. 10); ``atoms``, over all
#: atoms, so that structures are weighted by size.
COST_MEANS = ("structures", "atoms")


def cost(cutoffs: torch.Tensor, structure: torch.Tensor, n_structures: int, mean: str = "structures") -> torch.Tensor:
    """Cost model Eq. 10 (A^3, scalar): the mean of a^3, taken as ``mean`` (`COST_MEANS`).

    cutoffs [n_atoms] A, structure [n_atoms] index of each atom's structure. `ValueError` for an unknown ``mean``.
    """
    if mean not in COST_MEANS:
        raise ValueError(f"mean {mean!r} of the cost is unknown; known are {', '.join(COST_MEANS)}")
    if mean == "atoms":
        return (cutoffs**3).mean()
    total = torch.zeros(n_structures, dtype=cutoffs.dtype, device=cutoffs.device)
    total = total.index_add(0, structure, cutoffs**3)
    return (total / _count(structure, n_structures).to(cutoffs.dtype)).mean()


def pairs_per_atom(pair_structure: torch.Tensor, structure: torch.Tensor, n_structures: int) -> torch.Tensor:
    """Directed pairs / atoms of each structure, [n_structures] float64.

    pair_structure [n_pairs] is the structure of each undirected pair (a pair counts twice: i to j and j to i).
    The pairs per atom of Figs. 3 and 5 are the mean of this over structures.
    """
    return 2.0 * _count(pair_structure, n_structures).double() / _count(structure, n_structures).double()


def _count(structure: torch.Tensor, n_structures: int) -> torch.Tensor:
    """Number of entries per structure, [n_structures] int64; torch.bincount would synchronise with the GPU."""
    zero = torch.zeros(n_structures, dtype=torch.int64, device=structure.device)
    return zero.index_add(0, structure, torch.ones_like(structure))
