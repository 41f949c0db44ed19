"""``fcl record``: store the numbers of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
