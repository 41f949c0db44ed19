"""Forks of a process that has computed with two threads: without care they wait forever for threads they lack."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy

#: Forward and backward at two threads, then a pool of forks, each of which forks again; one of them sets up a training.
PROGRAM = """
import multiprocessing, os
import numpy, torch
from types import SimpleNamespace
from ase.build import bulk
from fcl.runs.device import set_up
from fcl.simulation.calculator import FCLCalculator

torch.set_num_threads(2)
calculator = FCLCalculator("mini", 6.0)

atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(2)
atoms.rattle(0.05)

def forces():
    atoms.calc = calculator
    return atoms.get_forces()[0]

def work(number):
    if number == 2:
        try:
            atoms.calc = FCLCalculator("mini", 6.0, backend="compiled")
            atoms.get_forces()
        except ValueError as error:
            assert "cannot be used in a fork" in str(error)
        else:
            raise AssertionError("a compiled model in a fork")
    if number == 1:
        set_up(SimpleNamespace(threads=2, tf32=False, dtype="float64", device="cpu"))
    mine = forces()
    reader, writer = os.pipe()
    if not os.fork():
        calculator.reset()
        os.write(writer, forces().tobytes())
        os._exit(0)
    os.wait()
    return mine.tolist(), numpy.frombuffer(os.read(reader, 24)).tolist()

expected = forces()
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map(work, range(4))
assert torch.get_num_threads() == 2
assert abs(numpy.array(found) - expected).max() < 1e-10, found
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_forks_compute():
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP", "MKL"))}
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = program.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)  # forks that wait
    assert out == "done\n", err
    assert "compute.threads: 1 instead of 2" in err
