"""Why a quantity has no value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a quantity has no value; ``verdict`` is the entry in the table, ``reason`` a sentence."""

    verdict: str
    reason: str

    def record(self) -> dict[str, str]:
        """The failure as written to JSON."""
        return {"failure": self.verdict, "reason": self.reason}


UNSTABLE, NO_MINIMUM, NOT_APPLICABLE = "unstable", "no minimum", "not applicable"
