"""The loss (Eq. 6): objective of training, validation loss, and error term of calibration.

Its form is defined in `terms` and `weighted` alone: a further term of energies and forces is one more result of the one
and one more argument of the other. Training and its validation may add the stress (`stress_deviations`), which the
paper does not have, and which not every structure has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fcl.config.sections import LossSettings
from fcl.data.batch import Batch

#: Default weights, used for cutoffs for a user's system: those with which the models were trained.
LOSS = LossSettings(energy_weight=0.1, force_weight=1.0)


def terms(energy: torch.Tensor, forces: torch.Tensor, atoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The terms averaged in the loss: |dE_s| / n_s per structure and |dF| per force component (L1), from deviations.

    energy [n_structures] eV, forces [n_atoms, 3] eV/A, atoms [n_structures]. The shape of a result says over what it is
    averaged: structures [n_structures], or force components [n_atoms, 3].
    """
    return energy.abs() / atoms, forces.abs()


def weighted(energy, forces, loss):
    """The loss from the means of its `terms`, in their order; ``loss`` is `LossSettings`."""
    return loss.energy_weight * energy + loss.force_weight * forces


def deviations(output: dict[str, torch.Tensor], batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The arguments of `terms`: deviations of ``output`` from the labels of ``batch``, and numbers of atoms."""
    return output["energy"] - batch.energy, output["forces"] - batch.forces, batch.atoms_per_structure


def per_structure(term: torch.Tensor) -> bool:
    """Whether one of the `terms` is averaged over structures; force components otherwise."""
    return term.dim() == 1


def shares(found: Sequence[torch.Tensor], structures: int, atoms: int) -> list[torch.Tensor]:
    """Shares of the `terms` of a part in their means over all ``structures`` with all their ``atoms``."""
    return [term.sum() / (structures if per_structure(term) else 3 * atoms) for term in found]


def exact_share(output: dict[str, torch.Tensor], batch: Batch, loss, structures: int, atoms: int) -> torch.Tensor:
    """The share of ``batch`` in the loss of ``structures`` with ``atoms`` in float64, without stress."""
    return weighted(*shares([term.double() for term in terms(*deviations(output, batch))], structures, atoms), loss)


def stress_weight(loss) -> float:
    """Weight of the stress (per eV/A^3); 0: the loss has no such term."""
    return loss.stress_weight


def asked(loss) -> dict[str, bool]:
    """What a model has to predict for ``loss`` beside energies and forces, as arguments of `Potential.forward`."""
    return {"stress": True} if stress_weight(loss) else {}


def stress_deviations(stress: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Deviations of ``stress`` from the labels [n_structures, 3, 3] (eV/A^3); 0, also their gradient, without label."""
    if batch.stress is None:
        return torch.zeros_like(batch.cells)
    known = batch.stress_mask[:, None, None]
    return torch.where(known, stress - batch.stress, torch.zeros_like(batch.stress))


def labelled_stresses(batch: Batch) -> torch.Tensor | int:
    """Number of structures of ``batch`` with a stress; a scalar on the device, which nothing waits for."""
    return 0 if batch.stress_mask is None else batch.stress_mask.sum()


def batch_loss(
    output: dict[str, torch.Tensor], batch: Batch, loss, whole: tuple[int, int, torch.Tensor | int] | None = None
) -> torch.Tensor:
    """energy_weight mean_s |dE_s| / n_s + force_weight mean_{i, xyz} |dF| (eV and eV/A; L1, Section 3).

    If ``output`` has a stress, plus stress_weight mean |d stress| over the nine components of the structures with such
    a label (eV/A^3); 0 if there is none. Where ``batch`` is a part of a larger one, of ``whole`` = (structures, atoms,
    structures with a stress): its share of the loss of that, which is the sum of the shares.
    """
    found = terms(*deviations(output, batch))
    if whole is None:
        value, stresses = weighted(*(term.mean() for term in found), loss), labelled_stresses(batch)
    else:
        *size, stresses = whole
        value = weighted(*shares(found, *size), loss)
    if "stress" not in output or batch.stress is None or not stress_weight(loss):
        return value
    total = stress_deviations(output["stress"], batch).abs().sum()
    return value + stress_weight(loss) * total / (9 * torch.as_tensor(stresses).clamp(min=1))


class SplitLoss:
    """The same loss over a whole split: its `terms`, collected batch by batch in float64."""

    def __init__(self):
        self._terms: list[tuple[torch.Tensor, ...]] = []
        self._counts: list[tuple[int, ...]] = []
        self._stress: list[torch.Tensor] = []
        self._with_stress: list[torch.Tensor] = []

    def add(self, output: dict[str, torch.Tensor], batch: Batch) -> None:
        """Add the model's ``output`` for a batch, without synchronising with the device."""
        energy, forces, atoms = deviations(output, batch)
        found = terms(energy.double(), forces.double(), atoms)
        zero = torch.zeros(batch.n_structures, dtype=torch.float64, device=forces.device)
        self._terms.append(
            tuple(one if per_structure(one) else zero.index_add(0, batch.structure, one.sum(1)) for one in found)
        )
        self._counts.append(tuple(one.numel() for one in found))
        if "stress" in output and batch.stress is not None:
            self._stress.append(stress_deviations(output["stress"], batch).double().abs().sum())
            self._with_stress.append(batch.stress_mask.sum())

    def means(self) -> tuple[float, ...]:
        """The means of the terms."""
        values = (torch.cat(parts).cpu().numpy() for parts in zip(*self._terms, strict=True))
        counts = (sum(parts) for parts in zip(*self._counts, strict=True))
        return tuple(float(one.sum() / count) for one, count in zip(values, counts, strict=True))

    def stress_mean(self) -> float:
        """The mean of |d stress| (eV/A^3) over components, 0 where no structure has a stress."""
        count = float(sum(self._with_stress))
        return float(sum(self._stress)) / (9 * count) if count else 0.0


def mean_loss(splits: Sequence[SplitLoss], loss) -> float:
    """The loss averaged over the cutoffs at which a split was evaluated."""
    found = zip(*(split.means() for split in splits), strict=True)
    value = weighted(*(float(np.mean(values)) for values in found), loss)
    if not stress_weight(loss):
        return value
    return value + stress_weight(loss) * float(np.mean([split.stress_mean() for split in splits]))
