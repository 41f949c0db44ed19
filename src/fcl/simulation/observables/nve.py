"""Energy drift in NVE."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.dynamics import Dynamics
from fcl.simulation.observables.failure import Failure
from fcl.simulation.observables.runs import equilibrate, stable_run


def energy_conservation(atoms, settings, seed: int) -> dict[str, Any]:
    """Drift of the total energy of ``atoms`` (in place) in NVE after an equilibration."""
    dynamics = settings.dynamics
    run = equilibrate(atoms, dynamics, seed) or stable_run(
        atoms, dynamics, duration=settings.nve.duration, timestep=dynamics.timestep, draw_velocities=False
    )
    if isinstance(run, Failure):
        return run.record()
    drift, error = slope_of_blocks(run, dynamics.blocks)
    return {
        "drift_mev_per_atom_ps": drift,
        "drift_standard_error": error,
        "blocks": dynamics.blocks,
        "mean_temperature_kelvin": float(run.temperature.mean()),
    }


def slope_of_blocks(run: Dynamics, blocks: int) -> tuple[float, float]:
    """Least-squares slope of the total energy (meV/atom/ps) through its means over ``blocks``, and its standard error.

    The error follows from the scatter of the means about the line: successive energies of a run are correlated, means
    of long blocks are much less so.
    """
    from scipy.stats import linregress

    energy = 1000.0 * (run.total_energy - run.total_energy[0]) / run.atoms
    means = [[part.mean() for part in np.array_split(values, blocks)] for values in (run.times, energy)]
    line = linregress(*means)
    return float(line.slope), float(line.stderr)
