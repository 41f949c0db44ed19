"""Projected L-BFGS on the objective of all structures: deterministic, from several starts, with a test of convergence.

The objective is continuous, and its gradient at fixed topology exact, because the taper vanishes at m_ij; but its L1
terms have kinks, at which a line search can fail and the projected gradient does not reach zero. A failed line search
is followed by a restart without memory as long as that pays, and the gradient that remains is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fcl.calibration.whole import ElementGroups, WholeObjective

#: Converged: largest component of the projected gradient (loss per A).
GRADIENT = 1e-4
#: Otherwise a run ends when three iterations lower the objective by less than this fraction.
GAIN = 1e-4
#: Starts besides the given one and the best uniform cutoff, and the grid of the latter (A).
SHORT_START, GRID = 4.25, 0.5
#: Each start is followed for so many evaluations, on a sample of so many structures or an eighth of them if that is
#: more. (To the end it would fit rare elements to the sample, which the final run has to undo.)
SEARCH, SAMPLE = 6, 24
#: Longest first step of a search, of the final run, and after a failed line search (A).
_FAR, _NEAR, _RESTART = 1.0, 0.25, 0.05


class _Exhausted(Exception):
    """The evaluations of a run are used up."""


@dataclass
class Run:
    """A minimisation: best variables ``x`` [n] (A) and why it ended; one row per evaluation."""

    x: np.ndarray
    objective: float
    projected_gradient: float
    status: str
    rows: list[dict]


def minimise(
    function: Callable, start: np.ndarray, low: float, high: float, *, gain: float, evaluations: int, step: float
) -> Run:
    """Minimise ``function`` (x -> parts with "objective", gradient [n]) within [low, high] by projected L-BFGS.

    Ends when the largest component of the projected gradient is below `GRADIENT` ("converged"), three iterations or a
    restart lower the objective by less than the fraction ``gain`` ("no further decrease"), or after ``evaluations``.
    The first step changes no variable by more than ``step``.
    """
    from scipy.optimize import minimize

    best: dict = {"value": np.inf}
    rows: list[dict] = []

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        if "x" in best and np.array_equal(x, best["x"]):  # a restart
            return best["value"], best["gradient"]
        if len(rows) == evaluations:
            raise _Exhausted
        parts, gradient = function(x)
        left = float(np.abs(x - np.clip(x - gradient, low, high)).max())
        rows.append({**parts, "projected_gradient": left, "x": x.copy()})
        if parts["objective"] < best["value"]:
            best.update(value=parts["objective"], x=x.copy(), gradient=gradient, left=left)
        return parts["objective"], gradient

    def enough() -> bool:
        return best["left"] <= GRADIENT

    evaluate(np.clip(start, low, high))
    status = ""
    while not status:
        before = best["value"]
        scale = step / max(float(np.abs(best["gradient"]).max()), GRADIENT)
        reached = [before]

        def check(_, reached=reached) -> None:
            reached.append(best["value"])
            if enough() or (len(reached) > 3 and reached[-4] - reached[-1] < gain * abs(reached[-1])):
                raise StopIteration

        try:
            if not enough():
                result = minimize(
                    lambda x, scale=scale: tuple(scale * part for part in evaluate(x)), best["x"], jac=True,
                    method="L-BFGS-B", bounds=[(low, high)] * len(start), callback=check,
                    options={"maxls": 6, "ftol": 0.0, "gtol": 0.0, "maxiter": evaluations, "maxfun": 10 * evaluations},
                )  # fmt: skip
        except _Exhausted:
            status = "evaluations exhausted"
        if enough():
            status = "converged"
        elif not status and (result.status != 2 or before - best["value"] < gain * abs(before)):
            status = "no further decrease"
        step = _RESTART
    return Run(best["x"], best["value"], best["left"], status, rows)


def from_starts(
    make: Callable[[torch.Tensor], WholeObjective], groups: ElementGroups, indices: torch.Tensor, settings,
    given: np.ndarray | None,
) -> tuple[np.ndarray, list[dict], str, list[dict]]:  # fmt: skip
    """Optimised cutoffs of the groups [n] (A), the starts, why the final run ended, and the history.

    ``make`` gives the objective of some structures. With ``given`` cutoffs [n] these are the only start. Otherwise the
    starts are ``settings.initial_cutoff``, `SHORT_START` and the best uniform cutoff of a grid: each is followed on a
    sample, and the optimisation goes on from the one with the lowest objective on *all* structures.
    """
    low, high = settings.lower_bound, settings.upper_bound
    whole = sampled = make(indices)
    history: list[dict] = []

    def run(name: str, objective: WholeObjective, x: np.ndarray, evaluations: int, step: float) -> Run:
        def function(x):
            parts, slope = objective.of(groups.table(x), gradient=True)
            return parts, groups.sums(slope)

        found = minimise(function, x, low, high, gain=GAIN, evaluations=evaluations, step=step)
        history.extend({"start": name, "structures": objective.n_structures, **row} for row in found.rows)
        return found

    if given is not None:
        last = run("given", whole, given, settings.epochs, _NEAR)
        return last.x, [], last.status, history
    size = max(SAMPLE, len(indices) // 8)
    if size < len(indices):
        order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
        sampled = make(indices[order[:size].to(indices.device)])
    grid = np.arange(low, high + 1e-9, GRID).tolist()
    uniform = min(grid, key=lambda cutoff: sampled.uniform(cutoff)["objective"])
    starts = []
    for cutoff in dict.fromkeys((settings.initial_cutoff, SHORT_START, uniform)):
        found = run(f"{cutoff:g} A", sampled, np.full(len(groups), cutoff), min(SEARCH, settings.epochs), _FAR)
        objective = found.objective if sampled is whole else whole.of(groups.table(found.x))[0]["objective"]
        starts.append({"cutoff_angstrom": cutoff, "objective": objective, "x": found.x, "status": found.status})
    best = min(starts, key=lambda start: start["objective"])
    last = run("final", whole, best["x"], settings.epochs, _NEAR)
    return last.x, starts, last.status, history
