"""Solid-liquid interface of copper by EMT, and the curve of energy against volume."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from fcl.simulation.interface import crystallinity, solid_liquid
from fcl.simulation.observables.volume import curve_error, energy_volume_curve

#: {200} of copper (1/A).
G = 4.0 * np.pi / 3.61 * np.eye(3)


@pytest.mark.heavy
def test_one_half_melts_and_the_other_does_not():
    solid = bulk("Cu", cubic=True).repeat((2, 2, 4))
    solid.calc, before, seen = EMT(), solid.positions.copy(), []
    atoms, molten = solid_liquid(
        solid, melt_temperature=15000.0, temperature=900.0, melt_steps=150, steps=20, interval=10,
        on_frame=lambda frame: seen.append(frame.get_temperature()),
    )  # fmt: skip
    assert len(seen) == 3 and not atoms.constraints and (solid.positions == before).all()
    assert molten.sum() == len(atoms) // 2
    assert crystallinity(solid, G, molten) == pytest.approx(1.0)
    assert crystallinity(atoms, G, ~molten) > 0.5 > 0.2 > crystallinity(atoms, G, molten)


def test_only_of_crystals():
    with pytest.raises(ValueError, match="periodic in all directions"):
        solid_liquid(Atoms("Cu"), melt_temperature=1.0, temperature=1.0, melt_steps=1, steps=1)


def test_energy_against_volume():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    volumes, energies = energy_volume_curve(atoms, [0.97, 1.0, 1.03])
    assert volumes == pytest.approx(np.array([0.97, 1.0, 1.03]) ** 3 * 3.61**3 / 4)
    assert energies.argmin() == 1 and energies[1] == pytest.approx(atoms.get_potential_energy() / 4)
    assert curve_error(energies + 7.0, energies) == pytest.approx(0.0, abs=1e-12)
    assert curve_error(energies + [0.1, 0.0, -0.1], energies) == pytest.approx(0.1 * (2 / 3) ** 0.5)
