"""Energy drift in NVE, cost and time per step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.dynamics import Dynamics
from fcl.simulation.observables.failure import Failure
from fcl.simulation.observables.runs import equilibrate, stable_run

TRACE_POINTS = 200  # stored per run, for the figure


def energy_conservation(atoms, settings, seed: int) -> list[dict[str, Any]]:
    """Results for each time step of ``settings.nve``; all runs start from the same equilibrated state."""
    failed = equilibrate(atoms, settings.dynamics, seed)
    records = []
    for timestep in settings.nve.timesteps:
        facts = {"timestep_fs": timestep, "duration_ps": settings.nve.duration}
        records.append({**facts, **(failed.record() if failed else _run(atoms, settings, timestep))})
    return records


def _run(atoms, settings, timestep: float) -> dict[str, Any]:
    potential, copy = atoms.calc, atoms.copy()  # including velocities
    copy.calc = potential
    pairs, lists = [], potential.rebuilds

    def observe(step: int) -> None:
        pairs.append(potential.pairs_per_atom)

    run = stable_run(
        copy, settings.dynamics, duration=settings.nve.duration, timestep=timestep, observe=observe,
        draw_velocities=False,
    )  # fmt: skip
    if isinstance(run, Failure):
        return run.record()
    return {
        "drift_mev_per_atom_ps": run.drift,
        "fluctuation_mev_per_atom": fluctuation(run),
        "mean_temperature_kelvin": float(run.temperature.mean()),
        "max_temperature_kelvin": float(run.temperature.max()),
        "pairs_per_atom": float(np.mean(pairs)),
        "neighbour_lists": potential.rebuilds - lists,
        "microseconds_per_atom_step": run.microseconds_per_atom_step,
        "trace": trace(run),
    }


def fluctuation(run: Dynamics) -> float:
    """Root mean square of the total energy about its linear fit (meV/atom)."""
    energy = 1000.0 * (run.total_energy - run.total_energy[0]) / run.atoms
    about = energy - energy.mean() - run.drift * (run.times - run.times.mean())
    return float(np.sqrt((about**2).mean()))


def trace(run: Dynamics) -> dict[str, np.ndarray]:
    """Times (ps) and total energy relative to the start (meV/atom), as means over at most `TRACE_POINTS` blocks."""
    energy = 1000.0 * (run.total_energy - run.total_energy[0]) / run.atoms
    parts = np.array_split(np.arange(len(energy)), min(TRACE_POINTS, len(energy)))
    return {
        "times_ps": np.array([run.times[part].mean() for part in parts]),
        "energy_mev_per_atom": np.array([energy[part].mean() for part in parts]),
    }
