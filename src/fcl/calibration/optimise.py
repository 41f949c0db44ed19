"""Optimisation of per-element cutoffs after training: Eqs. 8-12 with Adam and frozen weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import torch

from fcl.cutoffs.cost import cost, pairs_per_atom
from fcl.data.batch import GraphData
from fcl.training.loss import batch_loss

logger = logging.getLogger(__name__)


@dataclass
class Calibration:
    """Result: ``cutoffs`` (A) by chemical symbol and the ``history``, one row per step."""

    cutoffs: dict[str, float]
    history: list[dict] = field(default_factory=list)


def objective(
    model, data: GraphData, indices: torch.Tensor, table: torch.Tensor, loss, lam: float, cost_mean: str = "structures"
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """T = error + lam * cost (Eq. 11) on the structures ``indices``, differentiable in ``table`` [n_elements] (A).

    error is the training loss (Eq. 9 with the labels of the data), cost is Eq. 10 (A^3) with the mean ``cost_mean``
    (`fcl.cutoffs.cost.cost`). Pairs are selected at the current cutoffs; gradients reach the table only through m_ij,
    q(a) and the cost. ``table`` must cover all elements in the structures (NaN is an error on the CPU; on a GPU this is
    not checked, to avoid a synchronisation). Returns T and its parts with the measured pairs per atom, as scalars on
    the device.
    """
    batch = data.batch(indices)
    cutoffs = table.index_select(0, batch.numbers)
    batch = data.select_pairs(batch, cutoffs, model.selector)
    error = batch_loss(model(batch, cutoffs, training=True), batch, loss)
    price = cost(cutoffs, batch.structure, batch.n_structures, cost_mean)
    total = error + lam * price
    pairs = pairs_per_atom(batch.pair_structure, batch.structure, batch.n_structures).mean()
    parts = {"objective": total, "error": error, "cost": price, "pairs_per_atom": pairs}
    return total, {name: value.detach().double() for name, value in parts.items()}


def calibrate(
    model,
    data: GraphData,
    settings,
    loss,
    lam: float,
    *,
    seed: int,
    indices: torch.Tensor | None = None,
    start: Mapping[str, float] | None = None,
) -> Calibration:
    """Minimise Eq. 11 over the cutoffs of the elements in the structures (Eq. 12).

    ``settings`` is `CalibrationSettings` (epochs, learning_rate, batch_size, initial_cutoff and bounds in A, cost);
    weights are frozen; after each Adam step the cutoffs are clamped to the bounds. ``start`` holds initial cutoffs (A)
    by symbol; other elements start at ``settings.initial_cutoff``. ``lam`` > 0 is in units of the loss per A^3. Raises
    `ValueError` for a lam that is not positive and finite, no structures, structures without an energy, a static
    model, or an upper bound beyond the range of the model; `FloatingPointError` if the objective is not finite.
    """
    from ase.data import chemical_symbols

    if not 0.0 < lam < float("inf"):
        raise ValueError(f"lambda must be positive and finite, got {lam}")
    if not model.flexible:
        raise ValueError("calibration needs an FCL model: the cutoff of a static model cannot be changed")
    model.check_cutoff(settings.upper_bound)
    if indices is None:
        indices = torch.arange(len(data))
    if not len(indices):
        raise ValueError("calibration without structures")
    data.require_energies("calibration", indices)
    elements = torch.unique(data.batch(indices).numbers)
    symbols = [chemical_symbols[z] for z in elements.tolist()]
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)
    first = [(start or {}).get(symbol, settings.initial_cutoff) for symbol in symbols]
    values = torch.tensor(first, dtype=data.dtype, device=data.device)
    values.requires_grad_(True)
    blank = torch.full((119,), float("nan"), dtype=data.dtype, device=data.device)
    optimizer = torch.optim.Adam([values], lr=settings.learning_rate)
    order = torch.Generator().manual_seed(seed)
    history: list[dict] = []
    try:
        for epoch in range(1, settings.epochs + 1):
            steps: list[torch.Tensor] = []
            for chunk in torch.split(indices[torch.randperm(len(indices), generator=order)], settings.batch_size):
                table = blank.index_put((elements,), values)
                total, parts = objective(model, data, chunk, table, loss, lam, settings.cost)
                steps.append(torch.cat([torch.stack(list(parts.values())), values.detach().double()]))
                if data.device.type == "cpu":  # on a GPU only at the end of the epoch, to avoid synchronisation
                    _check_finite(float(total.detach()), len(history) + len(steps))
                (values.grad,) = torch.autograd.grad(total, values)
                optimizer.step()
                with torch.no_grad():
                    values.clamp_(settings.lower_bound, settings.upper_bound)
            # Read back once per epoch: no synchronisation in each step.
            columns = (*parts, *(f"cutoff_{symbol}" for symbol in symbols))
            for numbers in torch.stack(steps).tolist():
                row = dict(zip(columns, numbers, strict=True))
                _check_finite(row["objective"], len(history) + 1)
                history.append({"step": len(history) + 1, "epoch": epoch, **row})
    finally:
        for parameter, required in frozen:
            parameter.requires_grad_(required)
    final = {symbol: float(value) for symbol, value in zip(symbols, values.detach().tolist(), strict=True)}
    logger.info(f"calibrated {len(symbols)} elements in {len(history)} steps at lambda {lam:g}")
    return Calibration(final, history)


def _check_finite(value: float, step: int) -> None:
    """`FloatingPointError` if the objective of a step is not finite: the cutoffs that follow would be meaningless."""
    if not isfinite(value):
        raise FloatingPointError(f"calibration: the objective of step {step} is not finite")
