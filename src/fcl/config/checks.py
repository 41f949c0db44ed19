"""Consistency checks across settings, of physics and of the workflow; every error names the dotted key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fcl.config.sections import Sections, TrainingSections
from fcl.config.types import RESERVED, SYMBOLS, cutoff_label, lambda_label


def _distinct(key: str, values: Sequence[Any]) -> None:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{key}: {repeated[0]!r} occurs twice")


def _within(key: str, values: Sequence[float], low: float, high: float, why: str) -> None:
    for value in values:
        if not low <= value <= high:
            raise ValueError(f"{key}: {value:g} A lies outside [{low:g}, {high:g}] A, {why}")


STORED = "as the graph store holds pairs up to cutoffs.reach (null: cutoffs.r_max) only"


def _check_trained_cutoffs(study: TrainingSections) -> None:
    r_min, r_max, stored = study.cutoffs.r_min, study.cutoffs.r_max, study.cutoffs.stored
    if not r_min <= r_max:
        raise ValueError(f"cutoffs.r_min: {r_min:g} A exceeds cutoffs.r_max = {r_max:g} A")
    if stored < r_max:
        raise ValueError(f"cutoffs.reach: {stored:g} A is below cutoffs.r_max = {r_max:g} A")
    sampled = "the interval that training samples (cutoffs.r_min, cutoffs.r_max)"
    _within("fcl.validation_cutoffs", study.fcl.validation_cutoffs, r_min, r_max, sampled)
    _within("pretrain.cutoff", [study.pretrain.cutoff], 0.0, stored, STORED)
    _within("static.cutoffs", study.static.cutoffs, 0.0, stored, STORED)


def _check_cutoffs(study: Sections) -> None:
    r_max, grid = study.cutoffs.r_max, study.evaluation.uniform_cutoffs
    lowest, why = 0.0, "the range of FCL models (cutoffs.r_max)"
    if study.cutoffs.fixed:
        lowest, why = r_max, "the only cutoff of FCL models (cutoffs.r_min = cutoffs.r_max)"
    _within("evaluation.uniform_cutoffs", [grid.start, grid.stop], lowest, r_max, why)
    _within("diatomics.cutoffs", study.diatomics.cutoffs, lowest, r_max, why)
    low, high = study.calibration.lower_bound, study.calibration.upper_bound
    if not low < high:
        raise ValueError(f"calibration.lower_bound: {low:g} A is not below calibration.upper_bound = {high:g} A")
    bounds = "the bounds of the calibration"
    _within("calibration.initial_cutoff", [study.calibration.initial_cutoff], low, high, bounds)
    if not study.cutoffs.fixed:  # the workflow refuses to calibrate such models
        _within("calibration.upper_bound", [high], 0.0, r_max, why)


def _check_pairs(study: Sections) -> None:
    for pair in study.diatomics.pairs:
        elements = pair.split("-")
        unknown = [element for element in elements if element not in SYMBOLS]
        if len(elements) != 2 or unknown:
            raise ValueError(f"diatomics.pairs: {pair!r} is not a pair of elements such as H-O")
        for element in elements:
            if SYMBOLS.index(element) >= study.model.num_elements:
                raise ValueError(
                    f"diatomics.pairs: {element} is not among the first model.num_elements = "
                    f"{study.model.num_elements} elements"
                )
    if not study.diatomics.r_start < study.diatomics.r_stop:
        raise ValueError("diatomics.r_start: is not below diatomics.r_stop")


def _check_schedules(study: TrainingSections) -> None:
    for key, stage in {"pretrain": study.pretrain, "static": study.static}.items():
        if list(stage.milestones) != sorted(set(stage.milestones)):
            raise ValueError(f"{key}.milestones: {list(stage.milestones)} do not ascend")
        late = [milestone for milestone in stage.milestones if milestone >= stage.epochs]
        if late:
            raise ValueError(f"{key}.milestones: {late[0]} is never reached in {key}.epochs = {stage.epochs}")
    if study.fcl.min_learning_rate > study.fcl.learning_rate:
        raise ValueError("fcl.min_learning_rate: exceeds fcl.learning_rate")
    if study.loss.energy_weight + study.loss.force_weight <= 0:
        raise ValueError("loss: energy_weight and force_weight are both zero, nothing would be learned")


def _check_seeds(study: TrainingSections) -> None:
    if len(study.fcl.seeds) % len(study.pretrain.seeds):
        raise ValueError(
            f"fcl.seeds: {len(study.fcl.seeds)} seeds cannot be divided in equal parts among the "
            f"{len(study.pretrain.seeds)} pretrain.seeds"
        )
    for key, values in {
        "pretrain.seeds": study.pretrain.seeds,
        "fcl.seeds": study.fcl.seeds,
        "fcl.validation_cutoffs": study.fcl.validation_cutoffs,
        "static.seeds": study.static.seeds,
        "static.cutoffs": study.static.cutoffs,
    }.items():
        _distinct(key, values)


def _check_names(study: Sections) -> None:
    for key, values in {
        "diatomics.pairs": study.diatomics.pairs,
        "diatomics.cutoffs": study.diatomics.cutoffs,
        "calibration.subsets": study.calibration.subsets,
        "calibration.lambdas": study.calibration.lambdas,
        "calibration.seeds": study.calibration.seeds,
        "observables.subsets": study.observables.subsets,
    }.items():
        _distinct(key, values)
    for cutoff in study.static.cutoffs:
        if float(cutoff_label(cutoff)) != cutoff:
            raise ValueError(f"static.cutoffs: {cutoff!r} has more than the one decimal that file names hold")
    for key, lam in [
        *(("calibration.lambdas", lam) for lam in study.calibration.lambdas),
        ("observables.at_lambda", study.observables.at_lambda),
    ]:
        if float(lambda_label(lam)) != lam:
            raise ValueError(f"{key}: {lam!r} has more than the one digit that file names hold")
    for key, subset in [
        *(("calibration.subsets", subset) for subset in study.calibration.subsets),
        *(("observables.subsets", subset) for subset in study.observables.subsets),
    ]:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", subset):
            raise ValueError(f"{key}: {subset!r} holds other characters than letters, digits, - and _")
        if not re.match("[A-Za-z]", subset) or subset in RESERVED:
            reason = "stands for something else in tables" if subset in RESERVED else "does not begin with a letter"
            raise ValueError(f"{key}: {subset!r} {reason}: give the subset another name in the data")
    missing = [seed for seed in study.calibration.seeds if seed not in study.fcl.seeds]
    if missing:
        raise ValueError(f"calibration.seeds: no FCL model is trained with seed {missing[0]} (fcl.seeds)")


def _check_irreps(study: TrainingSections) -> None:
    """For other combinations mace-torch builds a different model, or fails in the middle of a job."""
    hidden = [part.strip().split("x") for part in study.model.hidden_irreps.split("+")]
    _distinct("model.hidden_irreps", [irrep for _, irrep in hidden])
    if "0e" not in [irrep for _, irrep in hidden]:
        raise ValueError("model.hidden_irreps: holds no scalars (0e), from which energies are read")
    if len({int(multiplicity) for multiplicity, _ in hidden}) > 1:
        raise ValueError(f"model.hidden_irreps: {study.model.hidden_irreps}: all irreps need the same multiplicity")
    for part in study.model.mlp_irreps.split("+"):
        if not part.strip().endswith("x0e"):
            raise ValueError(f"model.mlp_irreps: {part.strip()}: the readout has a hidden layer of scalars (0e) only")


def check_training(study: TrainingSections) -> None:
    """Raise ValueError, with the dotted key, for inconsistent settings of trainings."""
    _check_trained_cutoffs(study)
    _check_schedules(study)
    _check_seeds(study)
    _check_irreps(study)


def check_physics(study: Sections) -> None:
    """Raise ValueError, with the dotted key, for settings that are inconsistent or unphysical."""
    check_training(study)
    _check_cutoffs(study)
    _check_pairs(study)
    _check_names(study)


def check_observables(study: Sections) -> None:
    """Raise ValueError, with the dotted key, for inconsistent settings of the observables."""
    observables = study.observables
    for key, seed in {"seed": observables.seed, "null_seed": observables.null_seed}.items():
        if seed is not None and seed not in study.fcl.seeds:
            raise ValueError(f"observables.{key}: no FCL model is trained with seed {seed} (fcl.seeds)")
    if observables.null_seed == observables.seed:
        raise ValueError("observables.null_seed: has to differ from observables.seed")
    if observables.uniform_cutoff > study.cutoffs.r_max:
        raise ValueError(f"observables.uniform_cutoff: {observables.uniform_cutoff:g} A exceeds cutoffs.r_max")
    if observables.dynamics.unstable_above <= observables.dynamics.temperature:
        raise ValueError("observables.dynamics.unstable_above: does not exceed observables.dynamics.temperature")
    dynamics, nve, rdf = observables.dynamics, observables.nve, observables.rdf
    samples = {"nve": round(1000.0 * nve.duration / dynamics.timestep)} if nve else {}
    if rdf:
        samples["rdf"] = round(1000.0 * rdf.duration / dynamics.timestep) // rdf.interval
        if rdf.reach < rdf.bin_width:
            raise ValueError("observables.rdf.bin_width: exceeds observables.rdf.reach")
    for run, count in samples.items():
        if count < dynamics.blocks:
            raise ValueError(f"observables.dynamics.blocks: {dynamics.blocks}, but {run} gives {count} samples")


def check_cost(study: Sections) -> None:
    """Raise ValueError, with the dotted key, for inconsistent settings of ``unlabelled`` and ``wall_clock``."""
    uniform = study.wall_clock.uniform_cutoffs
    _distinct("unlabelled.lambdas", study.unlabelled.lambdas)
    _distinct("wall_clock.uniform_cutoffs", uniform)
    for lam in study.unlabelled.lambdas:
        if lam not in study.calibration.lambdas:
            raise ValueError(f"unlabelled.lambdas: {lam:g} is not among calibration.lambdas, with which it is compared")
    if max(uniform) > study.cutoffs.r_max and not study.cutoffs.fixed:
        raise ValueError(f"wall_clock.uniform_cutoffs: {max(uniform):g} A exceeds cutoffs.r_max")
    if study.calibration.initial_cutoff not in uniform:
        start = f"calibration.initial_cutoff = {study.calibration.initial_cutoff:g} A"
        raise ValueError(f"wall_clock.uniform_cutoffs: lacks {start}, with which the optimised cutoffs are compared")
