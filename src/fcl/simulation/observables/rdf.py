"""Radial distribution function in NVT."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.observables.failure import NOT_APPLICABLE, Failure
from fcl.simulation.observables.runs import equilibrate, stable_run

DECIMALS = 4  # of g in result files


def sampled_rdf(atoms, settings, seed: int) -> dict[str, Any]:
    """g(r) of ``atoms`` (in place) over all pairs in NVT, as means over ``settings.dynamics.blocks`` of the run."""
    if not atoms.pbc.all():
        return Failure(NOT_APPLICABLE, "no density without a cell").record()
    choice, dynamics, samples = settings.rdf, settings.dynamics, []

    def observe(step: int) -> None:
        if step and step % choice.interval == 0:
            samples.append(pair_distribution(atoms, edges))

    edges = np.linspace(0.0, choice.reach, round(choice.reach / choice.bin_width) + 1)
    run = equilibrate(atoms, dynamics, seed) or stable_run(
        atoms, dynamics, duration=choice.duration, timestep=dynamics.timestep, observe=observe, thermostat=True,
        friction=dynamics.friction, seed=seed, draw_velocities=False,
    )  # fmt: skip
    if isinstance(run, Failure):
        return run.record()
    return {
        "bin_width_angstrom": edges[1],
        "g_blocks": block_means(np.array(samples), dynamics.blocks).round(DECIMALS),
        "mean_temperature_kelvin": float(run.temperature.mean()),
    }


def pair_distribution(atoms, edges: np.ndarray) -> np.ndarray:
    """g(r) of one periodic structure in the bins between ``edges`` (A), irrespective of element.

    All periodic images count, so distances may exceed half the cell, as the small cells of most data require;
    `ase.geometry.rdf` does not allow this. Within half the cell both agree.
    """
    from fcl.data.neighbors import half_pairs

    _, _, distances = half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), float(edges[-1]))
    counts, _ = np.histogram(distances, bins=edges)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    return 2.0 * counts * atoms.get_volume() / (len(atoms) ** 2 * shells)  # an undirected pair counts for both atoms


def block_means(samples: np.ndarray, blocks: int) -> np.ndarray:
    """Means [blocks, ...] of ``samples`` [n, ...] over successive parts of a run."""
    return np.stack([part.mean(axis=0) for part in np.array_split(samples, blocks)])
