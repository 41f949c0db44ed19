"""Tolerances and verdicts: whether a value of a study agrees with the paper's, and the words for it.

`fcl.evaluation.statistics` judges; here the paper's value and a tolerance become bounds, and what a study's data are to
the paper's decides which claims are judged, and how the verdict is called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, Estimate, Judgement, NotEvaluated, all_of, exact, vote

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
NOT_COMPARABLE, NOT_EVALUATED, BESIDE = "not comparable", "not evaluated", "beside the paper's"
#: Kinds of claims, and whether they can be judged on data other than the paper's.
KINDS = {"data": False, "result": False, "headline": True, "shape": True, "model": True, "method": True}
#: Kinds that depend on no data: reported apart from results.
OF_THE_MODEL = ("model", "method")
#: ``name`` of the data manifest of the paper's data set.
PAPER_DATA = "mad-1.0"
#: What a list of claims beside a data manifest (``claims.csv``) may say of a claim: judged as ..., or not.
WAYS = ("data", "shape", "model", "beside", "no")


@dataclass(frozen=True)
class Tolerance:
    """Allowed deviation of a value from the paper's.

    ``relative`` and ``absolute``: at most ``size`` away, as a fraction of the paper's value or in its unit; ``factor``:
    between 1 / ``size`` and ``size`` times it; ``lower`` and ``upper``: the paper's value is a bound; ``all``: there is
    no value, but conditions, all of which must hold.
    """

    rule: str
    size: float = 0.0

    def bounds(self, paper: float) -> tuple[float, float]:
        """Smallest and largest value that agrees with the paper's."""
        if self.rule == "lower":
            return paper, math.inf
        if self.rule == "upper":
            return -math.inf, paper
        if self.rule == "factor":
            return paper / self.size, paper * self.size
        allowed = self.size * (abs(paper) if self.rule == "relative" else 1.0) * (1.0 + 1e-9)
        return paper - allowed, paper + allowed


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


@dataclass(frozen=True)
class StudyData:
    """What the data of a study are to the paper's.

    ``name`` and ``title`` are those of the data manifest; ``whole``: no structure was left out; ``sample``: if the data
    are a sample of the paper's, how each claim can be judged on it (`WAYS`) and why.
    """

    name: str
    title: str
    whole: bool
    sample: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def of_paper(self) -> bool:
        """Whether the data are the paper's, or a sample of these."""
        return bool(self.sample) or not self.difference

    @property
    def difference(self) -> str:
        """Why the data are not the paper's; empty if they are."""
        if self.sample:
            return "a sample of MAD 1.0"
        if self.name != PAPER_DATA:
            return "other data than MAD 1.0"
        return "" if self.whole else "a part of MAD 1.0"

    def unjudged(self, claim: str, kind: str) -> tuple[str, str] | None:
        """The word for a claim that is not judged on these data, and the reason; None if it is judged."""
        if self.sample:
            way, reason = self.sample[claim]
            words = {"beside": BESIDE, "no": NOT_COMPARABLE}
            return (words[way], reason) if way in words else None
        return None if not self.difference or KINDS[kind] else (NOT_COMPARABLE, self.difference)

    def word(self, verdict: str, kind: str) -> str:
        """The verdict as it is called: ``reproduced`` only on the paper's data, or where no data are concerned."""
        if verdict == UNDECIDED:
            return UNDECIDED
        if not self.difference or kind in OF_THE_MODEL:
            return {HOLDS: REPRODUCED, FAILS: NOT_REPRODUCED}[verdict]
        return f"{verdict} on {'a sample of MAD' if self.sample else self.title.split(' (')[0]}"


