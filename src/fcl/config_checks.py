"""Checks across the settings that the physics and the workflow demand; each failure names its dotted key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcl.config import Protocol

# Z = 1 ... 118; here so that a check of the settings need not import ASE.
SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
    "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()

#: Each step is an evaluation of a whole split.
LARGEST_GRID = 1000


def lambda_label(lam: float) -> str:
    """How a trade-off parameter is written in a file name: ``1e-04``."""
    return f"{lam:.0e}"


def cutoff_label(cutoff: float) -> str:
    """How a cutoff (angstrom) is written in a file name: ``4.0``."""
    return f"{cutoff:.1f}"


def check_grid(start: float, stop: float, step: float) -> None:
    """The grid goes upwards, ends at ``stop`` and has at most `LARGEST_GRID` steps."""
    if stop < start:
        raise ValueError(f"stop = {stop:g} is below start = {start:g}")
    steps = (stop - start) / step
    if steps > LARGEST_GRID:  # infinite for a step of 1e-308
        raise ValueError(f"step = {step:g} makes {steps:g} steps, more than {LARGEST_GRID}")
    if abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"step = {step:g} does not divide stop - start = {stop - start:g}")


def _distinct(key: str, values: Sequence[Any]) -> None:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{key}: {repeated[0]!r} occurs twice")


def _within(key: str, values: Sequence[float], low: float, high: float, why: str) -> None:
    for value in values:
        if not low <= value <= high:
            raise ValueError(f"{key}: {value:g} A lies outside [{low:g}, {high:g}] A, {why}")


def _check_cutoffs(study: Protocol) -> None:
    r_min, r_max = study.cutoffs.r_min, study.cutoffs.r_max
    if not r_min < r_max:
        raise ValueError(f"cutoffs.r_min: {r_min:g} A is not below cutoffs.r_max = {r_max:g} A")
    sampled = "the interval that training samples (cutoffs.r_min, cutoffs.r_max)"
    stored = "as the graph store holds pairs up to cutoffs.r_max only"
    _within("fcl.validation_cutoffs", study.fcl.validation_cutoffs, r_min, r_max, sampled)
    grid = study.evaluation.uniform_cutoffs
    for key, values in {
        "pretrain.cutoff": [study.pretrain.cutoff],
        "static.cutoffs": study.static.cutoffs,
        "evaluation.uniform_cutoffs": [grid.start, grid.stop],
        "diatomics.cutoffs": study.diatomics.cutoffs,
        "calibration.lower_bound": [study.calibration.lower_bound],
        "calibration.upper_bound": [study.calibration.upper_bound],
    }.items():
        _within(key, values, 0.0, r_max, stored)
    low, high = study.calibration.lower_bound, study.calibration.upper_bound
    if not low < high:
        raise ValueError(f"calibration.lower_bound: {low:g} A is not below calibration.upper_bound = {high:g} A")
    bounds = "the bounds of the calibration"
    _within("calibration.initial_cutoff", [study.calibration.initial_cutoff], low, high, bounds)


def _check_pairs(study: Protocol) -> None:
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


def _check_schedules(study: Protocol) -> None:
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


def _check_names(study: Protocol) -> None:
    for key, values in {
        "fcl.seeds": study.fcl.seeds,
        "fcl.validation_cutoffs": study.fcl.validation_cutoffs,
        "static.seeds": study.static.seeds,
        "static.cutoffs": study.static.cutoffs,
        "diatomics.pairs": study.diatomics.pairs,
        "diatomics.cutoffs": study.diatomics.cutoffs,
        "calibration.subsets": study.calibration.subsets,
        "calibration.lambdas": study.calibration.lambdas,
        "calibration.seeds": study.calibration.seeds,
        "validation.subsets": study.validation.subsets,
        "validation.nve.timesteps": study.validation.nve.timesteps if study.validation.nve else (),
    }.items():
        _distinct(key, values)
    for cutoff in study.static.cutoffs:
        if float(cutoff_label(cutoff)) != cutoff:
            raise ValueError(f"static.cutoffs: {cutoff!r} has more than the one decimal that file names hold")
    for key, lam in [
        *(("calibration.lambdas", lam) for lam in study.calibration.lambdas),
        ("validation.at_lambda", study.validation.at_lambda),
    ]:
        if float(lambda_label(lam)) != lam:
            raise ValueError(f"{key}: {lam!r} has more than the one digit that file names hold")
    for key, subset in [
        *(("calibration.subsets", subset) for subset in study.calibration.subsets),
        *(("validation.subsets", subset) for subset in study.validation.subsets),
    ]:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", subset):
            raise ValueError(f"{key}: {subset!r} holds other characters than letters, digits, - and _")
    missing = [seed for seed in study.calibration.seeds if seed not in study.fcl.seeds]
    if missing:
        raise ValueError(f"calibration.seeds: no FCL model is trained with seed {missing[0]} (fcl.seeds)")


def _check_irreps(study: Protocol) -> None:
    """mace-torch builds other combinations, or fails while building them, and stops in the middle of a job."""
    hidden = [part.strip().split("x") for part in study.model.hidden_irreps.split("+")]
    _distinct("model.hidden_irreps", [irrep for _, irrep in hidden])
    if "0e" not in [irrep for _, irrep in hidden]:
        raise ValueError("model.hidden_irreps: holds no scalars (0e), from which energies are read")
    if len({int(multiplicity) for multiplicity, _ in hidden}) > 1:
        raise ValueError(f"model.hidden_irreps: {study.model.hidden_irreps}: all irreps need the same multiplicity")
    for part in study.model.mlp_irreps.split("+"):
        if not part.strip().endswith("x0e"):
            raise ValueError(f"model.mlp_irreps: {part.strip()}: the readout has a hidden layer of scalars (0e) only")


def check_physics(study: Protocol) -> None:
    """Raise ValueError, with the dotted key, for settings that contradict each other or physics."""
    _check_cutoffs(study)
    _check_pairs(study)
    _check_schedules(study)
    _check_names(study)
    _check_irreps(study)
