"""Cutoffs for a tolerance: the cheapest ones whose force error stays below a limit, and what they do to new structures.

Nobody knows which lambda of Eq. 11 suits his system; how much error he can bear he does know. So lambda is found by
bisection: a larger one gives fewer pairs and a larger error.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from fcl.calibration import calibrate
from fcl.config import LossSettings
from fcl.data.batch import GraphData
from fcl.evaluation import EVALUATION_BATCH_SIZE, Errors, element_rule, evaluate, uniform_rule

#: Section 3 of the paper: 0.1 per-atom energy, 1.0 force components.
LOSS = LossSettings(energy_weight=0.1, force_weight=1.0)
#: Bisection takes place between these lambdas (eV/A^4 of the force term); the paper's are 1e-6 to 1e-2.
LAMBDA_RANGE = (1e-6, 1e-1)
#: How far a calibration could move a cutoff, in widths of the allowed interval, where nobody says how long it takes.
_REACH = 1.5
_RESAMPLES = 1000


@dataclass(frozen=True)
class CalibrationPlan:
    """How cutoffs are optimised; what `fcl.calibrate` takes as its settings. Lengths in A, as `CalibrationSettings`."""

    epochs: int
    lower_bound: float
    upper_bound: float
    initial_cutoff: float = 6.0
    learning_rate: float = 0.03
    batch_size: int = 8
    cost: str = "structures"

    @classmethod
    def for_structures(cls, n_structures: int, **values) -> CalibrationPlan:
        """A plan long enough for ``n_structures``: Adam moves a cutoff by learning_rate a step at most."""
        plan = cls(epochs=1, **values)
        if not 0.0 < plan.lower_bound < plan.upper_bound:
            raise ValueError(f"bounds: {plan.lower_bound} A is not below {plan.upper_bound} A")
        if not plan.lower_bound <= plan.initial_cutoff <= plan.upper_bound:
            bounds = f"[{plan.lower_bound}, {plan.upper_bound}] A"
            raise ValueError(f"the initial cutoff of {plan.initial_cutoff} A is not within {bounds}")
        steps = _REACH * (plan.upper_bound - plan.lower_bound) / plan.learning_rate
        return replace(plan, epochs=max(1, math.ceil(steps / math.ceil(n_structures / plan.batch_size))))


@dataclass(frozen=True)
class Trial:
    """Cutoffs (A) by symbol that were tried at ``lam`` (None: not optimised), their error and cost in validation.

    ``force_rmse`` and ``bound``, the RMSE with one standard error to spare, are in eV/A.
    """

    lam: float | None
    cutoffs: dict[str, float]
    force_rmse: float
    bound: float
    pairs_per_atom: float


def symbols_of(data: GraphData, indices: torch.Tensor | None = None) -> list[str]:
    """Chemical symbols that occur in ``data`` (or in its structures ``indices``), by atomic number."""
    from ase.data import chemical_symbols

    numbers = data.numbers if indices is None else data.batch(indices).numbers
    return [chemical_symbols[z] for z in torch.unique(numbers).tolist()]


def random_split(n: int, fractions: tuple[float, ...], seed: int) -> list[torch.Tensor]:
    """Disjoint sorted indices of n structures, drawn with ``seed``, about as large as ``fractions`` of the whole say.

    Each part has one structure at least. Raises `ValueError` for fewer structures than parts.
    """
    if n < len(fractions):
        raise ValueError(f"{n} structures cannot be split into {len(fractions)} parts")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    ends = [round(n * part) for part in np.cumsum(fractions) / sum(fractions)]
    for k in range(len(ends)):  # no part is empty
        ends[k] = min(max(ends[k], k + 1), n - (len(ends) - 1 - k))
    return [torch.sort(order[a:b]).values for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def labelled_by(model, data: GraphData, reference_cutoff: float) -> GraphData:
    """The same structures, labelled with the model's own energies and forces at a uniform ``reference_cutoff`` (A).

    Errors against these labels are what smaller cutoffs *add*. Nothing follows from them about the error of the model
    itself, except that by the triangle inequality its force RMSE rises by no more than they say.
    """
    model.check_cutoff(reference_cutoff)
    rule = uniform_rule(reference_cutoff, data.dtype)
    energy, forces = [], []
    for chunk in torch.split(torch.arange(len(data), device=data.device), EVALUATION_BATCH_SIZE):
        batch = data.batch(chunk)
        cutoffs = rule(batch)
        output = model(data.select_pairs(batch, cutoffs, model.mixing), cutoffs)
        energy.append(output["energy"])
        forces.append(output["forces"])
    own = copy.copy(data)
    own.energy, own.forces = torch.cat(energy), torch.cat(forces)
    return own


def errors_at(model, data: GraphData, cutoffs: float | Mapping[str, float], indices: torch.Tensor | None = None):
    """`Errors` of the model at a uniform cutoff, or at cutoffs by chemical symbol (A)."""
    if isinstance(cutoffs, Mapping):
        rule = element_rule(dict(cutoffs), data.dtype, data.device)
    else:
        rule = uniform_rule(cutoffs, data.dtype)
    return evaluate(model, data, rule, EVALUATION_BATCH_SIZE, indices)


def force_rmse(errors: Errors) -> float:
    """Root mean square error of the force components (eV/A)."""
    return errors.metrics()["force_rmse_ev_per_angstrom"]


def relative_increase(reference: Errors, errors: Errors, seed: int = 0) -> tuple[float, float]:
    """force RMSE / that of ``reference`` - 1, and its standard error by resampling the structures (bootstrap).

    Both are of the same structures in the same order.
    """
    before, after = reference.force_square, errors.force_square
    ratios = np.sqrt(after[_draws(len(before), seed)].sum(1) / before[_draws(len(before), seed)].sum(1))
    return float(np.sqrt(after.sum() / before.sum())) - 1.0, float(ratios.std())


def error_bound(errors: Errors, reference: Errors | None = None) -> float:
    """The force RMSE (eV/A) plus one standard error, that of its rise above ``reference`` where there is one.

    A rise over the same structures is known far better than the RMSE itself. Few structures leave a wide margin:
    without it the cheapest of many trials would be the one that is lucky on them.
    """
    if reference is not None:
        rise, uncertainty = relative_increase(reference, errors)
        return force_rmse(reference) * (1.0 + rise + uncertainty)
    draws = _draws(len(errors.atoms), 0)
    resampled = np.sqrt(errors.force_square[draws].sum(1) / (3 * errors.atoms[draws].sum(1)))
    return force_rmse(errors) + float(resampled.std())


def _draws(n: int, seed: int) -> np.ndarray:
    """Indices [resamples, n] of bootstrap samples of n structures; the same for the same seed."""
    return np.random.default_rng(seed).integers(n, size=(_RESAMPLES, n))


def cheapest_within(
    model,
    data: GraphData,
    plan: CalibrationPlan,
    limit: float,
    *,
    fit: torch.Tensor,
    validation: torch.Tensor,
    seed: int,
    reference: Errors | None = None,
    loss: LossSettings = LOSS,
    steps: int = 6,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, list[Trial]]:
    """The cutoffs with the fewest pairs whose force RMSE on ``validation`` is at most ``limit`` (eV/A), and all trials.

    That is with one standard error to spare: `error_bound`, given the errors ``reference`` of the same structures.
    Cutoffs are optimised on the structures ``fit`` at ``steps`` lambdas found by bisection of log lambda; each
    optimisation starts from the cutoffs of the nearest lambda already solved, and after the first takes half of the
    epochs. The uniform ``plan.initial_cutoff`` and the lower bound of all elements are tried too. Raises `ValueError`
    when not even the initial cutoffs keep the limit.
    """
    initial = dict.fromkeys(symbols_of(data), plan.initial_cutoff)
    trials: list[Trial] = []

    def attempt(cutoffs: dict[str, float], lam: float | None = None) -> bool:
        errors = errors_at(model, data, cutoffs, validation)
        bound = error_bound(errors, reference)
        trials.append(Trial(lam, cutoffs, force_rmse(errors), bound, float(errors.pairs.mean())))
        on_trial(trials[-1])
        return bound <= limit

    if not attempt(initial):
        found = f"the force RMSE at {plan.initial_cutoff:g} A is {trials[0].force_rmse:.4g} eV/A already"
        raise ValueError(f"{found}, above the limit of {limit:.4g} eV/A")
    if attempt(initial | dict.fromkeys(symbols_of(data, fit), plan.lower_bound)):
        return trials[-1], trials  # nothing is cheaper
    low, high = (math.log10(lam) for lam in LAMBDA_RANGE)
    solved: dict[float, dict[str, float]] = {}
    for _ in range(steps):
        middle = 0.5 * (low + high)
        nearest = min(solved, key=lambda known: abs(known - middle), default=None)  # noqa: B023 (used at once)
        start = None if nearest is None else solved[nearest]
        schedule = plan if start is None else replace(plan, epochs=max(1, math.ceil(plan.epochs / 2)))
        result = calibrate(model, data, schedule, loss, 10**middle, seed=seed, indices=fit, start=start)
        solved[middle] = initial | result.cutoffs
        if attempt(solved[middle], 10**middle):
            low = middle
        else:
            high = middle
    return min((trial for trial in trials if trial.bound <= limit), key=lambda trial: trial.pairs_per_atom), trials
