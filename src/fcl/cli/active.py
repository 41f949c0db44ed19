"""``fcl active``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fcl.cli.common import AsJSON, print_facts, print_json, print_table


def active(
    settings: Annotated[Path, typer.Argument(help="YAML file: calculator, unit cells and more (docs/active.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that is written.")] = Path("active"),
    processes: Annotated[
        int | None, typer.Option(help="Labels, dynamics and trainings at a time. [default: CPU cores]", min=1)
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Make training data and a model for a material, from dynamics of small cells labelled by an ASE calculator.

    When it was interrupted or killed, the same command goes on; no label is computed twice.
    """
    from fcl.active.loop import learn
    from fcl.active.settings import load_active

    chosen = load_active(settings)
    summary = learn(chosen, output, folder=settings.parent, processes=processes or os.cpu_count() or 1)
    if as_json:
        print_json(summary)
        return
    cost = next(key for key in summary if key.startswith("label_cost"))
    print_facts(
        [
            ("end", summary["ended"]),
            ("rounds", str(summary["rounds"])),
            (
                "labels",
                f"{summary['training']} training, {summary['validation']} validation, {summary['failed']} failed",
            ),
            ("time of labels", f"{summary['label_seconds']:.1f} s"),
            ("cost as n^3", f"{summary[cost]:.3g} cells of {cost.split('_')[-2]} atoms"),
        ]
    )
    if judged := summary.get("uncertainty"):
        rows = [
            (
                name,
                *(f"{parts[key][what]:.2f}" for key in ("all", "val") for what in ("rank_correlation", "worst_found")),
            )
            for name, parts in judged.items()
        ]
        columns = ("uncertainty", "rank correlation", "worst 5% found", "at random", "worst 5% found")
        print_table(columns, rows)
    if summary["failed"]:
        typer.echo(f"failed labels: {output / 'failed.csv'}")
    typer.echo(f"training data: {output / 'train.xyz'}, {output / 'val.xyz'}")
    typer.echo(f"next: fcl calibrate {summary['model']} YOUR_SYSTEM.xyz --max-error-increase 1%")
