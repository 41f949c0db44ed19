"""The objective of a calibration on all of its structures, independent of the size and order of batches."""

from __future__ import annotations

from math import isfinite

import numpy as np
import torch

from fcl.cutoffs.cost import COST_MEANS, pairs_per_atom
from fcl.data.batch import GraphData
from fcl.training.loss import exact_share


class WholeObjective:
    """T = error + lam * cost (Eq. 11) on all structures ``indices``, and dT/da for the cutoffs of ``elements``.

    ``batch_size`` structures are evaluated at a time; results do not depend on it beyond rounding.
    """

    def __init__(self, model, data: GraphData, loss, lam: float, cost_mean: str, indices, batch_size: int):
        if cost_mean not in COST_MEANS:
            raise ValueError(f"mean {cost_mean!r} of the cost is unknown; known are {', '.join(COST_MEANS)}")
        self._model, self._data, self._loss, self._lam = model, data, loss, lam
        self._batches = [data.batch(chunk) for chunk in torch.split(indices.cpu(), batch_size)]
        self.n_structures = len(indices)
        self._components = sum(batch.forces.numel() for batch in self._batches)
        share = torch.zeros(119, dtype=torch.float64, device=data.device)
        self.structures_with = torch.zeros(119, dtype=torch.int64)  # of each atomic number
        for batch in self._batches:
            weights = 1.0 / batch.atoms_per_structure.double()[batch.structure] / len(indices)
            if cost_mean == "atoms":
                weights = torch.full_like(weights, 3.0 / self._components)
            share.index_add_(0, batch.numbers, weights)
            own = torch.unique(batch.structure * 119 + batch.numbers) % 119
            self.structures_with += torch.bincount(own, minlength=119).cpu()
        self.elements = torch.nonzero(self.structures_with).flatten()
        self._share = share.cpu().numpy()
        self.evaluations = 0

    def of(self, table: np.ndarray, gradient: bool = False) -> tuple[dict[str, float], np.ndarray]:
        """Parts of the objective at cutoffs ``table`` [119] (A) by atomic number, and dT/da [119].

        Without ``gradient`` the derivative is that of the cost. Raises `FloatingPointError` if T is not finite.
        """
        self.evaluations += gradient
        data = self._data
        values = torch.as_tensor(table).to(device=data.device, dtype=data.dtype)
        slope = torch.zeros(119, dtype=torch.float64, device=data.device)
        error, pairs = slope.new_zeros(()), slope.new_zeros(())
        for batch in self._batches:
            leaf = values.clone().requires_grad_(gradient)
            cutoffs = leaf.index_select(0, batch.numbers)
            chosen = data.select_pairs(batch, cutoffs, self._model.selector)
            output = self._model(chosen, cutoffs, training=gradient)
            part = exact_share(output, batch, self._loss, self.n_structures, self._components // 3)
            if part.requires_grad:
                slope += torch.autograd.grad(part, leaf)[0].double()
            error += part.detach()
            pairs += pairs_per_atom(chosen.pair_structure, batch.structure, batch.n_structures).sum()
        used = self._share > 0
        cost = float(np.dot(self._share[used], table[used] ** 3))
        total = float(error) + self._lam * cost
        if not isfinite(total):
            raise FloatingPointError(f"calibration: the objective of step {self.evaluations} is not finite")
        parts = {"objective": total, "error": float(error), "cost": cost, "pairs_per_atom": float(pairs)}
        parts["pairs_per_atom"] /= self.n_structures
        priced = 3.0 * self._lam * self._share * np.where(used, table, 0.0) ** 2
        return parts, slope.cpu().numpy() + priced

    def uniform(self, cutoff: float) -> dict[str, float]:
        """Parts of the objective at a uniform ``cutoff`` (A), and that cutoff."""
        return {"cutoff_angstrom": cutoff, **self.of(np.full(119, cutoff))[0]}


class ElementGroups:
    """The variables of a calibration: one per element, but those in fewer than ``fewest`` structures share the last."""

    def __init__(self, whole: WholeObjective, fewest: int):
        self.elements = whole.elements.numpy()
        rare = (whole.structures_with[whole.elements] < fewest).numpy()
        self.shared = self.elements[rare].tolist()
        self.column = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1)

    def __len__(self) -> int:
        return int(self.column.max()) + 1

    def table(self, x: np.ndarray) -> np.ndarray:
        """Cutoffs [119] (A) by atomic number from the variables ``x`` [n]; NaN for elements that do not occur."""
        values = np.full(119, np.nan)
        values[self.elements] = x[self.column]
        return values

    def sums(self, slope: np.ndarray) -> np.ndarray:
        """Derivatives [n] with respect to the variables from those with respect to cutoffs [119]."""
        return np.bincount(self.column, slope[self.elements], len(self))


def uniform_of_equal_pairs(
    data: GraphData, pairs: float, indices: torch.Tensor | None = None, *, low: float = 0.0, high: float | None = None
) -> float:
    """The uniform cutoff (A) with ``pairs`` pairs per atom, mean over the structures ``indices``, to within one pair.

    Of the cutoffs that keep as few pairs as possible, but no fewer than ``pairs``, the one in the middle of those
    between ``low`` and ``high`` (None: r_max of the store): at the distance of a pair its taper would vanish. Raises
    `ValueError` when the store holds fewer pairs.
    """
    chosen = torch.arange(len(data)) if indices is None else indices.cpu()
    distances, structure = data.candidates(chosen)
    order = torch.argsort(distances, stable=True)
    weights = 2.0 / (data.atom_counts[chosen].double() * len(chosen)).to(distances.device)
    reached = weights.index_select(0, structure.index_select(0, order)).cumsum(0)
    position = int(torch.searchsorted(reached, pairs * (1.0 - 1e-12)))
    if position == len(order):
        raise ValueError(f"{pairs:g} pairs per atom are more than the store holds up to {data.r_max} A")
    first, limit = float(distances[order[position]]), data.r_max if high is None else high
    farther = distances[distances > first]
    following = float(farther.min()) if len(farther) else limit
    return 0.5 * (max(first, low) + max(first, min(following, limit)))
