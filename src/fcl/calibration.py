"""Optimise per-element cutoffs after training: Eqs. 8-12 by Adam with frozen weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

import torch

from fcl.cutoffs import cost, element_cutoffs, pairs_per_atom
from fcl.data.batch import GraphData
from fcl.progress import say
from fcl.training import batch_loss


@dataclass
class Calibration:
    """Result: ``cutoffs`` (A) by chemical symbol and the ``history``, one row a step."""

    cutoffs: dict[str, float]
    history: list[dict] = field(default_factory=list)


def objective(
    model, data: GraphData, indices: torch.Tensor, table: torch.Tensor, loss, lam: float, cost_mean: str = "structures"
) -> tuple[torch.Tensor, dict[str, float]]:
    """T = error + lam * cost (Eq. 11) on the structures ``indices``, differentiable in ``table`` [n_elements] (A).

    error is the training loss (Eq. 9 with the labels of the data), cost is Eq. 10 (A^3) with the mean ``cost_mean``
    (`fcl.cutoffs.cost`). Pairs are selected at the current cutoffs; gradients reach the table only through m_ij, q(a)
    and the cost. Returns T and the parts with the measured pairs per atom.
    """
    batch = data.batch(indices)
    cutoffs = element_cutoffs(batch.numbers, table)
    batch = data.select_pairs(batch, cutoffs, model.mixing)
    error = batch_loss(model(batch, cutoffs, training=True), batch, loss)
    price = cost(cutoffs, batch.structure, batch.n_structures, cost_mean)
    total = error + lam * price
    pairs = pairs_per_atom(batch.pair_structure, batch.structure, batch.n_structures).mean()
    parts = {"objective": total, "error": error, "cost": price, "pairs_per_atom": pairs}
    return total, {name: float(value.detach()) for name, value in parts.items()}


def calibrate(
    model, data: GraphData, settings, loss, lam: float, *, seed: int, indices: torch.Tensor | None = None
) -> Calibration:
    """Minimise Eq. 11 over the cutoffs of the elements that occur (Eq. 12).

    ``settings`` is `CalibrationSettings` (epochs, learning_rate, batch_size, initial_cutoff and bounds in A, cost);
    weights stay as they are; after each Adam step the cutoffs are clamped to the bounds. ``lam`` > 0 is loss per A^3.
    Raises `ValueError` for a lam that is not positive and finite, no structures, a static model, or an upper bound
    beyond the model's range; `FloatingPointError` when the objective is not finite.
    """
    from ase.data import chemical_symbols

    if not 0.0 < lam < float("inf"):
        raise ValueError(f"lambda must be positive and finite, got {lam}")
    if not model.needs_cutoffs:
        raise ValueError("calibration needs an FCL model: the cutoff of a static model cannot be changed")
    model.check_cutoff(settings.upper_bound)
    if indices is None:
        indices = torch.arange(len(data), device=data.device)
    if not len(indices):
        raise ValueError("calibration without structures")
    elements = torch.unique(data.batch(indices).numbers)
    symbols = [chemical_symbols[z] for z in elements.tolist()]
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)
    values = torch.full((len(elements),), settings.initial_cutoff, dtype=data.dtype, device=data.device)
    values.requires_grad_(True)
    blank = torch.full((119,), float("nan"), dtype=data.dtype, device=data.device)
    optimizer = torch.optim.Adam([values], lr=settings.learning_rate)
    order = torch.Generator().manual_seed(seed)
    history: list[dict] = []
    try:
        for epoch in range(1, settings.epochs + 1):
            permutation = torch.randperm(len(indices), generator=order).to(data.device)
            for chunk in torch.split(indices[permutation], settings.batch_size):
                table = blank.index_put((elements,), values)
                total, parts = objective(model, data, chunk, table, loss, lam, settings.cost)
                if not isfinite(parts["objective"]):
                    raise FloatingPointError(f"calibration: the objective of step {len(history) + 1} is not finite")
                before = values.detach().tolist()
                (values.grad,) = torch.autograd.grad(total, values)
                optimizer.step()
                with torch.no_grad():
                    values.clamp_(settings.lower_bound, settings.upper_bound)
                row = {"step": len(history) + 1, "epoch": epoch, **parts}
                row |= {f"cutoff_{symbol}": value for symbol, value in zip(symbols, before, strict=True)}
                history.append(row)
    finally:
        for parameter, required in frozen:
            parameter.requires_grad_(required)
    final = {symbol: float(value) for symbol, value in zip(symbols, values.detach().tolist(), strict=True)}
    say(f"calibrated {len(symbols)} elements in {len(history)} steps at lambda {lam:g}")
    return Calibration(final, history)
