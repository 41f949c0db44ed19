"""Stages: physics with optimised cutoffs against a uniform cutoff, for the same model and structures.

Beside this difference stand two that have nothing to do with cutoffs: between two models that differ in their training
seed, and for dynamics between two runs of one model. Each stage reads files and writes one JSON file per subset.
Relaxation, equation of state and phonons are computed first; dynamics start from the relaxed structures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fcl.runs.files import write_json
from fcl.simulation.observables.failure import NOT_APPLICABLE
from fcl.simulation.observables.nve import energy_conservation
from fcl.simulation.observables.rdf import sampled_rdf
from fcl.simulation.observables.reference import broken, reference_fault
from fcl.simulation.observables.statics import at_minimum, rmsd
from fcl.study.tables.observables import CALIBRATED, OTHER_SEED, REPEATED, UNIFORM

logger = logging.getLogger(__name__)

#: Random displacement (A) before relaxations, so that symmetry does not keep atoms at a saddle point.
DISPLACEMENT = 0.05
REPEATED_SEED = 1000  # added to the seed of a run
#: A reference whose mean temperature (K) is so many times that of the thermostat has reacted.
HOT = 2.0


def chosen_structures(store: Path, subset: str, count: int, max_atoms: int | None) -> list:
    """Structures of ``subset`` in a graph store as ASE atoms, one of each of its first ``count`` groups, in order.

    Of the variants of one parent it is the one of lowest labelled energy per atom, which is nearest to a minimum.
    Larger ones than ``max_atoms`` are left out. Raises `ValueError` naming the file if nothing is left.
    """
    from ase import Atoms

    from fcl.data.store import read_store

    arrays = read_store(store)
    if subset not in arrays.subset_names:
        raise ValueError(f"{store}: no structure of subset {subset!r}; there are {', '.join(arrays.subset_names)}")
    sizes, groups = np.diff(arrays.ptr), arrays.groups()
    energies = np.where(arrays.energy_mask, arrays.energy / sizes, np.inf)
    lowest: dict[int, int] = {}
    for index in np.flatnonzero(arrays.subset == arrays.subset_names.index(subset)):
        if max_atoms is None or sizes[index] <= max_atoms:
            best = lowest.setdefault(groups[index], index)
            lowest[groups[index]] = index if energies[index] < energies[best] else best
    if not lowest:
        raise ValueError(f"{store}: no structure of subset {subset!r} has at most {max_atoms} atoms")
    structures = []
    for index in list(lowest.values())[:count]:
        span = slice(arrays.ptr[index], arrays.ptr[index + 1])
        numbers, positions = arrays.numbers[span].astype(int), arrays.positions[span]
        structures.append(Atoms(numbers, positions, cell=arrays.cells[index], pbc=arrays.pbc[index]))
    return structures


def calculators(study, model: Path, cutoffs: Path, other_model: Path | None) -> dict[str, Any]:
    """The calculator of each potential, the reference first; in float64, since differences are small."""
    from fcl.simulation.calculator import FCLCalculator
    from fcl.study.stages.job import compute

    _, device = compute(study)
    uniform, options = study.observables.uniform_cutoff, {"device": device, "backend": study.compute.backend}
    found = {UNIFORM: FCLCalculator(model, uniform, **options), CALIBRATED: FCLCalculator(model, cutoffs, **options)}
    if other_model:
        found[OTHER_SEED] = FCLCalculator(other_model, uniform, **options)
    return found


def labels(number: int, atoms) -> dict[str, Any]:
    """Labels of a structure: its number in the subset (from 1), formula and number of atoms."""
    return {"structure": number, "formula": atoms.get_chemical_formula(), "atoms": len(atoms)}


def write_minima(path: Path, minima: Iterable[tuple[int, str, Any]]) -> None:
    """Write (number of the structure, potential, atoms) as extended XYZ, atomically: 8 decimals, without results."""
    from ase.io import write

    from fcl.runs.files import atomic_path

    frames = []
    for number, name, atoms in minima:
        frame = atoms.copy()
        frame.info.update(structure=number, potential=name)
        frames.append(frame)
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz") if frames else temporary.touch()


def read_minima(path: Path) -> dict[int, dict[str, Any]]:
    """Read the file of `write_minima`: for each structure (by number), its atoms in every potential.

    Raises `ValueError` naming the file if a structure has no atoms of the reference.
    """
    from ase.io import read

    minima: dict[int, dict[str, Any]] = {}
    for frame in read(path, index=":", format="extxyz") if path.stat().st_size else []:
        minima.setdefault(frame.info.get("structure"), {})[frame.info.get("potential")] = frame
    for number, found in minima.items():
        if UNIFORM not in found or CALIBRATED not in found:
            raise ValueError(f"{path}: structure {number}: no minimum of {UNIFORM} or {CALIBRATED}")
    return minima


def observe_statics(
    study, store: Path, model: Path, cutoffs: Path, subset: str, structures: Path, numbers: Path,
    other_model: Path | None = None,
) -> dict:  # fmt: skip
    """Relax structures of a subset with every potential; equation of state and phonons at each minimum.

    ``structures`` receives the minima (extended XYZ), ``numbers`` the results per structure (JSON). A structure that is
    not sane at the uniform cutoff (`reference_fault`) ends there, with the reason as ``no_reference``.
    """
    started, settings = time.time(), study.observables
    potentials = calculators(study, model, cutoffs, other_model)
    records, relaxed = [], []
    chosen = chosen_structures(store, subset, settings.structures, settings.max_atoms)
    for number, start in enumerate(chosen, 1):
        displaced, minima, results, fault = start.copy(), {}, {}, None
        displaced.rattle(DISPLACEMENT, seed=number)
        for name, potential in potentials.items():
            minima[name] = atoms = displaced.copy()
            atoms.calc = potential
            results[name] = at_minimum(atoms, settings, start if name == UNIFORM else None)
            if name == UNIFORM and (fault := reference_fault(start, atoms, results[name])):
                break
        distances = {name: rmsd(minima[UNIFORM], atoms) for name, atoms in minima.items() if name != UNIFORM}
        records.append({**labels(number, start), "no_reference": fault, "rmsd_angstrom": distances, **results})
        if not fault:
            relaxed += [(number, name, atoms) for name, atoms in minima.items()]
        outcome = fault or f"minima {distances[CALIBRATED]:.3f} A apart"
        logger.info(f"{subset} {number}: {records[-1]['formula']}, {outcome}, {time.time() - started:.0f} s")
    write_minima(structures, relaxed)
    write_json(numbers, {"subset": subset, "structures": records})
    return {"seed": settings.seed, "subset": subset}


def sample(
    quantity: Callable[..., dict[str, Any]], study, structures: Path, model: Path, cutoffs: Path, subset: str,
    numbers: Path, other_model: Path | None,
) -> dict:  # fmt: skip
    """Stage: ``quantity(atoms, study.observables, seed=...)`` from the minima of the first structures.

    The reference is run twice, with other random numbers (`REPEATED`). If it is unstable or does not stay what it was,
    the structure ends there, with the reason as ``no_reference``.
    """
    started, settings = time.time(), study.observables
    potentials = calculators(study, model, cutoffs, other_model)
    records = []
    for number, minima in list(read_minima(structures).items())[: settings.dynamics.structures]:
        results, fault = {}, None
        for name in (UNIFORM, REPEATED, *list(minima)[1:]):
            potential = UNIFORM if name == REPEATED else name
            atoms = minima[potential].copy()
            atoms.calc = potentials[potential]
            seed = number + (REPEATED_SEED if name == REPEATED else 0)
            results[name] = quantity(atoms, settings, seed=seed)
            logger.info(f"{subset} {number}: {atoms.get_chemical_formula()}, {name}, {time.time() - started:.0f} s")
            if name == UNIFORM and (fault := _run_fault(minima[UNIFORM], atoms, results[name], settings)):
                logger.info(f"{subset} {number}: no reference: {fault}")
                break
        records.append({**labels(number, minima[UNIFORM]), "no_reference": fault, **results})
    write_json(numbers, {"subset": subset, "structures": records})
    return {"seed": settings.seed, "subset": subset}  # of the model; those of the dynamics are the structures' numbers


def _run_fault(minimum, end, result: dict[str, Any], settings) -> str | None:
    """Why a run of the reference is none: it failed, became hot or another substance. Not applicable is no fault."""
    if "failure" in result:
        return None if result["failure"] == NOT_APPLICABLE else f"{result['failure']} {result['reason']}"
    mean = result["mean_temperature_kelvin"]
    if mean > HOT * settings.dynamics.temperature:
        return f"mean temperature {mean:.0f} K"
    return broken(minimum, end)


def observe_nve(
    study, structures: Path, model: Path, cutoffs: Path, subset: str, numbers: Path, other_model: Path | None = None
) -> dict:
    """Equilibrate each minimum with every potential, then run NVE."""
    return sample(energy_conservation, study, structures, model, cutoffs, subset, numbers, other_model)


def observe_rdf(
    study, structures: Path, model: Path, cutoffs: Path, subset: str, numbers: Path, other_model: Path | None = None
) -> dict:
    """Sample g(r) of each minimum with every potential after an equilibration."""
    return sample(sampled_rdf, study, structures, model, cutoffs, subset, numbers, other_model)
