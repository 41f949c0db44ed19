"""Rules that assign cutoffs to the atoms of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from fcl.cutoffs.assign import element_cutoffs, element_table, uniform_cutoffs


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
