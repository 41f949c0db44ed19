"""Optimisation of per-element cutoffs after training: Eqs. 8-12 with frozen weights, by Adam or L-BFGS."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch

from fcl.calibration.lbfgs import from_starts
from fcl.calibration.whole import ElementGroups, WholeObjective, uniform_of_equal_pairs
from fcl.config.types import BY_NUMBER
from fcl.cutoffs.cost import cost, pairs_per_atom
from fcl.data.batch import GraphData
from fcl.training.loss import batch_loss

logger = logging.getLogger(__name__)


#: Points of the history that `Calibration.convergence` keeps.
_THINNED = 20


@dataclass
class Calibration:
    """Result: ``cutoffs`` (A) by chemical symbol and the ``history``, one row per step or evaluation.

    ``convergence`` is for JSON: objective and projected gradient (loss per A) on all structures at the end, elements at
    a bound, elements with a shared cutoff, the starts, evaluations, core time, thinned history, and the objective of
    the uniform cutoff with the same pairs per atom.
    """

    cutoffs: dict[str, float]
    history: list[dict] = field(default_factory=list)
    convergence: dict = field(default_factory=dict)


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
    validation: tuple[GraphData, torch.Tensor] | None = None,
) -> Calibration:
    """Minimise Eq. 11 over the cutoffs of the elements in the structures (Eq. 12).

    ``settings`` is `CalibrationSettings` or `CalibrationPlan`; weights are frozen and cutoffs stay within the bounds.
    ``start`` holds initial cutoffs (A) by symbol; other elements start at ``settings.initial_cutoff``. Without it,
    L-BFGS has several starts. ``validation`` (data, structures) is used for reported objectives only. ``lam`` > 0 is in
    units of the loss per A^3; ``seed`` orders Adam's mini-batches. Raises `ValueError` for a lam that is not positive
    and finite, no structures, structures without an energy or none with a pair, a model with a single cutoff, or an
    upper bound beyond the range of the model; `FloatingPointError` if the objective is not finite.
    """
    if not 0.0 < lam < float("inf"):
        raise ValueError(f"lambda must be positive and finite, got {lam}")
    if not model.flexible:
        raise ValueError("calibration needs an FCL model: the cutoff of a static model cannot be changed")
    if model.single_cutoff:
        raise ValueError(f"this FCL model was trained at {model.cutoff_limit:g} A only: there is nothing to calibrate")
    model.check_cutoff(settings.upper_bound)
    if indices is None:
        indices = torch.arange(len(data))
    if not len(indices):
        raise ValueError("calibration without structures")
    data.require_energies("calibration", indices)
    data.require_pairs("calibration", settings.upper_bound, indices)
    began = time.process_time()
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)

    def make(indices: torch.Tensor, data: GraphData = data) -> WholeObjective:
        return WholeObjective(model, data, loss, lam, settings.cost, indices, settings.batch_size)

    try:
        whole = make(indices)
        groups = ElementGroups(whole, settings.min_structures)
        symbols = [BY_NUMBER[z] for z in groups.elements]
        initial = np.array([(start or {}).get(symbol, settings.initial_cutoff) for symbol in symbols])
        first = np.bincount(groups.column, initial) / np.bincount(groups.column)
        starts: list[dict] = []
        if settings.optimiser == "adam":
            x, history = _adam(model, data, settings, loss, lam, seed, indices, groups, first)
            status = "all epochs done"
        else:
            given = None if start is None else first
            x, starts, status, history = from_starts(make, groups, indices, settings, given)
        core_seconds = time.process_time() - began
        parts, slope = whole.of(groups.table(x), gradient=True)
        low, high = settings.lower_bound, settings.upper_bound
        left = x - np.clip(x - groups.sums(slope), low, high)
        equal = uniform_of_equal_pairs(data, parts["pairs_per_atom"], indices, low=low, high=high)
        uniform = whole.uniform(equal)
        if validation is not None:
            data, members = validation
            data.require_energies("calibration", members)
            checked = make(members, data)

            def validated(x: np.ndarray) -> float:
                """The objective of the validation structures; elements without a cutoff have the initial one."""
                return checked.of(np.nan_to_num(groups.table(x), nan=settings.initial_cutoff))[0]["objective"]

            for row in starts:
                row["validation_objective"] = validated(row["x"])
            parts["validation_objective"] = validated(x)
    finally:
        for parameter, required in frozen:
            parameter.requires_grad_(required)

    def by_symbol(x: np.ndarray) -> dict[str, float]:
        return dict(zip(symbols, x[groups.column].tolist(), strict=True))

    cutoffs = by_symbol(x)
    for row in history:
        row |= {f"cutoff_{symbol}": cutoff for symbol, cutoff in by_symbol(row.pop("x")).items()}
    for row in starts:
        row["cutoffs"] = by_symbol(row.pop("x"))
    kept = np.unique(np.linspace(0, len(history) - 1, _THINNED).round().astype(int))
    convergence = {
        "optimiser": settings.optimiser, "status": status, **parts, "projected_gradient": float(np.abs(left).max()),
        "evaluations": len(history), "core_seconds": core_seconds,
        "at_bounds": {s: "lower" if a <= low else "upper" for s, a in cutoffs.items() if not low < a < high},
        "shared_cutoff": [BY_NUMBER[z] for z in groups.shared],
        "starts": starts, "uniform_of_equal_pairs": uniform,
        "history": [{"evaluation": int(k) + 1, "objective": history[k]["objective"]} for k in kept],
    }  # fmt: skip
    logger.info(f"calibrated {len(symbols)} elements in {len(history)} steps at lambda {lam:g}: {status}")
    return Calibration(cutoffs, history, convergence)


def _adam(model, data, settings, loss, lam, seed, indices, groups, first) -> tuple[np.ndarray, list[dict]]:
    """The paper's optimisation: Adam on mini-batches, cutoffs clamped after each step; variables [n] and history."""
    elements = torch.as_tensor(groups.elements, device=data.device)
    column = torch.as_tensor(groups.column, device=data.device) if groups.shared else None
    values = torch.tensor(first, dtype=data.dtype, device=data.device)
    values.requires_grad_(True)
    blank = torch.full((119,), float("nan"), dtype=data.dtype, device=data.device)
    optimizer = torch.optim.Adam([values], lr=settings.learning_rate)
    order = torch.Generator().manual_seed(seed)
    history: list[dict] = []
    for epoch in range(1, settings.epochs + 1):
        steps: list[torch.Tensor] = []
        for chunk in torch.split(indices[torch.randperm(len(indices), generator=order)], settings.batch_size):
            table = blank.index_put((elements,), values if column is None else values[column])
            total, parts = objective(model, data, chunk, table, loss, lam, settings.cost)
            steps.append(torch.cat([torch.stack(list(parts.values())), values.detach().double()]))
            if data.device.type == "cpu":  # on a GPU only at the end of the epoch, to avoid synchronisation
                _check_finite(float(total.detach()), len(history) + len(steps))
            (values.grad,) = torch.autograd.grad(total, values)
            optimizer.step()
            with torch.no_grad():
                values.clamp_(settings.lower_bound, settings.upper_bound)
        # Read back once per epoch: no synchronisation in each step.
        for numbers in torch.stack(steps).tolist():
            row = dict(zip(parts, numbers, strict=False)) | {"x": np.array(numbers[len(parts) :])}
            _check_finite(row["objective"], len(history) + 1)
            history.append({"step": len(history) + 1, "epoch": epoch, **row})
    return values.detach().double().cpu().numpy(), history


def _check_finite(value: float, step: int) -> None:
    """`FloatingPointError` if the objective of a step is not finite: the cutoffs that follow would be meaningless."""
    if not isfinite(value):
        raise FloatingPointError(f"calibration: the objective of step {step} is not finite")
