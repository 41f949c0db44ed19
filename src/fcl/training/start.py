"""A given model as the start of a training, and the settings that it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcl.cutoffs.choice import DEFAULT_CUTOFF
from fcl.cutoffs.file import read_cutoffs
from fcl.models.files import card_settings, verified_card

#: Lower end of the cutoffs of a fine-tuning (A), as in the paper, or 0.6 of the largest; its learning rate.
LOWEST_CUTOFF, FINE_TUNING_RATE = 3.5, 1e-3
#: Epochs of a specialisation: a tenth of the paper's for FCL.
SPECIAL_EPOCHS = 50


@dataclass(frozen=True)
class Start:
    """A given model: its file and card; ``cutoffs``: the cutoffs file for which a flexible one is specialised."""

    file: Path
    card: dict[str, Any]
    cutoffs: Path | None = None

    @property
    def cutoff(self) -> float:
        return self.card["r_max_angstrom"]

    def settings(self, overrides: Mapping[str, Any], warm: bool) -> dict[str, Any]:
        """Settings of the training that the model decides, where ``overrides`` do not.

        Its architecture; for fine-tuning also: a warm start, cutoffs up to its own, and a lower learning rate.
        """
        base: dict[str, Any] = {"model": card_settings(self.card).model_dump(mode="json")}
        if self.cutoffs is not None:
            return base | self._special()
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

    def _special(self) -> dict[str, Any]:
        """Settings of a specialised model: the range of its cutoffs and of a teacher, a lower rate, fewer epochs."""
        values = read_cutoffs(self.cutoffs).cutoffs.values()
        r_max = max(values)
        teacher = teacher_cutoff(self.card["kind"], self.cutoff)
        reach = {} if teacher <= r_max else {"reach": teacher}
        return {
            "cutoffs": {"r_min": min(values), "r_max": r_max, **reach},
            "fcl": {"validation_cutoffs": [r_max], "learning_rate": FINE_TUNING_RATE, "epochs": SPECIAL_EPOCHS},
            "pretrain": {"cutoff": r_max},
            "static": {"cutoffs": [r_max]},
        }


def teacher_cutoff(kind: str, limit: float) -> float:
    """Uniform cutoff (A) at which a model labels structures: of a static one its own, of a flexible one 6 A at most."""
    return limit if kind == "static" else min(DEFAULT_CUTOFF, limit)


def start_of(pretrained: str | Path, cutoffs: str | Path | None = None) -> Start:
    """The model file ``pretrained``, verified.

    `ValueError` for a flexible one without a cutoffs file for which it is specialised, and a static one with it.
    """
    file, card = verified_card(pretrained)
    if card["kind"] == "static" and cutoffs is not None:
        raise ValueError(f"{file}: is a static model; cutoffs are chosen for a flexible one")
    if card["kind"] != "static" and cutoffs is None:
        raise ValueError(f"{file}: is a flexible model; FCL starts from a static one, or give cutoffs to specialise it")
    return Start(file, card, None if cutoffs is None else Path(cutoffs))
