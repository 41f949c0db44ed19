"""Radial distribution function in NVT."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.observables.failure import NOT_APPLICABLE, Failure
from fcl.simulation.observables.runs import equilibrate, stable_run


def sampled_rdf(atoms, settings, seed: int) -> dict[str, Any]:
    """g(r) over all pairs of atoms in NVT: mean and standard error of the mean from blocks of the run."""
    if not atoms.pbc.all():
        return Failure(NOT_APPLICABLE, "no density without a cell").record()
    choice, samples = settings.rdf, []

    def observe(step: int) -> None:
        if step and step % choice.interval == 0:
            samples.append(pair_distribution(atoms, edges))

    edges = np.linspace(0.0, choice.reach, round(choice.reach / choice.bin_width) + 1)
    failed = equilibrate(atoms, settings.dynamics, seed)
    if failed is None:
        dynamics = settings.dynamics
        run = stable_run(
            atoms, dynamics, duration=choice.duration, timestep=dynamics.timestep, observe=observe, thermostat=True,
            friction=dynamics.friction, seed=seed, draw_velocities=False,
        )  # fmt: skip
        failed = run if isinstance(run, Failure) else None
    if failed:
        return failed.record()
    mean, error = block_average(np.array(samples), choice.blocks)
    return {
        "distances_angstrom": 0.5 * (edges[1:] + edges[:-1]),
        "g": mean,
        "g_standard_error": error,
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


def block_average(samples: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [...] of ``samples`` [n, ...] and its standard error from the spread of ``blocks`` block means.

    Successive samples of a run are correlated; means of long blocks are much less so.
    """
    means = np.stack([part.mean(axis=0) for part in np.array_split(samples, blocks)])
    return samples.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(blocks)
