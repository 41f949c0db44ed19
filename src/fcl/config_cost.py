"""Settings of what is measured beside the paper: wall-clock and memory, and calibration without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fcl.config_types import Count, Positive, Section

if TYPE_CHECKING:
    from fcl.config import Protocol


class UnlabelledSettings(Section):
    """Calibration against the model's own results at calibration.initial_cutoff, for comparison with labels."""

    lambdas: tuple[Positive, ...] = Field(min_length=1, description="of calibration.lambdas, those that are compared")


class WallClockSettings(Section):
    """Time and memory of energies and forces on structures of the test split."""

    uniform_cutoffs: tuple[Positive, ...] = Field(min_length=2, description="beside the optimised cutoffs")
    atoms: Count = Field(description="atoms of a batch, at least; structures are repeated where there are fewer")
    repeats: Count = Field(description="rounds, of which the fastest counts")


def check_cost(study: Protocol) -> None:
    """Raise ValueError, with the dotted key, for settings that contradict others."""
    uniform = study.wall_clock.uniform_cutoffs
    for key, values in {"unlabelled.lambdas": study.unlabelled.lambdas, "wall_clock.uniform_cutoffs": uniform}.items():
        if len(set(values)) < len(values):
            raise ValueError(f"{key}: a value occurs twice")
    for lam in study.unlabelled.lambdas:
        if lam not in study.calibration.lambdas:
            raise ValueError(f"unlabelled.lambdas: {lam:g} is not among calibration.lambdas, with which it is compared")
    if max(uniform) > study.cutoffs.r_max:
        raise ValueError(f"wall_clock.uniform_cutoffs: {max(uniform):g} A exceeds cutoffs.r_max")
    if study.calibration.initial_cutoff not in uniform:
        start = f"calibration.initial_cutoff = {study.calibration.initial_cutoff:g} A"
        raise ValueError(f"wall_clock.uniform_cutoffs: lacks {start}, with which the optimised cutoffs are compared")
