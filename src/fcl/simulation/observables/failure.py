"""Why a quantity has no value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a quantity has no value; ``verdict`` is a word of the table, ``reason`` a sentence."""

    verdict: str
    reason: str

    def record(self) -> dict[str, str]:
        """As it is written to JSON."""
        return {"failure": self.verdict, "reason": self.reason}


UNSTABLE, NO_MINIMUM, NOT_APPLICABLE = "unstable", "no minimum", "not applicable"
