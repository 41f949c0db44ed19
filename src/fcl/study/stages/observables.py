"""Stages: physics with optimised cutoffs against a uniform cutoff, for the same model and structures.

Each stage reads files and writes one JSON file per subset. Relaxation, equation of state and phonons are computed
first, and dynamics start from the relaxed structures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fcl.runs.files import write_json
from fcl.simulation.observables.nve import energy_conservation
from fcl.simulation.observables.rdf import sampled_rdf
from fcl.simulation.observables.statics import at_minimum, rmsd

logger = logging.getLogger(__name__)

#: The two configurations of one model; keys of the results.
CONFIGURATIONS = ("uniform", "calibrated")


def first_structures(store: Path, subset: str, count: int) -> list:
    """The first ``count`` structures of ``subset`` in a graph store, in its order, as ASE atoms.

    All of them if there are fewer. Raises `ValueError` naming the file if the store has no such subset.
    """
    from ase import Atoms

    from fcl.data.store import read_store

    arrays = read_store(store)
    if subset not in arrays.subset_names:
        raise ValueError(f"{store}: no structure of subset {subset!r}; there are {', '.join(arrays.subset_names)}")
    members = np.flatnonzero(arrays.subset == arrays.subset_names.index(subset))[:count]
    spans = [slice(arrays.ptr[index], arrays.ptr[index + 1]) for index in members]
    return [
        Atoms(
            numbers=arrays.numbers[span].astype(int),
            positions=arrays.positions[span],
            cell=arrays.cells[index],
            pbc=arrays.pbc[index],
        )
        for index, span in zip(members, spans, strict=True)
    ]


def calculators(study, model: Path, cutoffs: Path) -> dict[str, Any]:
    """A calculator for each of `CONFIGURATIONS`, in float64: differences are small and times of steps comparable."""
    from fcl.simulation.calculator import FCLCalculator
    from fcl.study.stages.job import compute

    _, device = compute(study)
    chosen = dict(zip(CONFIGURATIONS, (study.observables.uniform_cutoff, cutoffs), strict=True))
    backend = study.compute.backend
    return {name: FCLCalculator(model, value, device=device, backend=backend) for name, value in chosen.items()}


def labels(number: int, atoms) -> dict[str, Any]:
    """Labels of a structure: its number in the subset (from 1), formula and number of atoms."""
    return {"structure": number, "formula": atoms.get_chemical_formula(), "atoms": len(atoms)}


def write_structures(path: Path, structures: Iterable[tuple[str, Any]]) -> None:
    """Write (configuration, atoms) as extended XYZ, atomically: 8 decimals, without results."""
    from ase.io import write

    from fcl.runs.files import atomic_path

    frames = []
    for configuration, atoms in structures:
        frame = atoms.copy()
        frame.info["configuration"] = configuration
        frames.append(frame)
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz")


def read_pairs(path: Path) -> list[dict[str, Any]]:
    """Read the file of `write_structures`: for each structure, its atoms in every configuration.

    Raises `ValueError` naming the file if it does not contain all configurations of every structure in turn.
    """
    from ase.io import read

    frames = read(path, index=":", format="extxyz")
    names = [frame.info.get("configuration") for frame in frames]
    if not frames or names != list(CONFIGURATIONS) * (len(frames) // len(CONFIGURATIONS)):
        raise ValueError(f"{path}: expected each structure as {' and '.join(CONFIGURATIONS)} in turn, found {names}")
    groups = zip(*[iter(frames)] * len(CONFIGURATIONS), strict=True)
    return [dict(zip(CONFIGURATIONS, group, strict=True)) for group in groups]


def compare_relaxed(
    quantity: Callable[..., Any], stage: str, study, structures: Path, model: Path, cutoffs: Path, subset: str,
    output: Path, manifest: Path,
) -> None:  # fmt: skip
    """Stage: ``quantity(atoms, study.observables, seed=number)`` of each relaxed structure, with both cutoffs."""
    from fcl.study.stages.job import record

    started = time.time()
    potentials = calculators(study, model, cutoffs)
    records = []
    for number, minima in enumerate(read_pairs(structures), 1):
        results = {}
        for name, atoms in minima.items():
            atoms.calc = potentials[name]
            results[name] = quantity(atoms, study.observables, seed=number)
        records.append({**labels(number, atoms), **results})
        logger.info(f"{subset} {number}: {records[-1]['formula']} done, {time.time() - started:.0f} s")
    write_json(output, {"subset": subset, "structures": records})
    inputs = {"structures": structures, "model": model, "cutoffs": cutoffs}
    seed = study.observables.seed  # of the model; the seeds of the dynamics are the numbers of the structures
    record(manifest, stage, study, ("observables",), inputs, started, seed=seed, extra={"subset": subset})


def observe_statics(
    study, store: Path, model: Path, cutoffs: Path, subset: str, structures: Path, output: Path, manifest: Path
) -> None:
    """Relax the first structures of a subset with both cutoffs; equation of state and phonons at each minimum.

    ``structures`` receives the relaxed structures (extended XYZ), ``output`` the results per structure (JSON).
    """
    from fcl.study.stages.job import record

    started = time.time()
    settings = study.observables
    potentials = calculators(study, model, cutoffs)
    records, relaxed = [], []
    for number, start in enumerate(first_structures(store, subset, settings.structures), 1):
        results, minima = {}, {}
        for name, potential in potentials.items():
            minima[name] = atoms = start.copy()
            atoms.calc = potential
            results[name] = at_minimum(atoms, settings)
        relaxed += minima.items()
        records.append({**labels(number, start), "rmsd_angstrom": rmsd(*minima.values()), **results})
        logger.info(f"{subset} {number}: {records[-1]['formula']}, minima {records[-1]['rmsd_angstrom']:.3f} A apart")
    write_structures(structures, relaxed)
    write_json(output, {"subset": subset, "structures": records})
    inputs = {"store": store, "model": model, "cutoffs": cutoffs}
    facts = {"subset": subset}
    seed = settings.seed
    record(manifest, "observe_statics", study, ("observables",), inputs, started, seed=seed, extra=facts)


def observe_nve(study, structures: Path, model: Path, cutoffs: Path, subset: str, output: Path, manifest: Path) -> None:
    """Equilibrate each relaxed structure with both cutoffs, then run NVE at every time step from there."""
    compare_relaxed(energy_conservation, "observe_nve", study, structures, model, cutoffs, subset, output, manifest)


def observe_rdf(study, structures: Path, model: Path, cutoffs: Path, subset: str, output: Path, manifest: Path) -> None:
    """Sample g(r) of each relaxed structure with both cutoffs after an equilibration, and compare."""
    compare_relaxed(sampled_rdf, "observe_rdf", study, structures, model, cutoffs, subset, output, manifest)
