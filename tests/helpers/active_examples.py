"""Calculators and tasks that succeed, fail, hang or crash, for worker processes of `fcl.active` to import."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.emt import EMT


class Faulty(EMT):
    """EMT that goes wrong for chosen structures; each call is a line in ``calls``.

    ``faults``: by the number of atoms, what happens: "raise", "hang", "nan", "exit", "crash".
    """

    def __init__(self, calls, faults=None, **arguments):
        super().__init__(**arguments)
        self.calls, self.faults = calls, faults or {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        with open(self.calls, "a") as file:
            file.write(f"{len(atoms)}\n")
        cured = Path(self.calls).with_name("cured").exists()
        fault = None if cured else self.faults.get(str(len(atoms)))
        if fault == "raise":
            raise RuntimeError("no convergence\nafter 100 steps")
        if fault == "hang":
            time.sleep(1000.0)
        if fault == "exit":
            sys.exit("licence expired")
        if fault == "crash":
            os.abort()
        super().calculate(atoms, properties, system_changes)
        if fault == "nan":
            self.results["forces"] = np.full((len(atoms), 3), np.nan)


def make_faulty(**arguments):
    """A function, not a class, that makes a calculator."""
    return Faulty(**arguments)


def no_calculator():
    return {"energy": 0.0}


def act(what, path=None):
    """A task of the pool."""
    if what == "raise":
        raise KeyError("it is not there")
    if what == "hang":  # with a program of its own
        program = subprocess.Popen(["sleep", "1000"])
        Path(path).write_text(f"{os.getpid()} {program.pid}")
        time.sleep(1000.0)
    if what == "crash":
        os.abort()
    if what == "exit":
        sys.exit(3)
    return f"{what} done"


def refuse():
    raise ImportError("no such module")


def alive(pid):
    """Whether a process is running (and no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
