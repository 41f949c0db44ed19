"""Exploration: molecular dynamics of a small cell with the present model, and the frames that it does not know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.active.cells import deformed, shortest_ratio
from fcl.active.label import atoms_of, plain
from fcl.runs.files import write_json


@dataclass(frozen=True)
class Models:
    """The models of a round: files of the members, file of the grade; ``cutoff`` (A) in dynamics."""

    files: tuple[str, ...]
    grade: str
    cutoff: float

    def calculator(self):
        """Calculator of the first member, at the cutoff of the dynamics."""
        from fcl.simulation.calculator import FCLCalculator

        return FCLCalculator(self.files[0], self.cutoff, device="cpu")

    def measures(self, cutoffs: Sequence[float]) -> dict:
        """`fcl.active.uncertainty.measures` of these models."""
        from fcl.active.uncertainty import Grade, measures

        record = json.loads(Path(self.grade).read_text(encoding="utf-8"))
        return measures([Path(file) for file in self.files], self.cutoff, cutoffs, Grade.restored(record))


class _End(Exception):
    """A run ends early; the text says why."""


def prepare() -> None:
    """Import what a run needs, and compute with one thread."""
    import torch

    import fcl.simulation.calculator  # noqa: F401

    torch.set_num_threads(1)


def explore(
    structure: Mapping[str, Any], temperature: float, factor: float, seed: Sequence[int], models: Models,
    explore_settings: Mapping[str, Any], select_settings: Mapping[str, Any], path: str,
) -> None:  # fmt: skip
    """Langevin dynamics of a cell scaled by ``factor`` and sheared; writes what it found to the JSON file ``path``.

    ``frames``: number of frames looked at; ``ended``: how it ended; ``candidates``: frames whose uncertainty exceeds
    the threshold, as `plain` structures with ``score`` and ``frame``; ``control``: one frame at random, or None. A cell
    of one atom has no dynamics: its frames are random deformations.
    """
    from fcl.active.settings import ExploreSettings, SelectSettings
    from fcl.simulation.dynamics import molecular_dynamics

    settings, choice = ExploreSettings.model_validate(explore_settings), SelectSettings.model_validate(select_settings)
    random = np.random.default_rng(list(seed))
    measure = models.measures(choice.cutoffs)[choice.uncertainty]
    above, stop = choice.thresholds
    seen: list[dict[str, Any]] = []

    def look(atoms) -> None:
        if not np.isfinite(atoms.positions).all() or shortest_ratio(atoms) < choice.shortest:
            raise _End(f"atoms closer than {choice.shortest:g} covalent distances")
        score = measure(atoms)
        seen.append({"structure": plain(atoms), "score": score, "frame": len(seen)})
        if score > stop:
            raise _End(f"uncertainty {score:.3g} above {stop:g}")

    atoms, ended, calculator = atoms_of(structure), "all steps", models.calculator()
    try:
        if len(atoms) == 1:
            for _ in range(1 + settings.steps // settings.interval):
                look(deformed(atoms, factor, settings.shear, 0.0, random))
        else:
            atoms = deformed(atoms, factor, settings.shear, 0.0, random)
            atoms.calc = calculator
            molecular_dynamics(
                atoms, temperature=temperature, timestep=settings.timestep, steps=settings.steps, thermostat=True,
                seed=int(random.integers(2**31)), interval=settings.interval, on_frame=look,
            )  # fmt: skip
    except (_End, FloatingPointError, ValueError) as error:
        ended = str(error)
    candidates = [frame for frame in seen if frame["score"] > above]
    control = seen[int(random.integers(len(seen)))] if seen else None
    write_json(path, {"frames": len(seen), "ended": ended, "candidates": candidates, "control": control}, indent=None)
