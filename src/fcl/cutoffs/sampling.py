"""Sampling of cutoffs in training, Algorithm 1."""

from __future__ import annotations

import torch

from fcl.cutoffs.rules import CutoffRule


def sample_cutoffs(
    n_atoms: int, r_min: float, r_max: float, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Per-atom cutoffs [n_atoms] (A) from U(r_min, r_max), Algorithm 1 line 10; drawn on the generator's device."""
    uniform = torch.rand(n_atoms, generator=generator, device=generator.device, dtype=dtype)
    return r_min + (r_max - r_min) * uniform


#: ``atoms``: one cutoff per atom (Algorithm 1); ``structures``: one cutoff per structure, shared by its atoms.
SAMPLINGS = ("atoms", "structures")


def cutoff_sampler(settings, generator: torch.Generator, dtype: torch.dtype) -> CutoffRule:
    """Rule that samples cutoffs [n_atoms] (A) from U(``settings.r_min``, ``settings.r_max``), by ``settings.sampling``
    (`SAMPLINGS`). `ValueError` for an unknown sampling."""
    low, high = settings.r_min, settings.r_max
    if settings.sampling == "atoms":
        return lambda batch: sample_cutoffs(batch.n_atoms, low, high, generator, dtype)
    if settings.sampling == "structures":
        return lambda batch: sample_cutoffs(batch.n_structures, low, high, generator, dtype)[batch.structure]
    raise ValueError(f"sampling {settings.sampling!r} is unknown; known are {', '.join(SAMPLINGS)}")
