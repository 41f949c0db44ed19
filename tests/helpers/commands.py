"""The command `fcl` in tests: in this process, or in one of its own as users run it."""

import os
import shutil
import subprocess
import sys

from typer.testing import CliRunner

from fcl.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def process(*arguments):
    """Run the command as users do; it has to succeed. Returns its standard output and error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fcl.cli", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def copy_model(model, folder):
    """Copy a model file and its card."""
    for path in (model, model.with_suffix(".json")):
        shutil.copyfile(path, folder / path.name)
