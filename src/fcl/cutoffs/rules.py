"""Cutoffs of atoms: uniform or by element, Eq. 8, and rules that assign them to the atoms of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

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


class AtomsOfBatch(Protocol):
    """The attributes of a batch (`fcl.data.batch.Batch`) that cutoffs may depend on."""

    numbers: torch.Tensor
    structure: torch.Tensor

    @property
    def n_atoms(self) -> int: ...

    @property
    def n_structures(self) -> int: ...


#: Assigns per-atom cutoffs [n_atoms] (A) to a batch.
CutoffRule = Callable[[AtomsOfBatch], torch.Tensor]


def uniform_rule(cutoff: float, dtype: torch.dtype) -> CutoffRule:
    """The same cutoff (A) for every atom."""
    return lambda batch: uniform_cutoffs(batch.numbers, cutoff, dtype)


def element_rule(cutoffs: dict[str, float], dtype: torch.dtype, device: torch.device) -> CutoffRule:
    """Per-element cutoffs (A) by chemical symbol, Eq. 8."""
    table = element_table(cutoffs, dtype).to(device)
    return lambda batch: element_cutoffs(batch.numbers, table)


def cutoff_rule(cutoffs: float | Mapping[str, float], dtype: torch.dtype, device: torch.device) -> CutoffRule:
    """`uniform_rule` for a number (A), `element_rule` for cutoffs by chemical symbol."""
    if isinstance(cutoffs, Mapping):
        return element_rule(dict(cutoffs), dtype, device)
    return uniform_rule(cutoffs, dtype)
