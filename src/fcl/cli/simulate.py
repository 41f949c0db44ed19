"""``fcl predict``, ``fcl relax`` and ``fcl md``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from fcl.cli.common import (
    AsJSON,
    CutoffText,
    Device,
    Model,
    Overwrite,
    Precision,
    Radial,
    Skin,
    finite,
    parse_cutoffs,
    positive,
    print_facts,
    print_json,
    print_table,
)
from fcl.cli.structures import about, check_cutoffs, check_structures, largest_force, structure_writer

#: Most atoms of a supercell: positions and forces alone then fill gigabytes.
LARGEST_SUPERCELL = 10**8

Structures = Annotated[Path, typer.Argument(help="Structures in any format that ASE reads.")]
Structure = Annotated[Path, typer.Argument(help="A structure in any format that ASE reads; of several, the last.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write: .xyz, .xyz.gz or .traj.")]


def _prepare(
    model: Path, structures: Path, cutoffs: str | None, device: str, dtype: str, radial: str, skin: float, last=False
):
    """Validated calculator, and structures with their numbers in the file; with ``last`` the last one only."""
    from fcl.data.read import read_structures
    from fcl.simulation.calculator import FCLCalculator

    given = parse_cutoffs(cutoffs)
    calculator = FCLCalculator(model, given, device=device, dtype=dtype, radial=radial, skin=skin)
    found = read_structures(structures, calculator.model.settings.num_elements, as_text=True)
    frames = list(enumerate(found))[-1 if last else 0 :]
    check_cutoffs(calculator.cutoffs, structures, ((index, atoms.numbers) for index, atoms in frames))
    return calculator, frames


def predict(
    model: Model,
    structures: Structures,
    output: Output,
    cutoffs: CutoffText = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    radial: Radial = "tables",
    as_json: AsJSON = False,
) -> None:
    """Energy, forces and (where there is a cell) stress of structures; constraints change no force."""
    from fcl.runs.files import atomic_path
    from fcl.runs.log import progress

    check_structures(output, overwrite)
    calculator, frames = _prepare(model, structures, cutoffs, device, dtype, radial, skin=0.0)
    rows = []
    with atomic_path(output) as temporary, structure_writer(temporary, output) as append:
        for index, atoms in progress(frames, "predicting", len(frames)):
            atoms.calc = calculator
            with about(structures, index):
                atoms.get_forces()
            append(atoms)
            rows.append(
                {
                    "frame": index,
                    "formula": atoms.get_chemical_formula(),
                    "atoms": len(atoms),
                    "energy_ev_per_atom": calculator.results["energy"] / len(atoms),
                    "max_force_ev_per_angstrom": largest_force(atoms),
                    "pairs_per_atom": calculator.pairs_per_atom,
                }
            )
    if as_json:
        print_json({"output": str(output), "frames": rows})
        return
    columns = ("frame", "formula", "atoms", "energy (eV/atom)", "largest force (eV/A)", "pairs/atom")
    cells = [
        (
            str(row["frame"]), row["formula"], str(row["atoms"]), f"{row['energy_ev_per_atom']:.4f}",
            f"{row['max_force_ev_per_angstrom']:.3f}", f"{row['pairs_per_atom']:.1f}",
        )
        for row in rows
    ]  # fmt: skip
    print_table(columns, cells)
    typer.echo(f"{output}: {len(rows)} structures")


def relax(
    model: Model,
    structure: Structure,
    output: Output,
    cutoffs: CutoffText = None,
    fmax: Annotated[
        float, typer.Option(help="Largest force that may remain (eV/A).", min=0.0, callback=positive)
    ] = 0.01,
    steps: Annotated[int, typer.Option(help="At most so many steps.", min=1)] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    radial: Radial = "tables",
    skin: Skin = 0.5,
    as_json: AsJSON = False,
) -> None:
    """Relax a structure (LBFGS), and with `--cell` its lattice. Exit code 1 when the forces stay above `--fmax`."""
    from fcl.runs.files import atomic_path
    from fcl.simulation.dynamics import relax as run

    check_structures(output, overwrite)
    calculator, ((index, atoms),) = _prepare(model, structure, cutoffs, device, dtype, radial, skin, last=True)
    atoms.calc = calculator
    with about(structure, index):
        result = run(atoms, fmax=fmax, steps=steps, cell=cell)
        atoms.get_forces()
    with atomic_path(output) as temporary, structure_writer(temporary, output) as append:
        append(atoms)
    held = {"max_force_without_constraints_ev_per_angstrom": largest_force(atoms)} if atoms.constraints else {}
    facts = {
        "output": str(output),
        "converged": result.converged,
        "steps": result.steps,
        "energy_before_ev": result.energy_before,
        "energy_after_ev": result.energy_after,
        "max_force_ev_per_angstrom": result.max_force,
        **held,
        "pairs_per_atom": calculator.pairs_per_atom,
    }
    if as_json:
        print_json(facts)
    else:
        change = 1000.0 * (result.energy_after - result.energy_before) / len(atoms)
        print_facts(
            [
                ("steps", str(result.steps)),
                ("energy", f"{result.energy_after:.5f} eV ({change:+.2f} meV/atom)"),
                ("largest force", f"{result.max_force:.4f} eV/A"),
                *(("without constraints", f"{value:.4f} eV/A, as in the file") for value in held.values()),
                ("pairs per atom", f"{calculator.pairs_per_atom:.1f}"),
            ],
            f"{output}: {atoms.get_chemical_formula()}",
        )
    if not result.converged:
        raise ValueError(f"{structure}: forces of {result.max_force:.4f} eV/A remain after {result.steps} steps")


def md(
    model: Model,
    structure: Structure,
    output: Output,
    cutoffs: CutoffText = None,
    temperature: Annotated[
        float, typer.Option(help="Kelvin; velocities are drawn anew.", min=0.0, callback=finite)
    ] = 300.0,
    timestep: Annotated[float, typer.Option(help="Femtoseconds.", min=1e-3, callback=finite)] = 0.5,
    steps: Annotated[int, typer.Option(help="Number of time steps.", min=1)] = 1000,
    thermostat: Annotated[bool, typer.Option("--nvt", help="Langevin thermostat (NVT) instead of NVE.")] = False,
    friction: Annotated[
        float | None, typer.Option(help="Of the thermostat (1/fs). [default: 0.01]", callback=positive)
    ] = None,
    repeat: Annotated[
        tuple[int, int, int], typer.Option(help="Supercell: repeats along the three lattice vectors.", min=1)
    ] = (1, 1, 1),
    seed: Annotated[int, typer.Option(help="Of velocities and thermostat.", min=0, max=2**32 - 1)] = 0,
    interval: Annotated[int, typer.Option(help="A frame every so many steps, and the last one.", min=1)] = 10,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    radial: Radial = "tables",
    skin: Skin = 0.5,
    as_json: AsJSON = False,
) -> None:
    """Molecular dynamics: NVE by velocity Verlet, or NVT (`--nvt`); writes the trajectory frame by frame.

    The first and the last state are always written. A run that leaves the range of physics ends with exit code 1 and
    keeps the frames written so far.
    """
    from fcl.simulation.dynamics import molecular_dynamics

    if friction is not None and not thermostat:
        raise typer.BadParameter("is for the thermostat: add --nvt", param_hint="--friction")
    check_structures(output, overwrite)
    calculator, ((index, start),) = _prepare(model, structure, cutoffs, device, dtype, radial, skin, last=True)
    if any(n > 1 and not periodic for n, periodic in zip(repeat, start.pbc, strict=True)):
        raise ValueError(f"{structure}: frame {index}: cannot be repeated along a direction without periodicity")
    if (number := len(start) * math.prod(repeat)) > LARGEST_SUPERCELL:
        raise ValueError(f"{structure}: frame {index}: a supercell of {number} atoms exceeds {LARGEST_SUPERCELL:g}")
    with about(structure, index):
        atoms = start.repeat(repeat) if max(repeat) > 1 else start
        atoms.calc = calculator
    pairs = []
    # Not an atomic write, unlike other results: an interrupted run keeps the frames written so far.
    with structure_writer(output) as append:

        def on_frame(now) -> None:
            append(now)
            pairs.append(calculator.pairs_per_atom)

        try:
            with about(structure, index):
                run = molecular_dynamics(
                    atoms, temperature=temperature, timestep=timestep, steps=steps, thermostat=thermostat,
                    friction=0.01 if friction is None else friction, seed=seed, interval=interval, on_frame=on_frame,
                )  # fmt: skip
        except (ValueError, FloatingPointError) as error:
            if not pairs:  # nothing was written
                raise
            raise FloatingPointError(f"{error} ({output} keeps the {len(pairs)} frames before)") from None
        if steps % interval:
            on_frame(atoms)
    facts = {
        "output": str(output),
        "frames": len(pairs),
        "atoms": len(atoms),
        "picoseconds": float(run.times[-1]),
        "mean_temperature_kelvin": float(run.temperature.mean()),
        "energy_drift_mev_per_atom_ps": None if thermostat else run.drift,
        "pairs_per_atom": sum(pairs) / len(pairs),
        "evaluated_by": calculator.path.partition(",")[0],
        "neighbour_lists": calculator.rebuilds,
        "microseconds_per_atom_step": run.microseconds_per_atom_step,
    }
    if as_json:
        print_json(facts)
        return
    lines = [
        ("simulated", f"{facts['picoseconds']:g} ps, {steps} steps, {len(atoms)} atoms, {len(pairs)} frames"),
        ("mean temperature", f"{facts['mean_temperature_kelvin']:.0f} K"),
        *([] if thermostat or steps < 2 else [("energy drift", f"{run.drift:+.3f} meV/atom/ps")]),
        ("pairs per atom", f"{facts['pairs_per_atom']:.1f} (mean)"),
        ("neighbour lists", f"{calculator.rebuilds} in {steps} steps"),
        ("evaluated by", facts["evaluated_by"]),
        ("time", f"{run.microseconds_per_atom_step:.1f} us per atom and step, neighbour lists and output included"),
    ]
    print_facts(lines, f"{output}: {atoms.get_chemical_formula()}")
