"""Trivial predictions, which a model has to beat: zero forces, and energies linear in the composition."""

from __future__ import annotations

import numpy as np
import torch

from fcl.data.batch import GraphData
from fcl.data.reference_energies import compositions
from fcl.data.store import StoreArrays
from fcl.evaluation.errors import Errors


def composition_energies(train: StoreArrays, arrays: StoreArrays) -> np.ndarray:
    """[n_structures] eV: energies of ``arrays`` from one energy per element, fitted to the energies of ``train``.

    Least squares of energies per atom (of smallest norm if compositions do not determine it); structures without an
    energy are left out of the fit. An element that ``train`` lacks has energy 0.
    """
    counts, elements = compositions(train.numbers, train.ptr)
    known, atoms = train.energy_mask, counts.sum(1)
    fractions, labels = counts[known] / atoms[known, None], train.energy[known] / atoms[known]
    of_number = np.zeros(max(int(elements.max()), int(arrays.numbers.max())) + 1)
    of_number[elements] = np.linalg.lstsq(fractions, labels, rcond=None)[0]
    return np.add.reduceat(of_number[arrays.numbers], arrays.ptr[:-1].astype(np.int64))


def trivial_errors(train: StoreArrays, test: StoreArrays) -> Errors:
    """Errors on ``test`` of zero forces and of `composition_energies`, at no pairs."""
    atoms = np.diff(test.ptr).astype(np.int64)
    starts, forces = test.ptr[:-1].astype(np.int64), test.forces.astype(np.float64)
    return Errors(
        indices=np.arange(len(atoms)),
        energy=(composition_energies(train, test) - test.energy) / atoms,
        atoms=atoms,
        force_square=np.add.reduceat((forces**2).sum(1), starts),
        force_absolute=np.add.reduceat(np.abs(forces).sum(1), starts),
        pairs=np.zeros(len(atoms)),
        groups=test.groups(),
        **zero_stress(test),
    )


def zero_stress(arrays: StoreArrays | GraphData) -> dict[str, np.ndarray]:
    """``stress_square`` and ``stress_absolute`` of `Errors` for a stress of zero; {} if no structure has a label."""
    stress, known = (torch.as_tensor(values).cpu().numpy() for values in (arrays.stress, arrays.stress_mask))
    if not known.any():
        return {}
    labels = np.where(known[:, None, None], stress.astype(np.float64), np.nan)
    return {"stress_square": (labels**2).sum((1, 2)), "stress_absolute": np.abs(labels).sum((1, 2))}
