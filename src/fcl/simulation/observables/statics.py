"""Relaxation, equation of state and phonons at Gamma."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fcl.simulation.dynamics import relax
from fcl.simulation.observables.failure import NO_MINIMUM, NOT_APPLICABLE, NOT_CONVERGED, UNSTABLE, Failure
from fcl.simulation.observables.reference import reference_fault

#: Frequencies below this (1/cm) count as imaginary modes; the numerical noise of the acoustic modes is smaller.
IMAGINARY_BELOW = -5.0
ACOUSTIC_MODES = 3
#: Relaxations of a structure, since the first may end at a saddle point, and the displacement (A) that leaves it.
RELAXATIONS, LEAVE_SADDLE = 4, 0.1
#: Scans of the volume before there is no minimum; each moves by at most its range.
SCANS = 3
#: Change of the volume, as a fraction, beyond which a relaxation ends at a gas or a collapsed structure.
FAR = 0.5
#: Of the energies about their fit, as a fraction of their range: beyond it, points belong to several minima.
LARGEST_SCATTER = 0.1


def at_minimum(atoms, settings, start=None) -> dict[str, Any]:
    """Relax ``atoms`` (in place) at fixed cell and compute the quantities of ``settings`` (`ObservableSettings`).

    From a saddle point the relaxation goes on along the softest mode. With ``start``, the structure of the data, ends
    after the relaxation if ``atoms`` cannot be a reference.
    """
    origin, crystal = atoms.positions.copy(), atoms.pbc.all()
    for left in reversed(range(RELAXATIONS)):
        facts = {"relaxation": _relaxed(atoms, settings.relaxation)}
        failed = {key: facts["relaxation"][key] for key in ("failure", "reason") if key in facts["relaxation"]}
        if start is not None and reference_fault(start, atoms, facts):
            return facts
        if failed or not (crystal and settings.phonons):
            break
        facts["phonons"], softest = phonons_at_gamma(atoms, settings.phonons.displacement)
        if not (left and facts["phonons"]["imaginary_modes"]):
            break
        atoms.positions += np.copysign(LEAVE_SADDLE, ((origin - atoms.positions) * softest).sum()) * softest
    if not crystal:
        failed = Failure(NOT_APPLICABLE, "the structure is not periodic in three directions").record()
    if failed and settings.phonons:
        facts["phonons"] = failed
    if choice := settings.equation_of_state:
        facts["equation_of_state"] = failed or equation_of_state(atoms, choice, settings.relaxation)
    return facts


def _relaxed(atoms, settings) -> dict[str, Any]:
    atoms.get_forces()  # invalid input raises here
    try:
        result = relax(atoms, fmax=settings.fmax, steps=settings.steps, method="BFGS")
    except (ValueError, FloatingPointError) as error:  # overlapping atoms, non-finite positions
        return Failure(UNSTABLE, str(error)).record()
    facts = {"steps": result.steps, "max_force_ev_per_angstrom": result.max_force}
    if not result.converged:
        facts |= Failure(NOT_CONVERGED, f"{result.max_force:.2g} eV/Å after {result.steps} steps").record()
    return {**facts, "pairs_per_atom": atoms.calc.pairs_per_atom}


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
    relaxed at each (internal relaxation matters: molecules are stiff, the space between them is not). If the minimum is
    beyond the volumes, the scan is repeated from its lowest point. A `Failure` is recorded if there is no minimum near
    the start, the energies scatter about the fit, or the model becomes unstable.
    """
    from ase import units
    from ase.eos import EquationOfState, birchmurnaghan

    limits = {"fmax": relaxation.fmax, "steps": relaxation.steps, "method": "BFGS"}
    centre = _copy(atoms)

    def change() -> float:
        return centre.get_volume() / atoms.get_volume() - 1.0

    try:
        found = relax(centre, cell=True, hydrostatic=True, stop=lambda: abs(change()) > FAR, **limits)
        if abs(change()) > FAR:
            return Failure(NO_MINIMUM, f"{change():+.0%} in the relaxation").record()
        if not found.converged:
            return Failure(NOT_CONVERGED, f"not relaxed in {relaxation.steps} steps").record()
        for _ in range(SCANS):
            points = [_scaled(centre, strain, settings.strain) for strain in np.linspace(-1.0, 1.0, settings.points)]
            if not all(relax(point, **limits).converged for point in points):
                return Failure(NOT_CONVERGED, f"atoms not relaxed in {relaxation.steps} steps").record()
            volumes = np.array([point.get_volume() for point in points])
            energies = np.array([point.get_potential_energy() for point in points])
            fit = EquationOfState(volumes, energies, eos="birchmurnaghan")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of scipy, where there is no minimum
                volume, _, modulus = fit.fit(warn=False)
            if volumes.min() < volume < volumes.max() and modulus > 0.0:
                break
            centre = points[int(energies.argmin())]
        else:
            return Failure(NO_MINIMUM, f"no minimum in {SCANS} scans").record()
    except (ValueError, FloatingPointError) as error:  # overlapping atoms, non-finite positions
        return Failure(UNSTABLE, str(error)).record()
    except RuntimeError as error:  # from scipy's fit
        return Failure(NO_MINIMUM, str(error)).record()
    scatter = np.std(energies - birchmurnaghan(volumes, *fit.eos_parameters)) / np.ptp(energies)
    if scatter > LARGEST_SCATTER:
        return Failure(NO_MINIMUM, f"energies scatter by {scatter:.0%} of their range about the fit").record()
    return {"volume_angstrom3_per_atom": volume / len(atoms), "bulk_modulus_gpa": modulus / units.GPa}


def _scaled(atoms, place: float, strain: float):
    """Copy of ``atoms`` with the cell scaled by 1 + ``place`` * ``strain``."""
    scaled = _copy(atoms)
    scaled.set_cell(atoms.cell * (1.0 + place * strain), scale_atoms=True)
    return scaled


def phonons_at_gamma(atoms, displacement: float) -> tuple[dict[str, Any], np.ndarray]:
    """Frequencies (1/cm, ascending, imaginary ones negative) at Gamma by finite displacements (A) with phonopy.

    The cell itself is the supercell, which is exact at Gamma. The three acoustic modes (those nearest to zero) are
    excluded. Also returns the displacements [n, 3] of the softest mode, the largest of which is 1.
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
    phonon.run_qpoints([[0.0, 0.0, 0.0]], with_eigenvectors=True)
    frequencies = phonon.qpoints.frequencies[0] * get_physical_units().THzToCm
    softest = phonon.qpoints.eigenvectors[0][:, 0].real.reshape(-1, 3) / np.sqrt(cell.masses)[:, None]
    optical = np.sort(frequencies[np.argsort(np.abs(frequencies))[ACOUSTIC_MODES:]])
    facts = {
        "frequencies_per_cm": optical,
        "imaginary_modes": int((optical < IMAGINARY_BELOW).sum()),
        "displacements": len(forces),
    }
    return facts, softest / np.linalg.norm(softest, axis=1).max()


def _copy(atoms):
    """Copy of the atoms with the same calculator."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy
