"""Path of optimised cutoffs: the minimisers of Eq. 11 for increasing lambda, each started from the previous one.

The path starts at uniform cutoffs and goes towards shorter ones. The order matters: Eq. 11 has several minimisers for a
given lambda, and a search from the short cutoffs of a larger lambda does not return to the longer ones. Where the
minimiser jumps, because no lambda reaches the cutoffs in between (a cusp, or a concave part of error versus cost), the
path is interpolated linearly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from fcl.calibration.optimise import calibrate
from fcl.config.sections import LossSettings
from fcl.data.batch import GraphData

#: Default length of a calibration by Adam, as the largest possible change of a cutoff in units of the width of the
#: allowed interval: for a single lambda, and for each lambda of a path.
_REACH, _REACH_ON_PATH = 1.5, 0.2
#: Default limits of L-BFGS: evaluations of a run, alone and on a path (the next lambda goes on); structures on a path.
_EVALUATIONS, _EVALUATIONS_ON_PATH, _SAMPLE_ON_PATH = 100, 12, 500


@dataclass(frozen=True)
class CalibrationPlan:
    """Settings of a calibration, accepted by `fcl.calibrate`. Lengths in A, as in `CalibrationSettings`.

    ``sample``: number of structures of a path, for Adam drawn anew at each lambda (None: all).
    """

    epochs: int
    lower_bound: float
    upper_bound: float
    initial_cutoff: float = 6.0
    learning_rate: float = 0.03
    batch_size: int = 8
    cost: str = "structures"
    optimiser: str = "lbfgs"
    min_structures: int = 0
    sample: int | None = None

    @classmethod
    def for_structures(cls, n_structures: int, *, on_path: bool = False, **values) -> CalibrationPlan:
        """Settings long enough for ``n_structures``; Adam moves a cutoff by learning_rate per step at most.

        ``on_path``: for each lambda of a path. Raises `ValueError` for inconsistent bounds.
        """
        plan = cls(epochs=1, **values)
        if not 0.0 < plan.lower_bound < plan.upper_bound:
            raise ValueError(f"bounds: {plan.lower_bound} A is not between 0 and {plan.upper_bound} A")
        if not plan.lower_bound <= plan.initial_cutoff <= plan.upper_bound:
            bounds = f"[{plan.lower_bound}, {plan.upper_bound}] A"
            raise ValueError(f"the initial cutoff of {plan.initial_cutoff} A is not within {bounds}")
        if plan.optimiser != "adam":
            limits = (_EVALUATIONS_ON_PATH, _SAMPLE_ON_PATH) if on_path else (_EVALUATIONS, None)
            return replace(plan, epochs=limits[0], sample=limits[1])
        reach = _REACH_ON_PATH if on_path else _REACH
        steps = math.ceil(reach * (plan.upper_bound - plan.lower_bound) / plan.learning_rate)
        epochs = math.ceil(steps / math.ceil(n_structures / plan.batch_size))
        return replace(plan, epochs=max(1, epochs), sample=steps * plan.batch_size if on_path else None)


class CutoffPath:
    """Cutoffs (A) by symbol, optimised on the structures ``indices`` at one lambda after another.

    ``start`` holds the cutoffs at position 0; elements that do not occur in ``indices`` keep them. Position k is the
    k-th lambda; between positions, cutoffs are interpolated linearly.
    """

    def __init__(
        self,
        model,
        data: GraphData,
        plan: CalibrationPlan,
        loss: LossSettings,
        *,
        indices: torch.Tensor,
        start: Mapping[str, float],
        seed: int,
    ):
        self._arguments = (model, data, plan, loss)
        self._indices, self._seed = indices, seed
        self.tables: list[dict[str, float]] = [dict(start)]

    def extend(self, lam: float) -> None:
        """Optimise at ``lam``, starting from the last cutoffs.

        The result of Adam is the mean over the second half of the steps: single steps fluctuate by the learning rate.
        """
        plan, chosen = self._arguments[2], self._indices
        adam, sample = plan.optimiser == "adam", plan.sample
        seed = self._seed + len(self.tables) if adam else self._seed
        if sample is not None and sample < len(chosen):
            order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
            chosen = chosen[order[:sample].to(chosen.device)]
        result = calibrate(*self._arguments, lam, seed=seed, indices=chosen, start=self.tables[-1])
        found = result.cutoffs
        if adam:
            steps = result.history[len(result.history) // 2 :]
            found = {symbol: sum(row[f"cutoff_{symbol}"] for row in steps) / len(steps) for symbol in found}
        self.tables.append(self.tables[-1] | found)

    def at(self, position: float) -> dict[str, float]:
        """Cutoffs at ``position`` in [0, number of lambdas]."""
        first = min(int(position), max(len(self.tables) - 2, 0))
        share = position - first
        if not share:
            return dict(self.tables[first])
        before, after = self.tables[first], self.tables[first + 1]
        return {symbol: (1.0 - share) * cutoff + share * after[symbol] for symbol, cutoff in before.items()}
