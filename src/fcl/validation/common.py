"""What the comparisons share: structures chosen by rule, the two calculators, and the files between the stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.files import write_json
from fcl.progress import say

#: The two configurations of one model; results are listed under these names.
CONFIGURATIONS = ("uniform", "calibrated")


@dataclass(frozen=True)
class Failure:
    """Why a quantity has no value; ``verdict`` is a word of the table, ``reason`` a sentence."""

    verdict: str
    reason: str

    def record(self) -> dict[str, str]:
        """As it is written to JSON."""
        return {"failure": self.verdict, "reason": self.reason}


UNSTABLE, NO_MINIMUM, NOT_APPLICABLE = "unstable", "no minimum", "not applicable"


def first_structures(store: Path, subset: str, count: int) -> list:
    """The first ``count`` structures of ``subset`` in a graph store, in its order, as ASE atoms.

    All of them where there are fewer. Raises `ValueError`, with the file, if the store has no such subset.
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
    from fcl.calculator import FCLCalculator
    from fcl.stage_tools import compute

    _, device = compute(study)
    chosen = dict(zip(CONFIGURATIONS, (study.validation.uniform_cutoff, cutoffs), strict=True))
    backend = study.compute.backend
    return {name: FCLCalculator(model, value, device=device, backend=backend) for name, value in chosen.items()}


def labels(number: int, atoms) -> dict[str, Any]:
    """What a record says of its structure: its number in the subset (from 1), formula and number of atoms."""
    return {"structure": number, "formula": atoms.get_chemical_formula(), "atoms": len(atoms)}


def write_structures(path: Path, structures: Iterable[tuple[str, Any]]) -> None:
    """Write (configuration, atoms) as extended XYZ, atomically: 8 decimals, without results."""
    from ase.io import write

    from fcl.files import atomic_path

    frames = []
    for configuration, atoms in structures:
        frame = atoms.copy()
        frame.info["configuration"] = configuration
        frames.append(frame)
    with atomic_path(path) as temporary:
        write(temporary, frames, format="extxyz")


def read_pairs(path: Path) -> list[dict[str, Any]]:
    """The relaxed structures of `write_structures`: for each one, its atoms in every configuration.

    Raises `ValueError`, with the file, if it does not hold all configurations of every structure in turn.
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
    """Stage: ``quantity(atoms, study.validation, seed=number)`` of each relaxed structure, with both cutoffs."""
    from fcl.stage_tools import record

    started = time.time()
    potentials = calculators(study, model, cutoffs)
    records = []
    for number, minima in enumerate(read_pairs(structures), 1):
        results = {}
        for name, atoms in minima.items():
            atoms.calc = potentials[name]
            results[name] = quantity(atoms, study.validation, seed=number)
        records.append({**labels(number, atoms), **results})
        say(f"{subset} {number}: {records[-1]['formula']} done, {time.time() - started:.0f} s")
    write_json(output, {"subset": subset, "structures": records})
    inputs = {"structures": structures, "model": model, "cutoffs": cutoffs}
    seed = study.validation.seed  # of the model; those of the dynamics are the numbers of the structures
    record(manifest, stage, study, ("validation",), inputs, started, seed=seed, extra={"subset": subset})
