"""What the function of a claim returns, and how it is judged: estimates within bounds, or conditions with votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fcl.evaluation.statistics import FAILS, HOLDS, Estimate, NotEvaluated, vote


@dataclass(frozen=True)
class Conditions:
    """Named conditions, each with one vote per seed."""

    votes: Mapping[str, Sequence[bool]]
    left_out: int = 0

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of each condition."""
        return {name: vote(votes) for name, votes in self.votes.items()}

    @property
    def share(self) -> float:
        """Fraction of all votes that say that a condition holds."""
        votes = [vote for found in self.votes.values() for vote in found]
        return sum(votes) / len(votes)

    @property
    def note(self) -> str:
        """How many conditions hold and do not, the votes for these, and how many could not be decided."""
        found = self.verdicts
        held, failed = (sum(verdict == kind for verdict in found.values()) for kind in (HOLDS, FAILS))
        others = [f"{n} {sum(v)}/{len(v)}" for n, v in self.votes.items() if found[n] != HOLDS]
        note = f"{held} of {len(found)} conditions hold, {failed} do not"
        note += f"; models for the others: {', '.join(others)}" if others else ""
        return note + (f"; {self.left_out} more cannot be decided: elements missing" if self.left_out else "")


#: One quantity, several that all have to lie within the bounds, or conditions.
Measured = Estimate | Mapping[str, Estimate] | Conditions


def conditions(votes: Mapping[str, Sequence[bool]], of: int | None = None) -> Conditions:
    """Conditions of a claim that has ``of`` (default: these); `NotEvaluated` if fewer than half are there."""
    wanted = len(votes) if of is None else of
    if not votes or 2 * len(votes) < wanted:
        raise NotEvaluated(f"{len(votes)} of {wanted} conditions can be decided: the elements are missing")
    return Conditions(votes, wanted - len(votes))
