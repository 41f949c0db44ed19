"""Cross-validation of paths of cutoffs over groups of structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from fcl.calibration.path import CalibrationPlan, CutoffPath
from fcl.config.sections import LossSettings
from fcl.cutoffs.rules import cutoff_rule
from fcl.data.batch import GraphData
from fcl.data.groups import split_groups
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, Errors, evaluate, joined


def errors_at(model, data: GraphData, cutoffs: float | Mapping[str, float], indices: torch.Tensor | None = None):
    """`Errors` of the model at a uniform cutoff, or at cutoffs by chemical symbol (A)."""
    rule = cutoff_rule(cutoffs, data.dtype, data.device)
    return evaluate(model, data, rule, EVALUATION_BATCH_SIZE, indices)


class CrossValidation:
    """Paths of cutoffs, each optimised on all groups of the structures ``indices`` but those of one of the ``folds``.

    Each path is evaluated on the structures that it leaves out, so every structure counts, but never for cutoffs that
    were optimised on it or on one of its group (`fcl.data.store.StoreArrays.groups`). ``start``: cutoffs (A) by symbol
    at the begin of the paths. Raises `ValueError` for structures of a single group, and where
    the structures of a path have no pair.
    """

    def __init__(
        self, model, data: GraphData, plan: CalibrationPlan, loss: LossSettings, *, indices: torch.Tensor,
        start: Mapping[str, float], folds: int, seed: int,
    ):  # fmt: skip
        groups = data.groups()[indices.cpu()].tolist()
        parts = split_groups(groups, (1,) * max(2, min(folds, len(set(groups)))), seed)
        self._model, self._data = model, data
        self._left_out = [indices[torch.as_tensor(part).to(indices.device)] for part in parts]
        others = [torch.cat(self._left_out[:k] + self._left_out[k + 1 :]) for k in range(len(parts))]
        for fit in others:
            data.require_pairs("cross-validation", plan.upper_bound, fit)
        self.paths = [CutoffPath(model, data, plan, loss, indices=fit, start=start, seed=seed) for fit in others]

    def extend(self, lam: float) -> None:
        """Follow all paths to ``lam``."""
        for path in self.paths:
            path.extend(lam)

    def errors(self, position: float) -> Errors:
        """Errors of all structures at a ``position`` on the paths."""
        return self.errors_of([path.at(position) for path in self.paths])

    def errors_of(self, tables: Sequence[Mapping[str, float]]) -> Errors:
        """Errors of all structures with one table of cutoffs (A) per fold."""
        pairs = zip(tables, self._left_out, strict=True)
        return joined([errors_at(self._model, self._data, *pair) for pair in pairs])

    def cutoffs(self, position: float) -> dict[str, float]:
        """Mean over the paths of the cutoffs (A) at a ``position``."""
        found = [path.at(position) for path in self.paths]
        return {symbol: sum(table[symbol] for table in found) / len(found) for symbol in found[0]}
