"""Relaxation and molecular dynamics with any ASE calculator, as used by the command line."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import units

from fcl.data.frames import has_volume

#: A run beyond these is no physics and ends: temperature (K; a kinetic energy of 13 eV per atom, where the strongest
#: cohesive energy is 9), and change of the total energy in NVE (eV/atom), which ought to be conserved.
LARGEST_TEMPERATURE = 1e5
LARGEST_DRIFT = 1.0


@dataclass(frozen=True)
class Relaxation:
    """Whether the forces converged, steps taken, energies (eV) before and after, largest force (eV/A)."""

    converged: bool
    steps: int
    energy_before: float
    energy_after: float
    max_force: float


@dataclass(frozen=True)
class Dynamics:
    """Per step, including the initial state: times [n] ps, total_energy [n] eV, temperature [n] K; atoms; wall time."""

    times: np.ndarray
    total_energy: np.ndarray
    temperature: np.ndarray
    atoms: int
    seconds: float

    @property
    def drift(self) -> float:
        """Least-squares slope of the total energy (meV/atom/ps); NaN for fewer than two steps."""
        return energy_drift(self.times, self.total_energy, self.atoms)

    @property
    def microseconds_per_atom_step(self) -> float:
        """Wall time per step and atom."""
        return 1e6 * self.seconds / (max(len(self.times) - 1, 1) * self.atoms)


def energy_drift(times: np.ndarray, energies: np.ndarray, atoms: int) -> float:
    """Least-squares slope of ``energies`` [n] (eV) against ``times`` [n] (ps), in meV/atom/ps."""
    if len(times) < 3:
        return float("nan")
    return 1000.0 * float(np.polyfit(times - times[0], energies - energies[0], 1)[0]) / atoms


def relax(
    atoms,
    *,
    fmax: float = 0.01,
    steps: int = 500,
    cell: bool = False,
    hydrostatic: bool = False,
    method: str = "LBFGS",
    stop: Callable[[], bool] = lambda: False,
) -> Relaxation:
    """Minimise the energy of ``atoms`` (in place) until no force exceeds ``fmax`` (eV/A).

    ``method`` is an optimiser of ASE: LBFGS, or BFGS, which diagonalises its Hessian (slow for thousands of atoms) and
    goes downhill where the curvature is negative; LBFGS is attracted by saddle points there.

    With ``cell`` the lattice is relaxed too and its generalised forces enter the criterion; with ``hydrostatic`` in
    addition, the cell keeps its shape. Stops, not converged, as soon as ``stop`` returns true. Raises `ValueError` if
    there is no lattice to relax, or ``fmax`` is not positive.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, LBFGS

    if not fmax > 0.0:
        raise ValueError(f"fmax: {fmax} eV/A is not positive, and forces never vanish exactly")
    if cell and not (has_volume(atoms.cell.array) and atoms.pbc.any()):
        raise ValueError("there is no cell to relax: the structure is not periodic or its cell has no volume")
    before = atoms.get_potential_energy()
    target = FrechetCellFilter(atoms, hydrostatic_strain=hydrostatic) if cell else atoms
    optimizers = {"LBFGS": LBFGS, "BFGS": BFGS}
    with optimizers[method](target, logfile=None) as optimizer, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate")  # from the cell filter: 1e-13, at every step
        converged = False
        for reached in optimizer.irun(fmax=fmax, steps=steps):
            converged = bool(reached)
            if not converged and stop():
                break
        taken = optimizer.get_number_of_steps()
    largest = float(np.linalg.norm(target.get_forces(), axis=1).max())
    return Relaxation(converged, taken, before, atoms.get_potential_energy(), largest)


def check_motion(atoms, temperature: float) -> None:
    """`ValueError` if constraints let nothing move, for masses or a ``temperature`` (K) beyond physics."""
    if atoms.get_number_of_degrees_of_freedom() <= 0:
        raise ValueError("all atoms are fixed: there is nothing to simulate")
    masses = atoms.get_masses()
    if len(wrong := np.flatnonzero(~((masses > 0.0) & np.isfinite(masses)))):
        raise ValueError(f"masses: atom {wrong[0]} has a mass of {masses[wrong[0]]:g} u")
    if not 0.0 <= temperature <= LARGEST_TEMPERATURE:
        raise ValueError(f"a temperature of {temperature:g} K is not between 0 and {LARGEST_TEMPERATURE:g} K")


def molecular_dynamics(
    atoms,
    *,
    temperature: float,
    timestep: float = 0.5,
    steps: int = 1000,
    thermostat: bool = False,
    friction: float = 0.01,
    seed: int = 0,
    interval: int = 10,
    on_frame: Callable[[object], None] = lambda atoms: None,
    draw_velocities: bool = True,
) -> Dynamics:
    """Run ``steps`` of ``timestep`` (fs) from velocities drawn at ``temperature`` (K) without total momentum, in place.

    Without ``draw_velocities`` the current velocities are kept. Velocity Verlet (NVE), or with ``thermostat`` Langevin
    dynamics with ``friction`` (1/fs). ``on_frame`` is called with the atoms at the start and every ``interval``
    steps. Raises `ValueError` if nothing can move, and `FloatingPointError` when energy or temperature leave the range
    of physics (`LARGEST_TEMPERATURE`, `LARGEST_DRIFT`), before ``on_frame`` is called.
    """
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import Stationary, thermalize_momenta
    from ase.md.verlet import VelocityVerlet

    check_motion(atoms, temperature)
    random = np.random.RandomState(seed)  # required by ASE
    if draw_velocities:
        thermalize_momenta(atoms, temperature, rng=random)
        if len(atoms) > 1:
            Stationary(atoms)
    if thermostat:
        program = Langevin(
            atoms,
            timestep * units.fs,
            temperature_K=temperature,
            friction=friction / units.fs,
            fixcm=False,  # ASE's correction of the total momentum does not sample NVT
            rng=random,
        )
    else:
        program = VelocityVerlet(atoms, timestep * units.fs)
    rows = []

    def observe() -> None:
        total, now = atoms.get_potential_energy() + atoms.get_kinetic_energy(), atoms.get_temperature()
        change = 0.0 if thermostat or not rows else (total - rows[0][1]) / len(atoms)
        fault = None
        if not np.isfinite(total):
            fault = "the energy is not finite"
        elif now > LARGEST_TEMPERATURE:
            fault = f"the temperature is {now:.3g} K"
        elif abs(change) > LARGEST_DRIFT:
            fault = f"the total energy has changed by {change:+.3g} eV/atom"
        if fault:
            when = f"after {len(rows)} steps; is the time step too long?" if rows else "at the start"
            raise FloatingPointError(f"{fault} {when}")
        rows.append((len(rows) * timestep / 1000.0, total, now))
        if (len(rows) - 1) % interval == 0:
            on_frame(atoms)

    atoms.get_forces()  # the first evaluation builds what later ones reuse; not timed
    program.attach(observe, interval=1)
    started = time.perf_counter()
    program.run(steps)
    seconds = time.perf_counter() - started
    times, energies, temperatures = (np.array(column) for column in zip(*rows, strict=True))
    return Dynamics(times, energies, temperatures, len(atoms), seconds)
