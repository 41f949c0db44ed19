"""Solid-liquid interfaces: half of an elongated crystal is molten while the other half is held."""

from __future__ import annotations

import numpy as np

from fcl.simulation.dynamics import molecular_dynamics


def solid_liquid(
    solid, *, melt_temperature: float, temperature: float, melt_steps: int, steps: int, timestep: float = 2.0,
    axis: int = 2, seed: int = 0, interval: int = 10, on_frame=lambda atoms: None,
):  # fmt: skip
    """A structure with a solid and a liquid half along ``axis``, by ASE dynamics with the calculator of ``solid``.

    ``melt_steps`` at ``melt_temperature`` (K) with one half of the atoms fixed, then ``steps`` at ``temperature`` (K)
    with all atoms free, at constant volume; ``timestep`` in fs. ``on_frame`` is called every ``interval`` steps of the
    second part. Returns the atoms and which of them [n_atoms] were molten. ``solid`` is not changed. Raises
    `ValueError` unless it is periodic, and `FloatingPointError` as `molecular_dynamics`.
    """
    from ase.constraints import FixAtoms

    if not solid.pbc.all():
        raise ValueError(f"an interface needs a crystal that is periodic in all directions, not {solid.pbc.tolist()}")
    atoms = solid.copy()
    atoms.calc = solid.calc
    molten = (atoms.get_scaled_positions(wrap=False)[:, axis] + 1e-6) % 1.0 >= 0.5  # a layer at 0.5 is one
    common = {"timestep": timestep, "thermostat": True}
    atoms.set_constraint(FixAtoms(mask=~molten))
    molecular_dynamics(atoms, temperature=melt_temperature, steps=melt_steps, seed=seed, **common)
    atoms.set_constraint()
    molecular_dynamics(
        atoms, temperature=temperature, steps=steps, seed=seed + 1, interval=interval, on_frame=on_frame, **common
    )
    return atoms, molten


def crystallinity(atoms, reciprocal: np.ndarray, mask: np.ndarray) -> float:
    """|mean of exp(i G . r)|^2 over the atoms of ``mask``, averaged over ``reciprocal`` vectors G [n, 3] (1/A).

    1 in the perfect crystal with these reciprocal lattice vectors (with the factor 2 pi), about 1 / n in a liquid.
    """
    phases = np.exp(1j * atoms.positions[mask] @ np.asarray(reciprocal).T)
    return float((np.abs(phases.mean(axis=0)) ** 2).mean())
