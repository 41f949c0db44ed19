"""A given static model as the start of a training, and the settings that it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcl.models.files import card_settings, verified_card

#: Lower end of the cutoffs of a fine-tuning (A), as in the paper, or 0.6 of the largest; its learning rate.
LOWEST_CUTOFF, FINE_TUNING_RATE = 3.5, 1e-3


@dataclass(frozen=True)
class Start:
    """A given static model: its file and card."""

    file: Path
    card: dict[str, Any]

    @property
    def cutoff(self) -> float:
        return self.card["r_max_angstrom"]

    def settings(self, overrides: Mapping[str, Any], warm: bool) -> dict[str, Any]:
        """Settings of the training that the model decides, where ``overrides`` do not.

        Its architecture; for fine-tuning also: a warm start, cutoffs up to its own, and a lower learning rate.
        """
        base: dict[str, Any] = {"model": card_settings(self.card).model_dump(mode="json")}
        if not warm:
            return base
        given = overrides.get("cutoffs") or {}
        r_max = float(given.get("r_max", self.cutoff))
        r_min = float(given.get("r_min", min(LOWEST_CUTOFF, 0.6 * r_max)))
        grid = [cutoff for cutoff in (4.0, 5.0, 6.0) if r_min <= cutoff <= r_max]
        rate = {"learning_rate": FINE_TUNING_RATE}
        reach = {} if self.cutoff <= r_max else {"reach": self.cutoff}  # of the store, for a teacher
        return base | {
            "cutoffs": {"r_min": r_min, "r_max": r_max, **reach},
            "fcl": {"start": "warm", "validation_cutoffs": grid or [r_max], **rate},
            "pretrain": {"cutoff": min(self.cutoff, r_max)},
            "static": {"cutoffs": [self.cutoff], **rate},
        }


def static_start(pretrained: str | Path) -> Start:
    """The model file ``pretrained``, verified; `ValueError` if it is flexible."""
    file, card = verified_card(pretrained)
    if card["kind"] != "static":
        raise ValueError(f"{file}: is a flexible model; FCL starts from a static one")
    return Start(file, card)