@dataclass(frozen=True)
class Parts:
    """A measured value that was asked whether it agrees with the paper's, in ``judged`` parts by name."""

    judged: Mapping[str, Judgement]

    @property
    def _shown(self) -> Judgement:
        """The part that is shown: that with the fewest votes."""
        return min(self.judged.values(), key=lambda one: (one.share, -one.p_value))

    @property
    def sampled(self) -> bool:
        """Whether the structures that the value depends on were resampled."""
        return any(one.groups for one in self.judged.values())

    def cells(self) -> dict[str, float]:
        """Value, interval and share of the votes."""
        one = self._shown
        return {"value": one.value, "low": one.low, "high": one.high, "votes": one.share}

    def verdict(self, found: Sequence[str]) -> str:
        """The verdict, given those on the parts in a table of comparisons."""
        return all_of(found)

    def note(self, found: Sequence[str]) -> str:
        """What the verdict rests on, and why the value or a part of it is undecided."""
        notes = [
            f"{name} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]: {verdict}" if name else ""
            for (name, one), verdict in zip(self.judged.items(), found, strict=True)
        ]
        if self._shown.models:
            notes.append(basis(self._shown))
        if self.verdict(found) == UNDECIDED:
            notes.append(self._shown.reason or "not after the correction for several comparisons")
        return "; ".join(filter(None, notes))


@dataclass(frozen=True)
class Conditions:
    """Named conditions, each with one vote per seed, instead of a value; ``left_out``: how many cannot be decided."""

    votes: Mapping[str, Sequence[bool]]
    left_out: int = 0
    judged: Mapping[str, Judgement] = field(default_factory=dict, init=False)
    sampled: bool = field(default=False, init=False)

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of each condition."""
        return {name: vote(votes) for name, votes in self.votes.items()}

    @property
    def share(self) -> float:
        """Fraction of all votes that say that a condition holds."""
        votes = [vote for found in self.votes.values() for vote in found]
        return sum(votes) / len(votes)

    def cells(self) -> dict[str, float]:
        """As `Parts.cells`: only the share of the votes."""
        return {"votes": self.share}

    def verdict(self, found: Sequence[str]) -> str:
        """The verdict: all conditions have to hold."""
        return all_of(self.verdicts.values())

    def note(self, found: Sequence[str]) -> str:
        """How many conditions hold and do not, the votes for these, and how many could not be decided."""
        kinds = self.verdicts
        held, failed = (sum(verdict == kind for verdict in kinds.values()) for kind in (HOLDS, FAILS))
        others = [f"{n} {sum(v)}/{len(v)}" for n, v in self.votes.items() if kinds[n] != HOLDS]
        note = f"{held} of {len(kinds)} conditions hold, {failed} do not"
        note += f"; models for the others: {', '.join(others)}" if others else ""
        return note + (f"; {self.left_out} more cannot be decided: elements missing" if self.left_out else "")


#: What the function of a claim returns: one quantity, several that all have to lie within the bounds, or conditions.
Measured = Estimate | Mapping[str, Estimate] | Conditions


def conditions(votes: Mapping[str, Sequence[bool]], of: int | None = None) -> Conditions:
    """Conditions of a claim that has ``of`` (default: these); `NotEvaluated` if fewer than half are there."""
    wanted = len(votes) if of is None else of
    if not votes or 2 * len(votes) < wanted:
        raise NotEvaluated(f"{len(votes)} of {wanted} conditions can be decided: the elements are missing")
    return Conditions(votes, wanted - len(votes))


def ask(measured: Measured, tolerance: Tolerance, paper: float | None, *, as_exact: bool = False) -> Parts | Conditions:
    """Ask whether ``measured`` agrees with the paper's value; ``as_exact``: without a sampling error.

    Raises `ValueError` for a value with the tolerance of conditions, or the reverse.
    """
    if isinstance(measured, Conditions):
        return measured
    if paper is None:
        raise ValueError(f"tolerance {tolerance.rule!r} needs a value of the paper")
    least, most = tolerance.bounds(paper)
    parts = {"": measured} if isinstance(measured, Estimate) else measured
    judged = ((name, exact(part.value) if as_exact else part) for name, part in parts.items())
    return Parts({name: part.judged(most, least) for name, part in judged})


def basis(one: Judgement) -> str:
    """What votes: ``9 models from 3 pre-trained, 20 groups of structures``."""
    text = f"{one.models} models" if one.models > 1 else "1 model"
    text += f" from {one.nests} pre-trained" if one.nests < one.models else ""
    return text + (f", {one.groups} groups of structures" if one.groups else "")
