"""``fcl export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fcl.cli.common import (
    AsJSON,
    CutoffText,
    Model,
    Precision,
    Radial,
    cutoff_line,
    parse_cutoffs,
    print_facts,
    print_json,
)


def export(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; one that exists stays as it is.")],
    cutoffs: CutoffText = None,
    format: Annotated[Literal["metatomic"], typer.Option(help="metatomic: one file, *.pt.")] = "metatomic",
    elements: Annotated[
        str | None, typer.Option(help="Elements that will occur, as H,C,N,O. [default: all that have a cutoff]")
    ] = None,
    structure: Annotated[
        Path | None, typer.Option(help="Structures whose elements will occur, instead of --elements.")
    ] = None,
    dtype: Precision = "float64",
    radial: Radial = "tables",
    as_json: AsJSON = False,
) -> None:
    """Write a model with fixed cutoffs for another engine: LAMMPS, i-PI, GROMACS, PLUMED, ... by metatomic.

    The file holds the cutoffs, where they come from and the model's card, and needs no `fcl` where it is used. With
    cutoffs by element it knows those elements only. The engine looks for neighbours within the largest cutoff: say
    which elements will occur, so that no other element's cutoff counts.
    """
    if elements is not None and structure is not None:
        raise typer.BadParameter("is given together with --structure", param_hint="--elements")
    try:
        from fcl.engines.metatomic import save_metatomic
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("metatomic", "metatensor"):
            raise
        message = f"--format {format} needs a package that is not installed: pip install metatomic-torch"
        raise ValueError(message) from None
    from fcl.cli.structures import check_cutoffs
    from fcl.cutoffs.choice import CutoffChoice
    from fcl.data.read import read_structures
    from fcl.models.files import load
    from fcl.runs.device import torch_dtype

    potential = load(model, dtype=torch_dtype("float64"))
    choice, frames = CutoffChoice(potential, parse_cutoffs(cutoffs)), []
    if structure is not None:
        frames = read_structures(structure, potential.settings.num_elements)
        check_cutoffs(choice, structure, ((index, atoms.numbers) for index, atoms in enumerate(frames)))
        numbers = sorted({int(number) for atoms in frames for number in atoms.numbers})
    else:
        numbers = None if elements is None else _numbers(elements)
    facts = save_metatomic(potential, choice, output, torch_dtype(dtype), radial=radial, elements=numbers)
    if frames:
        facts["candidates_per_atom"] = _candidates_per_atom(frames[-1], facts["largest_cutoff_angstrom"])
    if as_json:
        print_json({"output": str(output), "format": format, **facts})
        return
    given = facts["cutoffs_angstrom"]
    values = set(given.values())
    same = f"{values.pop():g} for all {len(given)} elements" if len(values) == 1 else cutoff_line(given)
    print_facts(
        [
            ("format", f"{format}, {dtype}, radial functions: {facts['radial']}"),
            ("cutoffs (A)", same),
            ("neighbours within", f"{facts['largest_cutoff_angstrom']:g} A"),
            *[
                ("candidates", f"{facts['candidates_per_atom']:.1f} per atom of the last structure of {structure}")
                for _ in frames[:1]
            ],
            ("interaction range", f"{facts['interaction_range_angstrom']:g} A"),
            ("weights", f"{facts['card']['weights_sha256'][:16]}..."),
        ],
        str(output),
    )


def _numbers(symbols: str) -> list[int]:
    """Atomic numbers of ``H,C,N,O``; a usage error for anything else."""
    from ase.data import atomic_numbers

    numbers = [atomic_numbers.get(symbol.strip(), 0) for symbol in symbols.split(",")]
    for symbol, number in zip(symbols.split(","), numbers, strict=True):
        if number < 1:
            raise typer.BadParameter(f"{symbol.strip()!r} is not a chemical symbol", param_hint="--elements")
    return numbers


def _candidates_per_atom(atoms, reach: float) -> float:
    """Directed pairs per atom within ``reach`` (A), from which the file chooses."""
    import numpy as np

    from fcl.data.neighbors import half_pairs

    return 2.0 * half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), reach)[0].shape[1] / len(atoms)
