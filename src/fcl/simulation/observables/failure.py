"""Why a quantity has no value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a quantity has no value; ``kind`` is one of the words below, ``reason`` a phrase."""

    kind: str
    reason: str

    def record(self) -> dict[str, str]:
        """The failure as written to JSON."""
        return {"failure": self.kind, "reason": self.reason}


UNSTABLE, NO_MINIMUM, NOT_APPLICABLE = "unstable", "no minimum", "not applicable"
NOT_CONVERGED = "not converged"
