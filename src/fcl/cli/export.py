"""``fcl export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fcl.cli.common import AsJSON, CutoffText, Model, Precision, cutoff_line, parse_cutoffs, print_facts, print_json


def export(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; one that exists stays as it is.")],
    cutoffs: CutoffText = None,
    format: Annotated[Literal["metatomic"], typer.Option(help="metatomic: one file, *.pt.")] = "metatomic",
    dtype: Precision = "float64",
    as_json: AsJSON = False,
) -> None:
    """Write a model with fixed cutoffs for another engine: LAMMPS, i-PI, GROMACS, PLUMED, ... by metatomic.

    The file holds the cutoffs, where they come from and the model's card, and needs no `fcl` where it is used. With
    cutoffs by element it knows those elements only.
    """
    try:
        from fcl.engines.metatomic import save_metatomic
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("metatomic", "metatensor"):
            raise
        message = f"--format {format} needs a package that is not installed: pip install metatomic-torch"
        raise ValueError(message) from None
    from fcl.cutoffs.choice import CutoffChoice
    from fcl.models.files import load
    from fcl.runs.device import torch_dtype

    potential = load(model, dtype=torch_dtype("float64"))
    facts = save_metatomic(potential, CutoffChoice(potential, parse_cutoffs(cutoffs)), output, torch_dtype(dtype))
    if as_json:
        print_json({"output": str(output), "format": format, **facts})
        return
    given = facts["cutoffs_angstrom"]
    values = set(given.values())
    same = f"{values.pop():g} for all {len(given)} elements" if len(values) == 1 else cutoff_line(given)
    print_facts(
        [
            ("format", f"{format}, {dtype}"),
            ("cutoffs (A)", same),
            ("interaction range", f"{facts['interaction_range_angstrom']:g} A"),
            ("weights", f"{facts['card']['weights_sha256'][:16]}..."),
        ],
        str(output),
    )
