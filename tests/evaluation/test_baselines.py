"""Trivial predictions: zero forces, and energies linear in the composition."""

import numpy as np
import pytest
from ase import Atoms

from fcl.data.frames import Frame
from fcl.data.store import arrays_from_frames
from fcl.evaluation.baselines import composition_energies, trivial_errors

ENERGIES = {"H": -0.5, "C": 2.0, "O": -3.0}


def frame(formula, energy=None, force=0.0):
    atoms = Atoms(formula)
    atoms.positions = np.arange(3.0 * len(atoms)).reshape(-1, 3)
    linear = sum(ENERGIES[symbol] for symbol in atoms.symbols)
    return Frame(
        atoms.numbers, atoms.positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), linear if energy is None else energy,
        np.full((len(atoms), 3), force), "all", "test",
    )  # fmt: skip


def stores(train, test):
    return arrays_from_frames(train, 2.0), arrays_from_frames(test, 2.0)


def test_energies_of_elements_are_found_where_the_data_are_linear():
    train, test = stores(
        [frame("CH4"), frame("H2"), frame("CO2"), frame("H2O"), frame("C2H6")], [frame("CO"), frame("C3H8O")]
    )
    assert composition_energies(train, test) == pytest.approx([-1.0, 3 * 2.0 - 8 * 0.5 - 3.0])
    assert trivial_errors(train, test).energy == pytest.approx([0.0, 0.0], abs=1e-12)


def test_forces_are_compared_with_zero():
    train, test = stores([frame("H2")], [frame("H2", force=2.0), frame("CH4", force=-1.0)])
    errors = trivial_errors(train, test)
    assert errors.force_square.tolist() == [2 * 3 * 4.0, 5 * 3 * 1.0]
    assert errors.force_absolute.tolist() == [2 * 3 * 2.0, 5 * 3 * 1.0]
    assert errors.metrics()["force_rmse_ev_per_angstrom"] == pytest.approx((39.0 / 21.0) ** 0.5)


def test_structures_count_alike_and_those_without_an_energy_do_not():
    """The fit is to energies per atom, so a large structure weighs as much as a small one."""
    train, test = stores([frame("H2", 2.0), frame("H8", 0.0), frame("H4", np.nan)], [frame("H6"), frame("O")])
    assert composition_energies(train, test) == pytest.approx([6 * 0.5, 0.0])  # oxygen was never seen
