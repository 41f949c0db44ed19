"""Energy and force of a pair of atoms as a function of distance, at uniform cutoffs (Figs. 4 and 10)."""

from __future__ import annotations

import torch

from fcl.cutoffs.edges import Candidates


def diatomic_curve(
    model, pair: tuple[int, int], cutoff: float, distances: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy [n] (eV, relative to the two isolated atoms at the same cutoff) and force [n] (eV/A, -dE/dr).

    ``pair`` holds two atomic numbers, ``cutoff`` (A) applies to both atoms, ``distances`` [n] are in A. All
    distances are evaluated in one batch, as n separate pairs. Raises `ValueError` when the model cannot be evaluated at
    ``cutoff``.
    """
    model.check_cutoff(cutoff)
    n = len(distances)
    device, dtype = distances.device, distances.dtype
    numbers = torch.tensor(pair, device=device).repeat(n)
    cutoffs = torch.full((2 * n,), float(cutoff), dtype=dtype, device=device)
    with torch.enable_grad():
        r = distances.detach().clone().requires_grad_(True)
        first = 2 * torch.arange(n, device=device)
        kept = model.selector.select(Candidates(first, first + 1, r.detach(), numbers=numbers), cutoffs).topology
        pair_index = torch.stack([first, first + 1]).index_select(1, kept)
        along_z = torch.tensor([0.0, 0.0, 1.0], dtype=dtype, device=device)
        vectors = r.index_select(0, kept)[:, None] * along_z
        energy = model.site_energies(numbers, pair_index, vectors, cutoffs).view(n, 2).sum(1)
        (slope,) = torch.autograd.grad(energy.sum(), r, materialize_grads=True)
    with torch.no_grad():
        no_pairs = pair_index[:, :0]
        isolated = model.site_energies(numbers[:2], no_pairs, vectors[:0], cutoffs[:2]).sum()
    return energy.detach() - isolated, -slope
