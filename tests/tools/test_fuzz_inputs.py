"""The fuzzer of inputs finds a fault that is there, and none in a moment of manifests and cutoffs files."""

import os
import subprocess
import sys

import pytest

from project import ROOT

pytestmark = pytest.mark.heavy

PLANTED = """
import runpy, sys
import fcl.data.manifest as manifest
def load_data_manifest(path):
    raise TypeError("planted")
manifest.load_data_manifest = load_data_manifest
sys.argv = ["fuzz_inputs.py", "--seconds", "0.1", "--kind", "manifest"]
runpy.run_path("tools/fuzz_inputs.py", run_name="__main__")
"""


def fuzz(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_moment_of_fuzzing():
    status, said = fuzz("tools/fuzz_inputs.py", "--seconds", "1", "--kind", "manifest", "--kind", "cutoffs")
    assert status == 0 and "inputs: 0 faults" in said, said


def test_a_planted_fault_is_found():
    status, said = fuzz("-c", PLANTED)
    assert status == 1 and "manifest: TypeError: planted" in said, said
