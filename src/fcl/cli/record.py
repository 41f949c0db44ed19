"""``fcl record`` and ``fcl compare``: keep the numbers of a finished run, and compare another run with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fcl.cli.common import AsJSON, print_json


def record(
    run: Annotated[Path, typer.Argument(help="Folder of a finished study, such as results/mini.")],
    record: Annotated[Path, typer.Argument(help="Folder of its record, such as record/mini; replaced as a whole.")],
    picture: Annotated[
        list[str] | None,
        typer.Option(help="Keep numbers and this picture only, such as fig03; can be repeated. [default: everything]"),
    ] = None,
) -> None:
    """Keep numbers, pictures and run manifests of a finished study: figures and tables can be drawn from them again."""
    from fcl.study.records.record import write_record

    files = write_record(run, record, picture or None)
    megabytes = sum((record / file).stat().st_size for file in files) / 1e6
    typer.echo(f"{record}: {len(files)} files, {megabytes:.1f} MB")


def compare(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, such as results/mini.")],
    record: Annotated[Path, typer.Argument(help="Folder of the record, such as record/mini.")],
    worst: Annotated[int, typer.Option(help="How many of the largest differences to print.", min=0)] = 10,
    as_json: AsJSON = False,
) -> None:
    """Compare a finished run with the record, number by number; exit code 1 where something is off.

    On the platform of the record numbers must be equal bit for bit. On another one (versions, processor, threads) they
    must agree within the scatter over seeds. Measured times and memory are left out.
    """
    from dataclasses import asdict

    from fcl.study.records import comparison

    result = comparison.compare(run, record)
    if as_json:
        print_json(asdict(result) | {"passed": result.passed})
    else:
        typer.echo(result.text(worst))
    if not result.passed:
        raise typer.Exit(1)
