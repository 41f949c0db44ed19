"""Equilibration and runs that may become unstable, shared by NVE and NVT."""

from __future__ import annotations

from collections.abc import Callable

from fcl.simulation.dynamics import Dynamics, molecular_dynamics
from fcl.simulation.observables.failure import UNSTABLE, Failure


def stable_run(
    atoms, settings, *, duration: float, timestep: float, observe: Callable[[int], None] | None = None, **options
) -> Dynamics | Failure:
    """`molecular_dynamics` of ``duration`` (ps), in place; returns a `Failure` if it becomes unstable.

    Unstable means a temperature above ``settings.unstable_above`` (`DynamicsSettings`) at any step, a non-finite energy
    or a structure that the calculator rejects. ``observe`` is called with the step number, from 0.
    """
    atoms.get_forces()  # invalid input raises here and is not a failure of the run
    step = 0

    def watch(now) -> None:
        nonlocal step
        temperature = now.get_temperature()
        if not temperature < settings.unstable_above:
            raise FloatingPointError(f"{temperature:.0f} K")
        if observe is not None:
            observe(step)
        step += 1

    try:
        return molecular_dynamics(
            atoms, temperature=settings.temperature, timestep=timestep, steps=steps_of(duration, timestep), interval=1,
            on_frame=watch, **options,
        )  # fmt: skip
    except (FloatingPointError, ValueError) as error:
        return Failure(UNSTABLE, f"after {step * timestep / 1000.0:.3g} ps of {duration:g} ps: {error}")


def steps_of(duration: float, timestep: float) -> int:
    """Number of steps of ``timestep`` (fs) in ``duration`` (ps), at least one."""
    return max(round(1000.0 * duration / timestep), 1)


def equilibrate(atoms, settings, seed: int) -> Failure | None:
    """Bring relaxed ``atoms`` (in place) to ``settings.temperature`` by Langevin dynamics with random ``seed``.

    Velocities are drawn at the target temperature; half of the kinetic energy goes into the vibrations and is
    replaced by the thermostat. Returns a `Failure` if the run becomes unstable.
    """
    run = stable_run(
        atoms, settings, duration=settings.equilibration, timestep=settings.timestep, thermostat=True,
        friction=settings.friction, seed=seed,
    )  # fmt: skip
    return run if isinstance(run, Failure) else None
