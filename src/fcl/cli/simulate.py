"""``fcl predict``, ``fcl relax`` and ``fcl md``."""

from __future__ import annotations

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
    Skin,
    check_output,
    finite,
    parse_cutoffs,
    print_facts,
    print_json,
    print_table,
)

Structures = Annotated[Path, typer.Argument(help="Structures in any format that ASE reads.")]
Structure = Annotated[Path, typer.Argument(help="A structure in any format that ASE reads; of several, the last.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ to write.")]


def _prepare(model: Path, structures: Path, cutoffs: str | None, device: str, dtype: str, skin: float):
    """Validated calculator and structures."""
    from fcl.data.read import read_structures
    from fcl.simulation.calculator import FCLCalculator

    given = parse_cutoffs(cutoffs)
    calculator = FCLCalculator(model, given, device=device, dtype=dtype, skin=skin)
    return calculator, read_structures(structures, calculator.model.settings.num_elements)


def _labelled(atoms):
    """Copy with the results attached, for writing extended XYZ. They replace labels of the same names.

    Text of several lines and empty text in ``info`` cannot be written: the former is joined, the latter left out.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    results = {key: value for key, value in atoms.calc.results.items() if key not in ("energies", "free_energy")}
    for key in results.keys() & copy.arrays.keys():
        del copy.arrays[key]
    info = {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in copy.info.items()}
    copy.info = {key: value for key, value in info.items() if key not in results and str(value)}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def predict(
    model: Model,
    structures: Structures,
    output: Output,
    cutoffs: CutoffText = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    as_json: AsJSON = False,
) -> None:
    """Energy, forces and (where there is a cell) stress of structures, written as extended XYZ."""
    from ase.io import write

    from fcl.runs.files import atomic_path
    from fcl.runs.log import progress

    check_output(output, overwrite)
    calculator, frames = _prepare(model, structures, cutoffs, device, dtype, skin=0.0)
    labelled, rows = [], []
    for index, atoms in enumerate(progress(frames, "predicting", len(frames))):
        atoms.calc = calculator
        try:
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        except FloatingPointError as error:
            raise FloatingPointError(f"{structures}: frame {index}: {error}") from None
        labelled.append(_labelled(atoms))
        rows.append(
            {
                "frame": index,
                "formula": atoms.get_chemical_formula(),
                "atoms": len(atoms),
                "energy_ev_per_atom": energy / len(atoms),
                "max_force_ev_per_angstrom": float((forces**2).sum(1).max() ** 0.5),
                "pairs_per_atom": calculator.pairs_per_atom,
            }
        )
    with atomic_path(output) as temporary:
        write(temporary, labelled, format="extxyz")
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
    fmax: Annotated[float, typer.Option(help="Largest force that may remain (eV/A).", min=0.0, callback=finite)] = 0.01,
    steps: Annotated[int, typer.Option(help="At most so many steps.", min=1)] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    skin: Skin = 0.5,
    as_json: AsJSON = False,
) -> None:
    """Relax a structure (LBFGS), and with `--cell` its lattice. Exit code 1 when the forces stay above `--fmax`."""
    from ase.io import write

    from fcl.runs.files import atomic_path
    from fcl.simulation.dynamics import relax as run

    check_output(output, overwrite)
    calculator, frames = _prepare(model, structure, cutoffs, device, dtype, skin)
    atoms = frames[-1]
    atoms.calc = calculator
    result = run(atoms, fmax=fmax, steps=steps, cell=cell)
    atoms.get_forces()
    with atomic_path(output) as temporary:
        write(temporary, _labelled(atoms), format="extxyz")
    facts = {
        "output": str(output),
        "converged": result.converged,
        "steps": result.steps,
        "energy_before_ev": result.energy_before,
        "energy_after_ev": result.energy_after,
        "max_force_ev_per_angstrom": result.max_force,
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
    friction: Annotated[float, typer.Option(help="Of the thermostat (1/fs).", min=0.0, callback=finite)] = 0.01,
    repeat: Annotated[
        tuple[int, int, int], typer.Option(help="Supercell: repeats along the three lattice vectors.", min=1)
    ] = (1, 1, 1),
    seed: Annotated[int, typer.Option(help="Of velocities and thermostat.", min=0)] = 0,
    interval: Annotated[int, typer.Option(help="A frame every so many steps.", min=1)] = 10,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float64",
    skin: Skin = 0.5,
    as_json: AsJSON = False,
) -> None:
    """Molecular dynamics: NVE by velocity Verlet, or NVT (`--nvt`); writes the trajectory frame by frame."""
    from ase.io.extxyz import write_extxyz

    from fcl.simulation.dynamics import molecular_dynamics

    check_output(output, overwrite)
    calculator, frames = _prepare(model, structure, cutoffs, device, dtype, skin)
    if any(n > 1 and not periodic for n, periodic in zip(repeat, frames[-1].pbc, strict=True)):
        raise ValueError(f"{structure}: cannot be repeated along a direction without periodicity")
    atoms = frames[-1].repeat(repeat)
    atoms.calc = calculator
    atoms.get_forces()  # a structure that cannot be evaluated must not leave a file
    pairs = []
    # Not an atomic write, unlike other results: an interrupted run keeps the frames written so far.
    with output.open("w", encoding="utf-8") as stream:

        def on_frame(now) -> None:
            pairs.append(calculator.pairs_per_atom)
            write_extxyz(stream, [_labelled(now)])
            stream.flush()

        run = molecular_dynamics(
            atoms, temperature=temperature, timestep=timestep, steps=steps, thermostat=thermostat, friction=friction,
            seed=seed, interval=interval, on_frame=on_frame,
        )  # fmt: skip
    facts = {
        "output": str(output),
        "frames": len(pairs),
        "atoms": len(atoms),
        "picoseconds": float(run.times[-1]),
        "mean_temperature_kelvin": float(run.temperature.mean()),
        "energy_drift_mev_per_atom_ps": None if thermostat else run.drift,
        "pairs_per_atom": sum(pairs) / len(pairs),
        "neighbour_lists": calculator.rebuilds,
        "microseconds_per_atom_step": run.microseconds_per_atom_step,
    }
    if as_json:
        print_json(facts)
        return
    lines = [
        ("simulated", f"{facts['picoseconds']:g} ps, {steps} steps, {len(atoms)} atoms, {len(pairs)} frames"),
        ("mean temperature", f"{facts['mean_temperature_kelvin']:.0f} K"),
        *([] if thermostat else [("energy drift", f"{run.drift:+.3f} meV/atom/ps")]),
        ("pairs per atom", f"{facts['pairs_per_atom']:.1f} (mean)"),
        ("neighbour lists", f"{calculator.rebuilds} in {steps} steps"),
        ("time", f"{run.microseconds_per_atom_step:.1f} us per atom and step, neighbour lists and output included"),
    ]
    print_facts(lines, f"{output}: {atoms.get_chemical_formula()}")
