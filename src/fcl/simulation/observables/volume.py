"""Energy as a function of volume with the atoms on their sites, by any ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def energy_volume_curve(atoms, factors: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Volumes [n] (A^3 per atom) and energies [n] (eV per atom) with the lattice of ``atoms`` scaled by ``factors``."""
    volumes, energies = [], []
    for factor in factors:
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(atoms.cell * factor, scale_atoms=True)
        volumes.append(scaled.get_volume() / len(scaled))
        energies.append(scaled.get_potential_energy() / len(scaled))
    return np.array(volumes), np.array(energies)


def curve_error(energies: np.ndarray, reference: np.ndarray) -> float:
    """RMS difference (eV per atom) of two curves at the same volumes, each relative to its mean.

    The mean is subtracted because energies of models may differ by a constant per atom.
    """
    energies, reference = np.asarray(energies), np.asarray(reference)
    return float(np.std((energies - energies.mean()) - (reference - reference.mean())))
