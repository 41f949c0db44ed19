"""Relaxation, dynamics and the programs of ASE on a trained model with a cutoff of its own for every element."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

from examples import enlarged
from fcl import FCLCalculator
from fcl.models.files import build_model
from fcl.simulation.dynamics import energy_drift, molecular_dynamics, relax

pytestmark = pytest.mark.heavy

CUTOFFS = {"H": 3.8, "C": 4.4, "N": 4.9, "O": 4.7, "S": 5.5}


@pytest.fixture
def crystal(crystals, small_settings):
    """A formamide crystal of 12 atoms. Its model is not trained, but scaled so that forces are those of a solid."""
    atoms = next(a for a in read(crystals, ":", format="extxyz") if "molcrys" in a.info["subset"])
    torch.manual_seed(1)  # one of the seeds whose surface is smooth enough for steps of 0.5 fs
    model = enlarged(build_model("fcl", small_settings, 7.0, dtype=torch.float64)).eval()
    atoms.calc = FCLCalculator(model, CUTOFFS)
    model.scale_shift.scale.mul_(1.0 / np.sqrt(np.mean(atoms.get_forces() ** 2)))
    atoms.calc.reset()
    return atoms


def test_drift_is_a_slope():
    times = np.linspace(0.0, 2.0, 201)
    noise = 1e-3 * np.sin(900.0 * times)
    assert energy_drift(times, -50.0 + 0.012 * times + noise, 4) == pytest.approx(3.0, rel=0.01)
    assert np.isnan(energy_drift(times[:2], times[:2], 4))


def test_energy_is_conserved(crystal):
    """NVE at 0.5 fs from 300 K drifts by less than 1 meV/atom/ps, with lists that are kept for many steps."""
    frames, kinetic = [], []

    def on_frame(now):
        frames.append(now.copy())
        kinetic.append(now.get_kinetic_energy())

    assert np.sqrt(np.mean(crystal.get_forces() ** 2)) == pytest.approx(1.0)  # eV/A
    run = molecular_dynamics(crystal, temperature=300.0, timestep=0.5, steps=400, interval=4, on_frame=on_frame)
    assert len(frames) == 101 and len(run.times) == 401 and run.times[-1] == pytest.approx(0.2)
    assert np.abs(frames[-1].positions - frames[0].positions).max() > 0.3
    assert abs(run.drift) < 1.0
    assert run.total_energy.std() < 1e-2 * np.std(kinetic)  # what is exchanged is far more than what is lost
    assert 0 < crystal.calc.rebuilds < 150
    assert run.microseconds_per_atom_step > 0


@pytest.fixture
def copper():
    """Four atoms of copper off their places, with ASE's effective medium theory: a potential of no surprises."""
    atoms = bulk("Cu", cubic=True, a=3.7)
    atoms.rattle(0.1, seed=1)
    atoms.calc = EMT()
    return atoms


def test_relaxation(copper):
    fixed = relax(copper, fmax=0.01)
    assert fixed.converged and 0 < fixed.steps < 100 and fixed.max_force <= 0.01
    assert fixed.energy_after < fixed.energy_before
    strained = np.abs(copper.get_stress()).max()
    free = relax(copper, fmax=0.01, cell=True)
    assert free.converged and free.energy_after < fixed.energy_after
    assert np.abs(copper.get_stress()).max() < 0.1 * strained
    copper.rattle(0.1, seed=2)
    assert not relax(copper, fmax=1e-6, steps=1).converged
    copper.pbc = False
    with pytest.raises(ValueError, match="no cell to relax"):
        relax(copper, cell=True)


def test_the_thermostat_and_the_seed(copper):
    start = copper.positions.copy()

    def end(seed):
        copper.positions = start
        molecular_dynamics(copper, temperature=300.0, steps=5, thermostat=True, seed=seed)
        return copper.positions.copy()

    np.testing.assert_array_equal(end(1), end(1))
    assert not np.allclose(end(1), end(2))


def test_the_thermostat_warms_what_is_cold(copper):
    copper = copper.repeat(2)
    copper.calc = EMT()
    run = molecular_dynamics(copper, temperature=300.0, timestep=5.0, steps=300, thermostat=True, friction=0.05)
    assert run.temperature[100:].mean() == pytest.approx(300.0, rel=0.3)


def test_an_energy_that_is_not_finite_stops_the_run(copper):
    class Broken(EMT):
        def get_potential_energy(self, *arguments, **values):
            energy = super().get_potential_energy(*arguments, **values)
            return energy if np.allclose(self.atoms.positions, start, atol=1e-3) else np.nan

    start = copper.positions.copy()
    copper.calc = Broken()
    with pytest.raises(FloatingPointError, match=r"not finite after \d+ steps; is the time step too long"):
        molecular_dynamics(copper, temperature=300.0, steps=50)


def test_nudged_elastic_band(trained_model):
    """A hydrogen atom between two equivalent places: one calculator, shared by the images."""
    from ase.mep import NEB
    from ase.optimize import FIRE

    first = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    last = first.copy()
    last.positions[1] = [-0.24, -0.93, 0]
    images = [first.copy() for _ in range(4)] + [last]
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    calculator = FCLCalculator(trained_model, CUTOFFS)
    for image in images:
        image.calc = calculator
    before = np.linalg.norm(band.get_forces(), axis=1).max()
    with FIRE(band, logfile=None) as optimizer:
        optimizer.run(fmax=0.05, steps=15)
    assert np.linalg.norm(band.get_forces(), axis=1).max() < before


def test_phonons(trained_model, tmp_path):
    """Finite displacements of a chain of water: acoustic modes vanish, all frequencies are finite."""
    from ase.phonons import Phonons

    chain = Atoms(
        "OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], cell=[3.0, 9.0, 9.0], pbc=(True, False, False)
    )
    chain.calc = FCLCalculator(trained_model, CUTOFFS)
    relax(chain, fmax=0.01, steps=300)
    phonons = Phonons(chain, chain.calc, supercell=(3, 1, 1), delta=0.01, name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    frequencies = phonons.band_structure([[0.0, 0.0, 0.0]])[0] / units.invcm
    assert frequencies.shape == (9,) and np.isfinite(frequencies).all()
    assert np.sum(np.abs(frequencies) < 20.0) >= 3
    assert frequencies.max() > 500.0
