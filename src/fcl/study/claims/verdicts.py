"""Tolerances and verdicts: when a value of a study reproduces the paper's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from fcl.study.claims.measured import Measured

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
NOT_COMPARABLE, NOT_EVALUATED = "not comparable", "not evaluated"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_EVALUATED)
#: Kinds of claims, and whether they can be assessed on data other than the paper's.
KINDS = {"data": False, "result": False, "headline": False, "shape": True, "model": True, "method": True}
#: ``name`` of the data manifest of the paper's data set.
PAPER_DATA = "mad-1.0"


@dataclass(frozen=True)
class Tolerance:
    """Allowed deviation of a value from the paper's.

    ``relative`` and ``absolute``: at most ``size`` away, as a fraction of the paper's value or in its unit; ``factor``:
    between 1 / ``size`` and ``size`` times it; ``lower`` and ``upper``: the paper's value is a bound; ``all``: the
    value is a fraction of conditions, all of which must hold.
    """

    rule: Literal["relative", "absolute", "factor", "lower", "upper", "all"]
    size: float = 0.0


def parse_tolerance(text: str, unit: str) -> Tolerance:
    """Read a tolerance: ``5%``, ``factor 3``, ``lower bound``, ``upper bound``, ``0.3 A``, ``5 points`` or empty.

    ``points`` are percentage points of a fraction; ``A`` must be the claim's own ``unit``. Raises `ValueError` for
    anything else.
    """
    text = text.strip()
    words = {"": "all", "lower bound": "lower", "upper bound": "upper"}
    if text in words:
        return Tolerance(words[text])
    number = r"(\d+(?:\.\d+)?)"
    for pattern, rule, scale, needed in (
        (rf"{number}%", "relative", 0.01, None),
        (rf"factor {number}", "factor", 1.0, None),
        (rf"{number} A", "absolute", 1.0, "A"),
        (rf"{number} points", "absolute", 0.01, "1"),
    ):
        match = re.fullmatch(pattern, text)
        if match and needed in (None, unit):
            return Tolerance(rule, scale * float(match[1]))
    raise ValueError(f"tolerance {text!r} of a value in unit {unit!r} is not understood")


def agrees(measured: Measured, paper: float | None, tolerance: Tolerance) -> tuple[bool, str]:
    """Whether a value agrees with the paper's under a tolerance, and why.

    A bound must be exceeded by more than the standard error over seeds, if available: a difference within the seed
    scatter does not count as reproduced. The other tolerances apply to the mean over seeds.
    """
    value, error = measured.value, measured.standard_error or 0.0
    if tolerance.rule == "all":
        return math.isclose(value, 1.0), ""
    if paper is None:
        raise ValueError(f"tolerance {tolerance.rule!r} needs a value of the paper")
    if tolerance.rule in ("lower", "upper"):
        margin = value - paper if tolerance.rule == "lower" else paper - value
        if 0.0 < margin <= error:
            return False, f"on the right side of the bound, but within one standard error ({error:.2g}) of it"
        return margin > 0.0, ""
    if tolerance.rule == "factor":
        return paper / tolerance.size <= value <= paper * tolerance.size, ""
    allowed = tolerance.size * (abs(paper) if tolerance.rule == "relative" else 1.0)
    return abs(value - paper) <= allowed * (1.0 + 1e-9), ""


def data_difference(dataset: str, whole: bool) -> str:
    """Why the data of a study are not the paper's; empty if they are.

    ``dataset`` is the name in the data manifest; ``whole``: no structure was left out.
    """
    if dataset != PAPER_DATA:
        return "other data than MAD 1.0"
    return "" if whole else "a part of MAD 1.0"


def verdict(kind: str, measured: Measured, paper: float | None, tolerance: Tolerance, other: str) -> tuple[str, str]:
    """Verdict on an evaluated claim and its reason; ``other`` is the result of `data_difference`."""
    if other and not KINDS[kind]:
        return NOT_COMPARABLE, other
    good, reason = agrees(measured, paper, tolerance)
    return (REPRODUCED if good else NOT_REPRODUCED), "; ".join(part for part in (reason, measured.note) if part)
