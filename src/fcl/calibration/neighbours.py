"""Numbers of neighbours by element, optimised as cutoffs are: Eqs. 8-12 with the variables of a scheme."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import torch

from fcl.calibration.lbfgs import GAIN, minimise
from fcl.calibration.whole import ElementGroups, WholeObjective
from fcl.config.types import BY_NUMBER
from fcl.cutoffs.adaptive import SchemeSelector, directed, neighbour_cutoffs
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.cost import cost, pairs_per_atom
from fcl.cutoffs.schemes import NeighbourCutoffs
from fcl.data.batch import GraphData
from fcl.models.interface import evaluated_pairs
from fcl.training.loss import LOSS, exact_share

#: Bounds of the numbers, and the longest first step of the search.
FEWEST, MOST, STEP = 3.0, 150.0, 5.0


@dataclass(frozen=True)
class NeighbourCalibration:
    """The scheme with a number for each element, parts of the objective there, and one row per evaluation.

    ``status`` and the rows: see `fcl.calibration.lbfgs.Run`.
    """

    scheme: NeighbourCutoffs
    parts: dict[str, float]
    status: str
    history: list[dict]


class _Varied(SchemeSelector):
    """Numbers of neighbours from ``table`` [119] by atomic number, which has gradients."""

    def __init__(self, scheme: NeighbourCutoffs, base, table: torch.Tensor):
        super().__init__(scheme, base)
        self.table = table

    def cutoffs_of(self, candidates) -> torch.Tensor:
        scheme, target = self.scheme, self.table.index_select(0, candidates.numbers)
        shape = {"width": scheme.width, "background": scheme.background}
        return neighbour_cutoffs(*directed(candidates), target, scheme.lower, scheme.upper, **shape)


class NeighbourObjective(WholeObjective):
    """T = error + lam * cost (Eq. 11) on all structures, and dT/dN for numbers of neighbours by element.

    The cost is Eq. 10 with the cutoffs a_i that these numbers give. ``scheme`` has both bounds; other arguments are
    those of `WholeObjective`.
    """

    def __init__(self, scheme, model, data: GraphData, loss, lam: float, cost_mean: str, indices, batch_size: int):
        super().__init__(model, data, loss, lam, cost_mean, indices, batch_size)
        self._scheme, self._mean = scheme, cost_mean

    def of(self, table: np.ndarray, gradient: bool = False) -> tuple[dict[str, float], np.ndarray]:
        """Parts of the objective at the numbers ``table`` [119] by atomic number, and dT/dN [119] (zero without
        ``gradient``). Raises `FloatingPointError` if T is not finite."""
        self.evaluations += gradient
        data, atoms = self._data, self._components // 3
        values = torch.as_tensor(table).to(device=data.device, dtype=torch.float64)
        slope = torch.zeros(119, dtype=torch.float64, device=data.device)
        error, price, pairs = (slope.new_zeros(()) for _ in range(3))
        for batch in self._batches:
            leaf = values.clone().requires_grad_(gradient)
            selector = _Varied(self._scheme, self._model.selector, leaf)
            reach = torch.full((batch.n_atoms,), self._scheme.upper, dtype=data.dtype, device=data.device)
            chosen = data.select_pairs(batch, reach, self._model.selector)
            output = self._model(chosen, reach, training=gradient, selector=selector)
            share = batch.n_atoms / atoms if self._mean == "atoms" else batch.n_structures / self.n_structures
            own = share * cost(output["cutoffs"].double(), batch.structure, batch.n_structures, self._mean)
            part = exact_share(output, batch, self._loss, self.n_structures, atoms)
            if gradient:
                slope += torch.autograd.grad(part + self._lam * own, leaf, materialize_grads=True)[0]
            error, price = error + part.detach(), price + own.detach()
            pairs += pairs_per_atom(evaluated_pairs(chosen, output), batch.structure, batch.n_structures).sum()
        total = float(error) + self._lam * float(price)
        if not isfinite(total):
            raise FloatingPointError(f"calibration: the objective of step {self.evaluations} is not finite")
        parts = {"objective": total, "error": float(error), "cost": float(price)}
        parts["pairs_per_atom"] = float(pairs) / self.n_structures
        return parts, slope.cpu().numpy()


def calibrate_neighbours(
    model,
    data: GraphData,
    lam: float,
    scheme: NeighbourCutoffs,
    *,
    indices: torch.Tensor | None = None,
    loss=LOSS,
    bounds: tuple[float, float] = (FEWEST, MOST),
    evaluations: int = 60,
    batch_size: int = 8,
    cost_mean: str = "structures",
    min_structures: int = 0,
) -> NeighbourCalibration:
    """Minimise Eq. 11 over the numbers of neighbours of the elements in the structures ``indices`` (all of ``data``).

    The search is `minimise` (projected L-BFGS) from the numbers of ``scheme``; weights are frozen. Elements in fewer
    than ``min_structures`` share one number. ``lam`` is in units of the loss per A^3, ``bounds`` are of the numbers.
    The objective has several minima, as that of cutoffs: a local one is found. Raises `ValueError` for a lam that is
    not positive and finite, structures without an energy, elements without a number to start from, and whatever
    `fcl.cutoffs.choice.CutoffChoice` refuses; `FloatingPointError` if the objective is not finite.
    """
    if not 0.0 < lam < float("inf"):
        raise ValueError(f"lambda must be positive and finite, got {lam}")
    choice = CutoffChoice(model, scheme)
    indices = torch.arange(len(data)) if indices is None else indices
    if not len(indices):
        raise ValueError("calibration without structures")
    data.require_energies("calibration", indices)
    data.require_pairs("calibration", float(choice.per_atom), indices)
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)
    try:
        whole = NeighbourObjective(choice.selector.scheme, model, data, loss, lam, cost_mean, indices, batch_size)
        groups = ElementGroups(whole, min_structures)
        choice.for_candidates(groups.elements)  # every element has a number
        symbols, given = [BY_NUMBER[z] for z in groups.elements], scheme.neighbours
        initial = np.array([given[s] for s in symbols] if isinstance(given, dict) else [given] * len(symbols))
        first = np.bincount(groups.column, initial) / np.bincount(groups.column)

        def function(x: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
            parts, slope = whole.of(groups.table(x), gradient=True)
            return parts, groups.sums(slope)

        found = minimise(function, first, *bounds, gain=GAIN, evaluations=evaluations, step=STEP)
        parts = whole.of(groups.table(found.x))[0]
    finally:
        for parameter, required in frozen:
            parameter.requires_grad_(required)
    numbers = dict(zip(symbols, found.x[groups.column].tolist(), strict=True))
    return NeighbourCalibration(replace(scheme, neighbours=numbers), parts, found.status, found.rows)
