"""Whether a relaxed structure, or the end of a run, can serve as a reference: poor models have absurd minima.

Distances are compared with sums of covalent radii. A bond is shorter than `BONDED` times this sum; it is broken beyond
`APART` times, so that neither thermal motion nor a slightly strained start changes bonds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcl.simulation.observables.failure import NOT_APPLICABLE

#: Allowed difference between the volume at zero pressure and that of the data, as a fraction.
LARGEST_VOLUME_CHANGE = 0.1
#: The shortest real bonds (CO, N2) have 0.77 to 0.8 times the sum of the covalent radii.
SHORTEST = 0.7
BONDED, APART = 1.15, 1.5


def reference_fault(start, atoms, facts: dict[str, Any]) -> str | None:
    """Why the relaxed ``atoms``, with the ``facts`` known so far, are not a reference; None if they are one.

    ``start`` is the structure of the data. ``facts`` hold `relaxation`, and perhaps results of `at_minimum`: without an
    equation of state the volume is not tested, without phonons imaginary modes are not.
    """
    relaxation, volume = facts["relaxation"], facts.get("equation_of_state", {})
    if "failure" in relaxation:
        return f"{relaxation['failure']}: {relaxation['reason']}"
    if fault := broken(start, atoms):
        return fault
    if volume.get("failure", NOT_APPLICABLE) != NOT_APPLICABLE:
        return f"volume: {volume['failure']}, {volume['reason']}"
    if "volume_angstrom3_per_atom" in volume:
        change = volume["volume_angstrom3_per_atom"] * len(start) / start.get_volume() - 1.0
        if abs(change) > LARGEST_VOLUME_CHANGE:
            return f"volume {change:+.0%} from that in the data"
    if modes := facts.get("phonons", {}).get("imaginary_modes", 0):
        return f"saddle point with {modes} imaginary modes"
    return None


def broken(before, after) -> str | None:
    """How ``after`` is no longer the same substance as ``before``; None if it is.

    Atoms too close, bonds broken or formed. Positions have to be continuous, not wrapped into the cell.
    """
    first, last = (_reduced_distances(atoms) for atoms in (before, after))
    closest = min(last.values(), default=np.inf)
    if closest < SHORTEST:
        return f"two atoms at {closest:.2f} times the sum of their covalent radii"
    lost = sum(ratio < BONDED and last.get(pair, np.inf) > APART for pair, ratio in first.items())
    formed = sum(ratio < BONDED and first.get(pair, np.inf) > APART for pair, ratio in last.items())
    return f"bonds: {lost} broken, {formed} formed" if lost or formed else None


def _reduced_distances(atoms) -> dict[tuple[int, ...], float]:
    """Distance over the sum of the covalent radii of all pairs (i, j, shift) up to `APART`."""
    from ase.data import covalent_radii

    from fcl.data.neighbors import half_pairs

    radii = covalent_radii[atoms.numbers]
    reach = 2.0 * APART * radii.max()
    (i, j), shifts, distances = half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), reach)
    ratios = distances / (radii[i] + radii[j])
    pairs = zip(i.tolist(), j.tolist(), *shifts.T.tolist(), strict=True)
    return {pair: ratio for pair, ratio in zip(pairs, ratios.tolist(), strict=True) if ratio <= APART}
