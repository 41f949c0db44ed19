"""The loss (Eq. 6): objective of training, validation loss, and error term of calibration.

Its form is defined in `terms` and `weighted` alone; every loss is composed of these two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fcl.config.sections import LossSettings
from fcl.data.batch import Batch

#: Default weights, used for cutoffs for a user's system: those with which the models were trained.
LOSS = LossSettings(energy_weight=0.1, force_weight=1.0)


def terms(energy: torch.Tensor, forces: torch.Tensor, atoms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The terms averaged in the loss: |dE_s| / n_s per structure and |dF| per force component (L1), from deviations.

    energy [n_structures] eV, forces [n_atoms, 3] eV/A, atoms [n_structures]; results of the same shapes.
    """
    return energy.abs() / atoms, forces.abs()


def weighted(energy, forces, loss):
    """The loss from the means of its two `terms`; ``loss`` is `LossSettings`."""
    return loss.energy_weight * energy + loss.force_weight * forces


def batch_loss(
    output: dict[str, torch.Tensor], batch: Batch, loss, whole: tuple[int, int] | None = None
) -> torch.Tensor:
    """energy_weight mean_s |dE_s| / n_s + force_weight mean_{i, xyz} |dF| (eV and eV/A; L1, Section 3).

    Where ``batch`` is a part of a larger one, of ``whole`` = (structures, atoms): its share of the loss of that, which
    is the sum of the shares.
    """
    energy, forces = terms(output["energy"] - batch.energy, output["forces"] - batch.forces, batch.atoms_per_structure)
    if whole is None:
        return weighted(energy.mean(), forces.mean(), loss)
    structures, atoms = whole
    return weighted(energy.sum() / structures, forces.sum() / (3 * atoms), loss)


class SplitLoss:
    """The same loss over a whole split: its `terms`, collected batch by batch in float64."""

    def __init__(self):
        self._energy: list[torch.Tensor] = []
        self._forces: list[torch.Tensor] = []
        self._components = 0

    def add(self, output: dict[str, torch.Tensor], batch: Batch) -> None:
        """Add the model's ``output`` for a batch, without synchronising with the device."""
        energy, forces = (output[name] - getattr(batch, name) for name in ("energy", "forces"))
        energy, forces = terms(energy.double(), forces.double(), batch.atoms_per_structure)
        zero = torch.zeros(batch.n_structures, dtype=torch.float64, device=forces.device)
        self._energy.append(energy)
        self._forces.append(zero.index_add(0, batch.structure, forces.sum(1)))
        self._components += batch.forces.numel()

    def means(self) -> tuple[float, float]:
        """The means of the two terms."""
        energy, forces = (torch.cat(values).cpu().numpy() for values in (self._energy, self._forces))
        return float(np.mean(energy)), float(forces.sum() / self._components)


def mean_loss(splits: Sequence[SplitLoss], loss) -> float:
    """The loss averaged over the cutoffs at which a split was evaluated."""
    energy, forces = zip(*(split.means() for split in splits), strict=True)
    return weighted(float(np.mean(energy)), float(np.mean(forces)), loss)
