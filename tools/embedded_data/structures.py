"""Deterministic structures: parents, their splits, and strained and rattled variants.

A structure is a pure function of (settings, subset, index): increasing the count never changes earlier structures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.geometry import get_distances

from embedded_data.crystals import CRYSTALS
from embedded_data.layers import LAYERS
from embedded_data.molecules import FRAGMENTS, MOLECULAR_CRYSTALS

SUBSETS = ("MC3D", "MC2D", "SHIFTML-molcrys", "SHIFTML-molfrags")
SPLITS = ("train", "val", "test")
PARENTS: dict[str, dict[str, Callable[[], Atoms]]] = {
    "MC3D": CRYSTALS,
    "MC2D": LAYERS,
    "SHIFTML-molcrys": MOLECULAR_CRYSTALS,
    "SHIFTML-molfrags": FRAGMENTS,
}


@dataclass(frozen=True)
class Task:
    """One structure to compute: its index, parent, and the split of the parent."""

    subset: str
    index: int
    parent: str
    variant: int
    split: str

    @property
    def key(self) -> str:
        return f"{self.subset}-{self.index:05d}"


def load_settings(path: Path | None = None) -> dict:
    """The settings of the data set (``settings.yaml`` next to this module unless a path is given)."""
    return yaml.safe_load((path or Path(__file__).with_name("settings.yaml")).read_text())


def split_of(subset: str, parent: str, settings: Mapping) -> str:
    """Split of a parent and all its variants. Raises KeyError for an unknown parent."""
    if parent not in PARENTS[subset]:
        raise KeyError(f"subset {subset} has no parent {parent!r}")
    chosen = settings["subsets"][subset]
    return "val" if parent in chosen["val"] else "test" if parent in chosen["test"] else "train"


def parent_order(subset: str, settings: Mapping) -> list[str]:
    """All parents of a subset: shuffled, with val and test parents spread evenly (partial data have all splits)."""
    held_out = {name: settings["subsets"][subset][name] for name in ("val", "test")}
    for name, parents in held_out.items():
        for parent in parents:
            split_of(subset, parent, settings)
        if len(parents) * 10 != len(PARENTS[subset]):
            raise ValueError(
                f"settings: subsets.{subset}.{name} names {len(parents)} of {len(PARENTS[subset])} parents"
            )
    train = [p for p in PARENTS[subset] if split_of(subset, p, settings) == "train"]
    np.random.default_rng([settings["seed"], zlib.crc32(subset.encode())]).shuffle(train)
    order: list[str] = []
    for block, (val, test) in enumerate(zip(held_out["val"], held_out["test"], strict=True)):
        mine = train[8 * block : 8 * block + 8]
        order += [*mine[:2], test, *mine[2:5], val, *mine[5:]]
    return order


def tasks(count: int, settings: Mapping) -> list[Task]:
    """``count`` structures of each subset, the subsets interleaved; a prefix of the list for any larger count."""
    orders = {subset: parent_order(subset, settings) for subset in SUBSETS}
    return [
        Task(
            subset,
            index,
            parent := orders[subset][index % len(orders[subset])],
            index // len(orders[subset]),
            split_of(subset, parent, settings),
        )
        for index in range(count)
        for subset in SUBSETS
    ]


def _enlarged(atoms: Atoms, shortest: float, most_atoms: int) -> Atoms:
    """Double the shortest periodic axis as long as it is shorter than ``shortest`` (A) and the cell stays small."""
    while 2 * len(atoms) <= most_atoms:
        spacing = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array).T, axis=1)
        spacing[~atoms.pbc] = np.inf
        if spacing.min() >= shortest:
            break
        repeat = [1, 1, 1]
        repeat[int(spacing.argmin())] = 2
        atoms = atoms.repeat(repeat)
    return atoms


@cache
def _parent(subset: str, name: str, shortest: float, most_atoms: int) -> Atoms:
    atoms = PARENTS[subset][name]()
    return _enlarged(atoms, shortest, most_atoms) if shortest else atoms


def closest_distance(atoms: Atoms) -> float:
    """Smallest distance (A) between two atoms, periodic images included (for cells wider than that distance)."""
    _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    distances[np.diag_indices(len(atoms))] = np.inf
    return float(distances.min())


def _strain(rng: np.random.Generator, options: Mapping, dimensions: int) -> np.ndarray:
    """Symmetric deformation (3, 3): a random volume (area) factor and random shears and axial ratios."""
    factor = rng.uniform(*options["strain"]) ** (1.0 / dimensions)
    shear = rng.uniform(-options["shear"], options["shear"], size=(3, 3))
    deformation = np.eye(3)
    part = factor * (np.eye(3) + 0.5 * (shear + shear.T))
    deformation[:dimensions, :dimensions] = part[:dimensions, :dimensions]
    return deformation


def _deform(atoms: Atoms, deformation: np.ndarray) -> None:
    """Deform the cell; rigid molecules (``arrays["molecule"]``) move with their centres, other atoms affinely."""
    if "molecule" not in atoms.arrays:
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=False)
        atoms.positions = atoms.positions @ deformation
        return
    for label in np.unique(atoms.arrays["molecule"]):
        mine = atoms.arrays["molecule"] == label
        centre = atoms.positions[mine].mean(axis=0)
        atoms.positions[mine] += centre @ deformation - centre
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=False)


def _stretch(atoms: Atoms, rng: np.random.Generator, factors: list[float], half: int) -> None:
    """Stretch the marked bond; odd and even variants draw from the lower and the upper half of the range."""
    spec = atoms.info["stretch"]
    first, second = spec["bond"]
    middle = 0.4 * factors[1] + 0.6 * factors[0]
    factor = rng.uniform(factors[0], middle) if half == 0 else rng.uniform(middle, factors[1])
    bond = atoms.positions[second] - atoms.positions[first]
    if first in spec["moving"]:
        bond = -bond
    atoms.positions[spec["moving"]] += (factor - 1.0) * bond


def _principal_axes(atoms: Atoms) -> None:
    """Rotate a fragment to its principal axes, longest first, for the smallest orthorhombic box."""
    centred = atoms.positions - atoms.positions.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    axes *= np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1) < 0, -1.0, 1.0)
    if np.linalg.det(axes) < 0:
        axes[2] *= -1.0
    atoms.positions = centred @ axes.T


def make_structure(task: Task, settings: Mapping, attempt: int = 0) -> Atoms:
    """The variant defined by ``task``. ``attempt`` > 0 redraws it with smaller displacements (after a failure).

    Raises ValueError if no draw keeps all atoms ``limits.min_distance`` apart.
    """
    options = settings["subsets"][task.subset]
    limits = settings["limits"]
    rng = np.random.default_rng(
        [settings["seed"], zlib.crc32(f"{task.subset}/{task.parent}".encode()), task.variant, attempt]
    )
    ranges = options["rattle"]
    for _ in range(20):
        atoms = _parent(task.subset, task.parent, options["shortest_axis"], options["most_atoms"]).copy()
        dimensions = int(atoms.pbc.sum())
        if dimensions:
            _deform(atoms, _strain(rng, options, dimensions))
        if "stretch" in atoms.info:
            _stretch(atoms, rng, options["stretch"], task.variant % 2)
        amplitude = rng.uniform(*ranges[task.variant % len(ranges)]) * limits["attempt_shrink"] ** attempt
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        if dimensions == 2:
            height = float(np.ptp(atoms.positions[:, 2]))
            cell = atoms.cell.array.copy()
            cell[2] = [0.0, 0.0, round(height + options["vacuum"], 3)]
            atoms.set_cell(cell, scale_atoms=False)
            atoms.positions[:, 2] += 0.5 * cell[2, 2] - atoms.positions[:, 2].min() - 0.5 * height
        elif dimensions == 0:
            _principal_axes(atoms)
        if len(atoms) == 1 or closest_distance(atoms) >= limits["min_distance"]:
            break
    else:
        raise ValueError(f"{task.key} ({task.parent}): atoms closer than {limits['min_distance']} A in 20 draws")
    # Rounded before the calculation, so that the shipped geometry is exactly the computed one.
    clean = Atoms(
        atoms.numbers,
        positions=np.round(atoms.positions, 6) + 0.0,
        cell=np.round(atoms.cell.array, 6) + 0.0,
        pbc=atoms.pbc,
    )
    clean.info["rattle"] = round(float(amplitude), 4)
    return clean
