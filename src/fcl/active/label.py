"""Labels: energy and forces by an ASE calculator, one file per structure, so that none is computed twice."""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.active.pool import WorkerError, run_tasks
from fcl.config.errors import ConfigError
from fcl.runs.files import write_json
from fcl.runs.log import progress

KEYS = ("numbers", "positions", "cell", "pbc")


def plain(atoms) -> dict[str, list]:
    """A structure as plain JSON, with all digits: numbers [n], positions [n, 3] A, cell [3, 3] A (rows), pbc [3]."""
    arrays = (atoms.numbers, atoms.positions, atoms.cell.array, np.asarray(atoms.pbc))
    return {key: values.tolist() for key, values in zip(KEYS, arrays, strict=True)}


def atoms_of(structure: Mapping[str, Any]):
    """The ASE atoms of a `plain` structure."""
    from ase import Atoms

    return Atoms(**{key: structure[key] for key in KEYS})


def digest(structure: Mapping[str, Any]) -> str:
    """Name of a structure: 20 hex digits of the SHA-256 of its numbers, positions, cell and pbc."""
    text = json.dumps({key: structure[key] for key in KEYS})
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Label:
    """A label, or why there is none (``error``): energy eV, forces [n, 3] eV/A; seconds that it took."""

    structure: dict[str, Any]
    seconds: float
    energy: float | None = None
    forces: list | None = None
    error: str | None = None

    def atoms(self):
        """ASE atoms with energy and forces as results."""
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = atoms_of(self.structure)
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, forces=np.array(self.forces))
        return atoms


def read_label(path: Path) -> Label | None:
    """The label in ``path``; None if there is no file. `ValueError` names a file that is none."""
    if not path.is_file():
        return None
    try:
        return Label(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: is not a label ({error}); delete it to compute it again") from None


def make_calculator(calculator: Mapping[str, Any], folder: str):
    """An ASE calculator from ``module``, ``class`` and ``arguments``; ``{folder}`` in texts stands for ``folder``."""
    module = importlib.import_module(calculator["module"])
    target: Any = module
    for part in calculator["class"].split("."):
        target = getattr(target, part)
    if not callable(target):
        raise TypeError(f"{calculator['class']} of {calculator['module']} is neither a class nor a function")
    made = target(**_filled(calculator["arguments"], folder))
    if not (hasattr(made, "get_potential_energy") and hasattr(made, "get_forces")):
        raise TypeError(f"{calculator['class']} of {calculator['module']} makes no ASE calculator")
    return made


def _filled(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return value.replace("{folder}", folder)
    if isinstance(value, Mapping):
        return {key: _filled(item, folder) for key, item in value.items()}
    return [_filled(item, folder) for item in value] if isinstance(value, list) else value


def prepare(calculator: Mapping[str, Any], folder: str) -> None:
    """Import and build the calculator once, so that a wrong name is found before any structure."""
    make_calculator(calculator, folder)


def compute_label(
    structure: Mapping[str, Any], calculator: Mapping[str, Any], folder: str, max_force: float | None, path: str
) -> None:
    """Label a `plain` structure with a new calculator and write the file ``path``.

    The energy is the one that belongs to the forces (``free_energy``, where the calculator has it). Raises anything
    that the calculator raises, and `ValueError` for results that are not finite or beyond ``max_force`` (eV/A).
    """
    atoms = atoms_of(structure)
    began = time.perf_counter()
    atoms.calc = make_calculator(calculator, folder)
    forces = np.asarray(atoms.get_forces(apply_constraint=False), dtype=float)
    implemented = getattr(atoms.calc, "implemented_properties", ())
    energy = float(atoms.get_potential_energy(force_consistent="free_energy" in implemented))
    seconds = time.perf_counter() - began
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise ValueError("energy or forces are not finite")
    if forces.shape != (len(atoms), 3):
        raise ValueError(f"forces of shape {forces.shape} for {len(atoms)} atoms")
    largest = float(np.linalg.norm(forces, axis=1).max())
    if max_force is not None and largest > max_force:
        raise ValueError(f"a force of {largest:.4g} eV/A exceeds max_force, {max_force:g}")
    write_json(path, vars(Label(dict(structure), seconds, energy, forces.tolist())), indent=None)


def label_all(
    structures: Iterable[Mapping[str, Any]], calculator: Mapping[str, Any], labels: Path, *, seconds: float,
    max_force: float | None, processes: int, scratch: Path, folder: Path,
) -> list[Label]:  # fmt: skip
    """The labels of `plain` ``structures``; those without a file in ``labels`` are computed.

    A label that fails, takes longer than ``seconds`` or ends its process is written as failed. ``folder`` is that of
    the settings. Raises `ConfigError` for a calculator that cannot be built.
    """
    structures, labels = list(structures), Path(labels).resolve()
    files = [labels / f"{digest(structure)}.json" for structure in structures]
    missing = {file: structure for file, structure in zip(files, structures, strict=True) if read_label(file) is None}
    here = str(Path(folder).resolve())
    tasks = [(structure, calculator, here, max_force, str(file)) for file, structure in missing.items()]
    outcomes = run_tasks(
        compute_label, tasks, processes=processes, seconds=seconds, folder=scratch,
        prepare=(prepare, (calculator, here)), path=[here],
    )  # fmt: skip
    try:
        for outcome in progress(outcomes, "labels", len(tasks)):
            file = Path(tasks[outcome.index][-1])
            if outcome.error is not None and not file.is_file():  # it may have ended just within its limit
                failed = Label(dict(tasks[outcome.index][0]), outcome.seconds, error=outcome.error)
                write_json(file, vars(failed), indent=None)
    except WorkerError as error:
        raise ConfigError(f"calculator: {error}") from None
    return [label for file in files if (label := read_label(file)) is not None]
