"""The lambda with the fewest pairs within a tolerance of the error, by cross-validation over groups of structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fcl.calibration.folds import CrossValidation
from fcl.calibration.path import CalibrationPlan
from fcl.calibration.tolerance import FOLDS, symbols_of
from fcl.config.sections import LossSettings
from fcl.data.batch import GraphData
from fcl.evaluation.errors import Errors, force_rmse, relative_increase
from fcl.evaluation.statistics import resampled
from fcl.training.loss import LOSS


@dataclass(frozen=True)
class Choice:
    """``lam``, or None if no lambda is within the tolerance, and what it was chosen from.

    ``lambdas``: None (the start, uniform cutoffs) and the lambdas in ascending order. For each of them ``errors``,
    cross-validated, and ``increases``: relative increase of the force RMSE over the start and its standard error.
    ``shares``: fraction of the resamples of the groups in which each of ``lambdas`` would be chosen.
    """

    lam: float | None
    lambdas: tuple[float | None, ...]
    errors: list[Errors]
    increases: list[tuple[float, float]]
    shares: list[float]

    def trials(self) -> list[dict]:
        """One row per lambda, for JSON."""
        rows = zip(self.lambdas, self.errors, self.increases, self.shares, strict=True)
        return [
            {"lambda": lam, "pairs_per_atom": float(errors.pairs.mean()),
             "force_rmse_ev_per_angstrom": force_rmse(errors), "increase": increase, "standard_error": uncertainty,
             "share_of_resamples": share}
            for lam, errors, (increase, uncertainty), share in rows
        ]  # fmt: skip


def cheapest(pairs: np.ndarray, increases: np.ndarray, tolerance: float) -> np.ndarray:
    """Position of the fewest ``pairs`` [n] whose increase [..., n] is within the tolerance; 0 if none is."""
    return np.where(increases <= tolerance, pairs, np.inf).argmin(-1)


def choose_lambda(
    model, data: GraphData, plan: CalibrationPlan, lambdas: Sequence[float], tolerance: float, *, indices: torch.Tensor,
    seed: int, margin: float = 1.0, folds: int = FOLDS, loss: LossSettings = LOSS,
) -> Choice:  # fmt: skip
    """The lambda with the fewest pairs that raises the force RMSE by no more than ``tolerance`` (relative).

    The increase over uniform cutoffs of ``plan.initial_cutoff``, plus ``margin`` standard errors, is that of a
    `CrossValidation` on the structures ``indices``, which follows the lambdas upwards. Raises `ValueError` for
    structures of a single group.
    """
    start = dict.fromkeys(symbols_of(data), plan.initial_cutoff)
    folded = CrossValidation(model, data, plan, loss, indices=indices, start=start, folds=folds, seed=seed)
    positions = (None, *sorted(lambdas))
    errors = [folded.errors(0.0)]
    for lam in positions[1:]:
        folded.extend(lam)
        errors.append(folded.errors(len(errors)))
    increases = [relative_increase(errors[0], one) for one in errors]
    pairs = np.array([one.pairs.mean() for one in errors])
    spare = margin * np.array([uncertainty for _, uncertainty in increases])
    found = cheapest(pairs, np.array([increase for increase, _ in increases]) + spare, tolerance)
    squares = np.stack(resampled(errors[0].groups, *(one.force_square for one in errors)), axis=1)
    choices = cheapest(pairs, np.sqrt(squares / squares[:, :1]) - 1.0 + spare, tolerance)
    shares = np.bincount(choices, minlength=len(positions)) / len(choices)
    return Choice(positions[int(found)], positions, errors, increases, shares.tolist())
