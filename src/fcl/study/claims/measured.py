"""Return type of claim functions: a value, its standard error over seeds, and a note."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fcl.evaluation.statistics import NotEvaluated


@dataclass(frozen=True)
class Measured:
    """``value`` in the unit of the claim, ``standard_error`` over several seeds, and a ``note``."""

    value: float
    standard_error: float | None = None
    note: str = ""


def over_seeds(values: Mapping[int, float], note: str = "") -> Measured:
    """Mean over seeds and its standard error (sample standard deviation / sqrt(n)); None for a single seed."""
    numbers = np.array([values[seed] for seed in sorted(values)], dtype=float)
    error = float(numbers.std(ddof=1) / math.sqrt(len(numbers))) if len(numbers) > 1 else None
    return Measured(float(numbers.mean()), error, note or f"{len(numbers)} {'seed' if len(numbers) == 1 else 'seeds'}")


def ratio(first: Mapping[int, float], second: Mapping[int, float], *, paired: bool) -> Measured:
    """first / second over seeds.

    ``paired``: a seed is the same model in both, and the mean of the ratios is taken. Otherwise the ratio of the means,
    with relative standard errors added in quadrature.
    """
    if paired:
        if set(first) != set(second):
            raise NotEvaluated(f"different seeds: {sorted(first)} and {sorted(second)}")
        return over_seeds({seed: first[seed] / second[seed] for seed in first})
    above, below = over_seeds(first), over_seeds(second)
    value = above.value / below.value
    errors = (above.standard_error, below.standard_error)
    error = None
    if None not in errors:
        error = abs(value) * math.hypot(errors[0] / above.value, errors[1] / below.value)
    return Measured(value, error, f"{above.note} / {below.note}")


def share(conditions: Mapping[str, bool], of: int | None = None) -> Measured:
    """Fraction of named ``conditions`` that hold; the note lists those that do not.

    ``of`` is the number of conditions of the claim; if fewer than half can be decided, `NotEvaluated` is raised.
    """
    wanted = len(conditions) if of is None else of
    if not conditions or 2 * len(conditions) < wanted:
        raise NotEvaluated(f"{len(conditions)} of {wanted} conditions can be decided: the elements are missing")
    failed = [name for name, holds in conditions.items() if not holds]
    note = f"{len(conditions) - len(failed)} of {len(conditions)} conditions hold"
    if len(conditions) < wanted:
        note += f" ({wanted - len(conditions)} more cannot be decided: elements missing)"
    return Measured(1.0 - len(failed) / len(conditions), None, note + (f"; not: {', '.join(failed)}" if failed else ""))
