"""Cutoffs for an error tolerance: the cheapest ones whose force error stays below a limit.

Users rarely know a suitable lambda of Eq. 11, but know the error they can accept. The search therefore follows the path
of increasing lambda (`fcl.calibration.path`): fewer and fewer pairs and, from some point on, a larger error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fcl.calibration.folds import CrossValidation
from fcl.calibration.path import CalibrationPlan
from fcl.config.sections import LossSettings
from fcl.config.types import BY_NUMBER
from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData, ranges
from fcl.data.loader import selected_batches
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, error_bound, force_rmse
from fcl.training.loss import LOSS

#: The lambdas of a path (eV/A^4 of the force term); the paper's are 1e-6 to 1e-2.
LAMBDAS = tuple(10.0 ** (0.5 * exponent) for exponent in range(-12, -1))
#: Folds of the cross-validation: each path is optimised on the groups of two thirds of the structures.
FOLDS = 3


@dataclass(frozen=True)
class Trial:
    """A trial: cross-validated error and cost, on the structures left out of each calibration, over all folds.

    ``lam`` is the lambda of the cutoffs (None: uniform cutoffs), ``position`` their position on the path.
    ``force_rmse`` and ``bound`` (RMSE plus margin) are in eV/A.
    """

    lam: float | None
    position: float
    force_rmse: float
    bound: float
    pairs_per_atom: float


def symbols_of(data: GraphData, indices: torch.Tensor | None = None) -> list[str]:
    """Chemical symbols in ``data`` (or in its structures ``indices``), ordered by atomic number."""
    numbers = data.numbers if indices is None else data.batch(indices).numbers
    return [BY_NUMBER[z] for z in torch.unique(numbers).tolist()]


def labelled_by(model, data: GraphData, reference_cutoff: float, indices: torch.Tensor | None = None) -> GraphData:
    """The same structures with pseudo-labels: energies and forces of the model at a uniform ``reference_cutoff`` (A).

    Errors with respect to pseudo-labels are those *added* by smaller cutoffs. They do not measure the error of the
    model itself; by the triangle inequality, though, its force RMSE increases by no more than the added RMSE. With
    ``indices``, the labels of all other structures are NaN.
    """
    model.check_cutoff(reference_cutoff)
    rule = uniform_rule(reference_cutoff, data.dtype)
    own = copy.copy(data)
    own.energy, own.forces = (torch.full_like(labels, float("nan")) for labels in (data.energy, data.forces))
    own.energy_mask, own.without_energy = torch.zeros_like(data.energy_mask), len(data)
    chosen = torch.arange(len(data)) if indices is None else indices
    for batch, cutoffs in selected_batches(data, torch.split(chosen, EVALUATION_BATCH_SIZE), rule, model.selector):
        output = model(batch, cutoffs)
        own.energy[batch.indices], own.energy_mask[batch.indices] = output["energy"], True
        own.forces[ranges(data.ptr[batch.indices], batch.atoms_per_structure, batch.n_atoms)] = output["forces"]
    own.without_energy = int((~own.energy_mask).sum())
    return own


def cheapest_within(
    model,
    data: GraphData,
    plan: CalibrationPlan,
    limit: float,
    *,
    indices: torch.Tensor,
    seed: int,
    relative: bool = False,
    margin: float = 1.0,
    folds: int = FOLDS,
    loss: LossSettings = LOSS,
    refinements: int = 4,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> tuple[dict[str, float], Trial, list[Trial]]:
    """The cutoffs (A) with the fewest pairs that meet ``limit``, the selected trial, and all trials.

    ``limit`` is a force RMSE (eV/A) or, with ``relative``, its largest relative increase above the RMSE at the uniform
    ``plan.initial_cutoff``; it is met with a margin of ``margin`` standard errors (`error_bound`). The error is
    that of a `CrossValidation` on the structures ``indices``. The paths are followed until the limit is exceeded by
    more than the margin, and end at the lower bound for all elements; then the interval between the last lambda that
    meets the limit and the next one is bisected. The cutoffs are the mean over the paths at the selected position. (A
    path optimised on all ``indices`` would be ahead of the evaluated ones, and hence exceed the limit.) Raises
    `ValueError` if not even the start meets the limit, or for structures of a single group.
    """
    start = dict.fromkeys(symbols_of(data), plan.initial_cutoff)
    folded = CrossValidation(model, data, plan, loss, indices=indices, start=start, folds=folds, seed=seed)
    trials: list[Trial] = []
    first = folded.errors(0.0)
    reference = first if relative else None
    allowed = (1.0 + limit) * force_rmse(first) if relative else limit
    if not allowed:
        raise ValueError(f"the force RMSE at {plan.initial_cutoff:g} A is zero, and a percentage of it has no meaning")

    def attempt(position: float, lam: float | None, tables: Sequence[dict[str, float]] | None = None) -> Trial:
        errors = folded.errors(position) if tables is None else folded.errors_of(tables)
        bound = error_bound(errors, reference, margin)
        trials.append(Trial(lam, position, force_rmse(errors), bound, float(errors.pairs.mean())))
        on_trial(trials[-1])
        return trials[-1]

    if attempt(0.0, None).bound > allowed:
        found = f"the force RMSE at {plan.initial_cutoff:g} A is {trials[0].force_rmse:.4g} eV/A already"
        raise ValueError(f"{found}, above the limit of {allowed:.4g} eV/A")
    shortest = start | dict.fromkeys(symbols_of(data, indices), plan.lower_bound)
    end = attempt(0.0, None, [shortest] * len(folded.paths))
    if end.bound <= allowed:
        return shortest, end, trials  # nothing is cheaper
    reached = [trials[0]]
    for lam in LAMBDAS:
        folded.extend(lam)
        reached.append(attempt(len(reached), lam))
        if 2 * reached[-1].force_rmse - reached[-1].bound > allowed:
            break
    followed = LAMBDAS[: len(reached) - 1]
    for known in folded.paths:
        known.tables.append(shortest)  # every path can be continued to the lower bound
    kept = [trial for trial in reached if trial.bound <= allowed]
    low, high = kept[-1].position, kept[-1].position + 1.0
    for _ in range(refinements):
        middle = 0.5 * (low + high)
        trial = attempt(middle, float(10 ** np.interp(middle - 1, range(len(followed)), np.log10(followed))))
        if trial.bound <= allowed:
            low = middle
            kept.append(trial)
        else:
            high = middle
    best = min(kept, key=lambda trial: trial.pairs_per_atom)
    return folded.cutoffs(best.position), best, trials
