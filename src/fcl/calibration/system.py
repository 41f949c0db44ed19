"""Cutoffs for a user's system: optimisation, selection, and a check on structures used for neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

import torch

from fcl.calibration.folds import errors_at
from fcl.calibration.optimise import calibrate
from fcl.calibration.path import CalibrationPlan
from fcl.calibration.tolerance import FOLDS, Trial, cheapest_within, labelled_by, symbols_of
from fcl.config.types import BY_NUMBER
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.data.batch import GraphData
from fcl.data.groups import split_groups
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, Errors, force_rmse, relative_increase
from fcl.training.loss import LOSS


@dataclass(frozen=True)
class Goal:
    """Goal of the optimisation: exactly one of the three. The limits are met with a margin of one standard error.

    ``lam``: lambda of Eq. 11. ``max_increase``: largest relative increase of the force RMSE in validation.
    ``max_added``: largest RMS change of the model's forces due to smaller cutoffs (eV/A); for structures without
    labels.
    """

    lam: float | None = None
    max_increase: float | None = None
    max_added: float | None = None

    def __post_init__(self):
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ValueError("one goal is needed: a lambda, a largest increase of the error or a largest added error")
        ((name, value),) = given.items()
        if not 0.0 < value < float("inf"):
            raise ValueError(f"{name} must be positive, not {value}")


@dataclass(frozen=True)
class OwnCutoffs:
    """Cutoffs (A) by symbol and their errors on the held-out structures.

    ``reference`` and ``chosen`` are `Errors` at the uniform reference cutoff and at ``cutoffs``; with ``self_labelled``
    they are deviations from pseudo-labels (the model at the reference cutoff). ``lam`` is None for uniform cutoffs;
    ``expected`` is the trial that was selected, if a limit was given; otherwise ``convergence`` is that of the
    `Calibration`.
    """

    cutoffs: dict[str, float]
    lam: float | None
    expected: Trial | None
    trials: list[Trial]
    not_calibrated: list[str]
    sizes: dict[str, int]
    reference_cutoff: float
    self_labelled: bool
    reference: Errors
    chosen: Errors
    convergence: dict | None = None

    @property
    def kept_reference(self) -> bool:
        """Whether the cutoffs are still the uniform reference ones, because no other trial met the goal."""
        return all(cutoff == self.reference_cutoff for cutoff in self.cutoffs.values())

    @property
    def saving(self) -> float:
        """Fraction of pairs per atom that is saved."""
        return 1.0 - float(self.chosen.pairs.mean() / self.reference.pairs.mean())

    def increase(self) -> tuple[float, float] | None:
        """Relative increase of the force RMSE and its standard error (NaN if undefined); None without labels."""
        return None if self.self_labelled else relative_increase(self.reference, self.chosen)

    def facts(self) -> dict:
        """Metadata for the cutoffs file: expected error and cost, and how they were obtained."""
        facts = {
            "lambda": self.lam,
            "reference_cutoff_angstrom": self.reference_cutoff,
            "structures": self.sizes,
            "not_calibrated": self.not_calibrated,
            "pairs_per_atom": float(self.chosen.pairs.mean()),
            "reference_pairs_per_atom": float(self.reference.pairs.mean()),
        }
        if self.convergence is not None:
            timeless = {key: value for key, value in self.convergence.items() if key != "core_seconds"}
            facts["convergence"] = timeless  # the file is the same on every run
        if self.self_labelled:
            labels = "the model's own at the reference cutoff: errors are what smaller cutoffs add"
            return facts | {"labels": labels, "added_force_rmse_ev_per_angstrom": force_rmse(self.chosen)}
        rise, uncertainty = (value if isfinite(value) else None for value in self.increase())
        return facts | {
            "labels": "of the data",
            "force_rmse_ev_per_angstrom": force_rmse(self.chosen),
            "reference_force_rmse_ev_per_angstrom": force_rmse(self.reference),
            "force_rmse_increase": rise,
            "force_rmse_increase_standard_error": uncertainty,
        }


def calibrate_own(
    model,
    data: GraphData,
    goal: Goal,
    *,
    held_out: GraphData | None = None,
    labels: bool = True,
    reference_cutoff: float = 6.0,
    lower_bound: float | None = None,
    epochs: int | None = None,
    optimiser: str = "lbfgs",
    seed: int = 0,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    names: tuple[str, str] = ("calibration", "held-out structures"),
) -> OwnCutoffs:
    """Optimise the cutoffs (A) of the elements in ``data`` for ``goal`` and check them on held-out structures.

    Unless ``held_out`` is given, the groups of a random quarter of the structures (by ``seed``) are held out. A limit
    is enforced by cross-validation on the other structures (`cheapest_within`). Without ``labels``, pseudo-labels from
    the model at ``reference_cutoff`` are used (`labelled_by`). Cutoffs start at ``reference_cutoff`` (with a lambda and
    L-BFGS, the default ``optimiser``, at others too) and stay between ``lower_bound`` (None: that of the model's
    training) and the model's r_max; elements without a pair keep it. ``names`` of the structures and of those held out
    are for messages. Raises `ValueError` for a goal that does not fit the data, too few groups of structures, none with
    a pair, or inconsistent bounds.
    """
    if model.single_cutoff:
        kind = "an FCL model without sampling" if model.flexible else "a static model"
        raise ValueError(f"{kind} has one cutoff, {model.cutoff_limit} A: there is nothing to optimise")
    if model.own_cutoffs:
        raise ValueError("the model was specialised for cutoffs of its own: optimise those of the one it started from")
    if labels and goal.max_added is not None:
        raise ValueError("a largest added error is a goal for structures without labels")
    if not labels and goal.max_increase is not None:
        raise ValueError(
            "without labels the error at the reference cutoff is unknown, so a percentage of it has no meaning; "
            "ask for a largest added error"
        )
    if lower_bound is None:
        lower_bound = getattr(model, "card", {}).get("r_min_angstrom")
        if lower_bound is None:
            raise ValueError("the model's card does not say from which cutoff on it was trained: give a lower bound")
    if not labels:
        data = labelled_by(model, data, reference_cutoff)
        held_out = None if held_out is None else labelled_by(model, held_out, reference_cutoff)
    try:
        split = split_groups(data.groups().tolist(), (1,) if held_out is not None else (3, 1), seed)
    except ValueError as error:
        raise ValueError(f"{names[0]}: {error}") from None
    parts = [torch.as_tensor(part).to(data.device) for part in split]
    fit = parts[0]
    check, members = (held_out, None) if held_out is not None else (data, parts[1])
    data.require_pairs(names[0], model.cutoff_limit, fit)
    check.require_pairs(names[1], reference_cutoff, members)
    on_path = goal.lam is None
    plan = CalibrationPlan.for_structures(
        len(fit) - len(fit) // FOLDS if on_path else len(fit), on_path=on_path,
        lower_bound=lower_bound, upper_bound=model.cutoff_limit, initial_cutoff=reference_cutoff, optimiser=optimiser,
    )  # fmt: skip
    if epochs is not None:
        plan = replace(plan, epochs=epochs, sample=None)
    trials: list[Trial] = []
    lam, expected, convergence = goal.lam, None, None
    if lam is not None:
        validation = (check, torch.arange(len(check)) if members is None else members)
        found = calibrate(model, data, plan, LOSS, lam, seed=seed, indices=fit, validation=validation)
        cutoffs, convergence = found.cutoffs, found.convergence
    else:
        limit = goal.max_added if goal.max_increase is None else goal.max_increase
        relative = goal.max_increase is not None
        try:
            cutoffs, expected, trials = cheapest_within(
                model, data, plan, limit, relative=relative, indices=fit, seed=seed, on_trial=on_trial
            )
        except ValueError as error:
            raise ValueError(f"{names[0]}: {error}") from None
        lam = expected.lam
    everywhere = dict.fromkeys([*symbols_of(data), *symbols_of(check, members)], reference_cutoff)
    coupled = _coupled(model, data, fit)
    cutoffs = everywhere | {symbol: cutoff for symbol, cutoff in cutoffs.items() if symbol in coupled}
    return OwnCutoffs(
        cutoffs=cutoffs,
        lam=lam,
        expected=expected,
        trials=trials,
        not_calibrated=sorted(set(everywhere) - coupled),
        sizes={"calibration": len(fit), "held_out": len(check) if members is None else len(members)},
        reference_cutoff=reference_cutoff,
        self_labelled=not labels,
        reference=errors_at(model, check, reference_cutoff, members),
        chosen=errors_at(model, check, cutoffs, members),
        convergence=convergence,
    )


def _coupled(model, data: GraphData, indices: torch.Tensor) -> set[str]:
    """Symbols of the elements with a pair in the structures ``indices``; the cost alone would decide about others."""
    found: set[int] = set()
    for chunk in torch.split(indices, EVALUATION_BATCH_SIZE):
        batch = data.batch(chunk)
        cutoffs = uniform_cutoffs(batch.numbers, model.cutoff_limit, data.dtype)
        pairs = data.select_pairs(batch, cutoffs, model.selector).pair_index
        found.update(batch.numbers[pairs.flatten()].tolist())
    return {BY_NUMBER[number] for number in found}
