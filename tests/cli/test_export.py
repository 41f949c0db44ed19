"""``fcl export``: as a process, and what it says of bad input."""

import functools
import json
import sys

import pytest
from ase.io import read

import commands
from export_examples import TOLERANCE
from fcl import FCLCalculator

pytestmark = pytest.mark.heavy

ELEMENTS = "H=3.9,C=4.6,N=5.0,O=4.8,S=5.5"


run = functools.partial(commands.run, "export")


def test_a_file_is_written_and_computes(trained_model, crystals):
    pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    metatomic_ase = pytest.importorskip("metatomic_ase", reason="metatomic-ase is not installed")
    text, errors = commands.process("export", trained_model, "-o", "out/m.pt", "--cutoffs", ELEMENTS)
    assert not errors and "H 3.90  C 4.60" in text and "interaction range  11 A" in text
    atoms = next(atoms for atoms in read(crystals, ":", format="extxyz") if set(atoms.symbols) <= set("HCNOS"))
    atoms.calc = metatomic_ase.MetatomicCalculator("out/m.pt", device="cpu")
    other = atoms.copy()
    other.calc = FCLCalculator(
        trained_model, {key: float(value) for key, value in (part.split("=") for part in ELEMENTS.split(","))}
    )
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=TOLERANCE)
    assert run(trained_model, "-o", "out/m.pt").stderr == "error: out/m.pt: exists already; it is not overwritten\n"
    done = run(trained_model, "-o", "uniform.pt", "--dtype", "float32", "--json")
    facts = json.loads(done.stdout)
    assert done.exit_code == 0 and facts["dtype"] == "float32" and len(facts["cutoffs_angstrom"]) == 100
    assert set(facts["cutoffs_angstrom"].values()) == {6.0}


def test_bad_input_is_named(trained_model):
    pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    for arguments, message in (
        (["none.safetensors", "-o", "m.pt"], "none.safetensors: no such model file"),
        ([trained_model, "-o", "m.json"], "m.json: the name of a metatomic file ends in .pt"),
        ([trained_model, "-o", "m.pt", "--cutoffs", "7.5"], "cutoff 7.5 A is not within (0, 7.0] A"),
        ([trained_model, "-o", "m.pt", "--cutoffs", "no.json"], "no.json: no such cutoffs file"),
    ):
        done = run(*arguments)
        assert done.exit_code == 1 and message in done.stderr, done.stderr
    assert run(trained_model, "-o", "m.pt", "--format", "openmm").exit_code == 2


def test_a_missing_package_is_named(trained_model, monkeypatch):
    for name in ("metatensor.torch", "metatomic.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "fcl.engines.metatomic", raising=False)
    done = run(trained_model, "-o", "m.pt")
    assert done.exit_code == 1 and "pip install metatomic-torch" in done.stderr
