"""Shared by the commands: arguments, cutoff syntax, tables and JSON."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fcl.runs.files import plain

Model = Annotated[
    Path,
    typer.Argument(
        help="Model file (.safetensors) with its card (.json) beside it, or a shipped model's name: embedded, mini."
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...; auto takes a GPU where there is one.")]
Precision = Annotated[Literal["float32", "float64"], typer.Option("--dtype", help="Precision of the computation.")]
Radial = Annotated[
    Literal["tables", "network"],
    typer.Option(help="Radial functions from tables (1e-6 eV per atom, 1e-5 eV/A), or by their networks: slower."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, with all digits, instead of a table.")]
CutoffText = Annotated[
    str | None,
    typer.Option("--cutoffs", help="6.0, H=3.9,C=4.6, neighbours=30 or a cutoffs file. [default: 6.0]"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there already.")]


def finite(value: float) -> float:
    """Option callback: reject ``nan`` and ``inf``, which pass the min/max checks, as usage errors."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def positive(value: float | None) -> float | None:
    """Option callback: reject what is not a finite number above zero."""
    if value is not None and not finite(value) > 0.0:
        raise typer.BadParameter("has to be positive")
    return value


def name(value: str | None) -> str | None:
    """Option callback: reject an empty name, as a variable of the shell leaves it that is not set."""
    if value is not None and not value.strip():
        raise typer.BadParameter("is empty: give a name, or leave the option out")
    return value


EnergyKey = Annotated[
    str | None, typer.Option(help="Name of the energy (eV) in the data. [default: energy]", callback=name)
]
ForcesKey = Annotated[
    str | None, typer.Option(help="Name of the forces (eV/A) in the data. [default: forces]", callback=name)
]
StressKey = Annotated[
    str | None,
    typer.Option(help="Name of the stress (eV/A^3, dE/dstrain / V) in the data. [default: stress]", callback=name),
]
References = Annotated[
    str | None,
    typer.Option(
        "--reference-energies",
        help="Energies of the elements (eV) to subtract from the labels: none or H=-13.6,O=-432.1; they are then taken "
        "as they are. [default: those of the model's card]",
    ),
]
Skin = Annotated[
    float, typer.Option(help="Skin of the neighbour list (A); no result depends on it.", min=0.0, callback=finite)
]


def check_output(output: Path, overwrite: bool) -> None:
    """Check that ``output`` can be written before anything is computed; missing folders are created.

    Raises `OSError` with a one-sentence message: exists without ``overwrite``, is a folder, or is not writable.
    """
    if output.is_dir():
        raise IsADirectoryError(f"{output}: is a folder, not a file to write")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output}: is there already; give another name, or --overwrite")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise OSError(f"{output}: cannot be written ({error.strerror})") from None


def parse_cutoffs(text: str | None):
    """``6.0``, ``H=3.9,C=4.6``, a scheme (``neighbours=30``) or a cutoffs file, as a number, dict, `Scheme` or path.

    A malformed list or scheme is a usage error.
    """
    if text is None:
        return None
    try:
        return _number(text)
    except ValueError:
        pass
    if not text.strip():
        raise typer.BadParameter("is empty", param_hint="--cutoffs")
    if "=" not in text or Path(text).exists():
        return Path(text)
    from fcl.cutoffs.schemes import parse_scheme

    try:
        if (scheme := parse_scheme(text)) is not None:
            return scheme
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cutoffs") from None
    return by_element(text, "--cutoffs", "ELEMENT=ANGSTROMS")


def _number(text: str) -> float:
    if "_" in text:
        raise ValueError(f"{text!r}: digit separators are Python's")
    return float(text)


def by_element(text: str, option: str, form: str) -> dict[str, float]:
    """``H=3.9,C=4.6`` as numbers by symbol; a usage error for anything else, and for an element given twice."""
    found: dict[str, float] = {}
    for part in text.split(","):
        symbol, _, value = (word.strip() for word in part.partition("="))
        if symbol in found:
            raise typer.BadParameter(f"{symbol} is given twice", param_hint=option)
        try:
            found[symbol] = _number(value)
        except ValueError:
            raise typer.BadParameter(f"{part.strip()!r} is not of the form {form}", param_hint=option) from None
    return found


def references_of(text: str | None) -> str | dict[str, float] | None:
    """``fit``, ``none`` or ``H=-13.6,O=-432.1``."""
    if text is None or "=" not in text:
        return text
    energies = by_element(text, "--reference-energies", "H=-13.6,O=-432.1")
    if wrong := [symbol for symbol, energy in energies.items() if not math.isfinite(energy)]:
        raise typer.BadParameter(f"{wrong[0]}: is not a finite number", param_hint="--reference-energies")
    return energies


def print_json(result: Any) -> None:
    """Print ``result`` as JSON on standard output; non-finite numbers become null."""
    typer.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table on standard output: first column left-aligned, others right-aligned, at full width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=1000).print(table)  # the terminal width would truncate columns


def print_facts(facts: Iterable[tuple[str, str]], title: str | None = None) -> None:
    """Print names and values, one per line."""
    facts = list(facts)
    if title:
        typer.echo(title)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        typer.echo(f"  {name:<{width}}  {value}")


def cutoff_line(cutoffs: dict[str, float]) -> str:
    """Cutoffs by element on one line: ``H 3.90  C 4.60``."""
    return "  ".join(f"{symbol} {value:.2f}" for symbol, value in cutoffs.items())
