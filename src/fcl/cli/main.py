"""The command ``fcl``: train and use a model from the shell.

Heavy imports are deferred until a command runs, so that help is fast. Invalid input gives a one-sentence error on
standard error and exit code 1; a usage error gives exit code 2.
"""

from __future__ import annotations

import logging
import sys
import warnings

import typer
from typer.core import TyperGroup


class _Group(TyperGroup):
    """Report library errors as one sentence; other exceptions (bugs) keep their traceback."""

    def invoke(self, ctx):
        from fcl.runs.log import log_to_standard_error

        log_to_standard_error()
        before = logging.root.level
        logging.root.setLevel(logging.ERROR)  # mace-torch logs missing optional packages on import
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except Exception as error:
                from fcl.config.errors import ConfigError

                if not isinstance(error, ValueError | OSError | FloatingPointError | ConfigError):
                    raise
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(1) from None
            finally:
                logging.root.setLevel(before)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=sys.stderr)


app = typer.Typer(
    name="fcl",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Train a Flexible-Cutoff-Learning potential, choose its cutoffs for your system, then compute with them.\n\n"
        "Cutoffs are angstroms, and are given in one of four ways: a number for all atoms (`--cutoffs 6.0`), elements "
        "(`--cutoffs H=3.9,C=4.6`), a number of neighbours (`--cutoffs neighbours=30`) or a cutoffs file "
        "(`--cutoffs cutoffs.json`), as `fcl calibrate` writes it."
    ),
)


def _register() -> None:
    from fcl.cli import active, calibrate, export, models, record, simulate, train

    app.command("info")(models.info)
    app.command("convert")(models.convert)
    app.command("train")(train.train)
    app.command("active")(active.active)
    app.command("evaluate")(models.evaluate)
    app.command("calibrate")(calibrate.calibrate)
    app.command("predict")(simulate.predict)
    app.command("relax")(simulate.relax)
    app.command("md")(simulate.md)
    app.command("export")(export.export)
    app.command("record")(record.record)
    app.command("compare")(record.compare)


_register()
