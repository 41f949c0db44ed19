"""Relaxation, equation of state and phonons at Gamma."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.dynamics import relax
from fcl.simulation.observables.failure import NO_MINIMUM, NOT_APPLICABLE, UNSTABLE, Failure

#: Frequencies below this (1/cm) count as imaginary modes; the numerical noise of the acoustic modes is smaller.
IMAGINARY_BELOW = -5.0
ACOUSTIC_MODES = 3


def at_minimum(atoms, settings) -> dict[str, Any]:
    """Relax ``atoms`` (in place) and compute the quantities of ``settings`` (`ObservableSettings`) at the minimum."""
    choice = settings.relaxation
    crystal = bool(atoms.pbc.all())
    result = relax(atoms, fmax=choice.fmax, steps=choice.steps, cell=choice.cell and crystal)
    minimum = {
        "energy_ev_per_atom": result.energy_after / len(atoms),
        "steps": result.steps,
        "converged": result.converged,
        "max_force_ev_per_angstrom": result.max_force,
        "pairs_per_atom": atoms.calc.pairs_per_atom,
    }
    facts = {"relaxation": minimum}
    not_periodic = Failure(NOT_APPLICABLE, "the structure is not periodic in three directions").record()
    if settings.equation_of_state:
        facts["equation_of_state"] = (
            equation_of_state(atoms, settings.equation_of_state, choice) if crystal else not_periodic
        )
    if settings.phonons:
        distance = settings.phonons.displacement
        facts["phonons"] = phonons_at_gamma(atoms, distance) if crystal else not_periodic
    return facts


def rmsd(first, second) -> float:
    """RMSD (A) of the atoms of two structures, with a common translation removed.

    Positions must be continuous, not wrapped into the cell. For molecules a common rotation is removed too.
    """
    from ase.build.rotate import rotation_matrix_from_points

    a, b = (atoms.positions - atoms.positions.mean(axis=0) for atoms in (first, second))
    if not first.pbc.any() and len(first) > 1:
        a = a @ rotation_matrix_from_points(a.T, b.T).T
    return float(np.sqrt(((a - b) ** 2).sum(axis=1).mean()))


def equation_of_state(atoms, settings, relaxation) -> dict[str, Any]:
    """Volume per atom (A^3) and bulk modulus (GPa) at zero pressure by a Birch-Murnaghan fit at fixed cell shape.

    First the volume is relaxed with the atoms, then ``settings.points`` volumes around it are scanned with the atoms
    relaxed at each (internal relaxation matters: molecules are stiff, the space between them is not). A `Failure` is
    recorded if there is no minimum or the model becomes unstable.
    """
    from ase import units
    from ase.eos import EquationOfState

    limits = {"fmax": relaxation.fmax, "steps": relaxation.steps}
    centre = _copy(atoms)
    volumes, energies = [], []
    try:
        found = relax(centre, cell=True, hydrostatic=True, **limits)
        if not found.converged:
            return Failure(NO_MINIMUM, f"the volume did not relax in {relaxation.steps} steps").record()
        for strain in np.linspace(-settings.strain, settings.strain, settings.points):
            scaled = _copy(centre)
            scaled.set_cell(centre.cell * (1.0 + strain), scale_atoms=True)
            energies.append(relax(scaled, **limits).energy_after)
            volumes.append(scaled.get_volume())
        volume, energy, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
    except (ValueError, FloatingPointError) as error:  # overlapping atoms, non-finite positions
        return Failure(UNSTABLE, str(error)).record()
    except RuntimeError as error:  # from scipy's fit
        return Failure(NO_MINIMUM, str(error)).record()
    points = {
        "volumes_angstrom3_per_atom": np.array(volumes) / len(atoms),
        "energies_ev_per_atom": np.array(energies) / len(atoms),
    }
    if not (min(volumes) < volume < max(volumes) and modulus > 0.0):
        return {**Failure(NO_MINIMUM, "the fit has no minimum between the volumes").record(), **points}
    return {
        "volume_angstrom3_per_atom": volume / len(atoms),
        "energy_ev_per_atom": energy / len(atoms),
        "bulk_modulus_gpa": modulus / units.GPa,
        **points,
    }


def phonons_at_gamma(atoms, displacement: float) -> dict[str, Any]:
    """Frequencies (1/cm, ascending, imaginary ones negative) at Gamma by finite displacements (A) with phonopy.

    The cell itself is the supercell, which is exact at Gamma. The three acoustic modes (those nearest to zero) are
    excluded.
    """
    from phonopy import Phonopy
    from phonopy.physical_units import get_physical_units
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions)
    phonon = Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix=np.eye(3))
    phonon.generate_displacements(distance=displacement, is_plusminus=True)
    moved, forces = _copy(atoms), []
    for structure in phonon.supercells_with_displacements:
        moved.positions = structure.positions
        forces.append(moved.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    phonon.run_qpoints([[0.0, 0.0, 0.0]])
    frequencies = phonon.qpoints.frequencies[0] * get_physical_units().THzToCm
    optical = np.sort(frequencies[np.argsort(np.abs(frequencies))[ACOUSTIC_MODES:]])
    return {
        "frequencies_per_cm": optical,
        "imaginary_modes": int((optical < IMAGINARY_BELOW).sum()),
        "displacements": len(forces),
    }


def _copy(atoms):
    """Copy of the atoms with the same calculator."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy
