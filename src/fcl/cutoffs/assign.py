"""Per-atom cutoffs: uniform, or by element."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fcl.config.types import ATOMIC_NUMBERS, BY_NUMBER


def uniform_cutoffs(numbers: torch.Tensor, cutoff: float, dtype: torch.dtype) -> torch.Tensor:
    """The same cutoff (A) for every atom: [n_atoms]. Raises `ValueError` when it is not positive and finite."""
    if not 0.0 < float(cutoff) < float("inf"):
        raise ValueError(f"cutoff {cutoff} A is not a positive radius in angstroms")
    return torch.full(numbers.shape, float(cutoff), dtype=dtype, device=numbers.device)


def element_table(cutoffs: Mapping[str, float], dtype: torch.dtype = torch.float64, size: int = 119) -> torch.Tensor:
    """Table [size] of cutoffs (A) by atomic number from a dict by chemical symbol; NaN for all other elements."""
    table = torch.full((size,), float("nan"), dtype=dtype)
    for symbol, cutoff in cutoffs.items():
        if symbol not in ATOMIC_NUMBERS:
            raise ValueError(f"cutoffs: {symbol!r} is not a chemical symbol")
        if not 0.0 < float(cutoff) < float("inf"):
            raise ValueError(f"cutoffs: {symbol}: {cutoff} is not a positive radius in angstroms")
        table[ATOMIC_NUMBERS[symbol]] = float(cutoff)
    return table


def element_cutoffs(numbers: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Broadcast per-element cutoffs to atoms, Eq. 8: a_i = table[Z_i], [n_atoms]; differentiable in ``table``.

    Raises `ValueError` naming the elements that have no cutoff.
    """
    cutoffs = table.index_select(0, numbers)
    if torch.isnan(cutoffs).any():
        missing = sorted({BY_NUMBER[z] for z in numbers[torch.isnan(cutoffs)].tolist()})
        raise ValueError(f"cutoffs: no cutoff is given for {', '.join(missing)}")
    return cutoffs
