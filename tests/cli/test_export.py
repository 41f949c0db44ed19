"""``fcl export``: as a process, and what it says of bad input."""

import functools
import json
import sys

import pytest
from ase.build import bulk
from ase.io import read, write

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


def test_elements_that_occur_decide_how_far_neighbours_are_looked_for(trained_model, crystals):
    pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    cutoffs = "H=3.9,C=4.6,O=4.8,S=6.9"
    whole = json.loads(run(trained_model, "-o", "whole.pt", "--cutoffs", cutoffs, "--json").stdout)
    assert whole["largest_cutoff_angstrom"] == 6.9 and whole["interaction_range_angstrom"] == 13.8
    part = json.loads(run(trained_model, "-o", "p.pt", "--cutoffs", cutoffs, "--elements", "O, H,C", "--json").stdout)
    assert part["largest_cutoff_angstrom"] == 4.8 and list(part["cutoffs_angstrom"]) == ["H", "C", "O"]
    assert part["radial"] == "tables"
    write("ice.xyz", bulk("O", "sc", a=2.3), format="extxyz")
    given = (trained_model, "--cutoffs", cutoffs, "--structure", "ice.xyz")
    done = run(*given, "-o", "ice.pt", "--radial", "network")
    assert done.exit_code == 0, done.stderr
    assert "radial functions: network" in done.stdout and "neighbours within  4.8 A" in done.stdout
    # 6 + 12 + 8 + 6 neighbours within two lattice constants
    assert "32.0 per atom of the last structure of ice.xyz" in done.stdout
    for arguments, message in (
        (["--elements", "H,Xx"], "'Xx' is not a chemical symbol"),
        (["--elements", "H", "--structure", "ice.xyz"], "is given together with --structure"),
    ):
        done = run(trained_model, "-o", "no.pt", "--cutoffs", cutoffs, *arguments)
        assert done.exit_code == 2 and message in " ".join(done.stderr.split())
    done = run(trained_model, "-o", "no.pt", "--cutoffs", cutoffs, "--elements", "H,Fe")
    assert done.exit_code == 1 and "no cutoff is given for Fe" in done.stderr
    write("iron.xyz", bulk("Fe"), format="extxyz")
    done = run(trained_model, "-o", "no.pt", "--cutoffs", cutoffs, "--structure", "iron.xyz")
    assert done.exit_code == 1 and "iron.xyz: frame 0: " in done.stderr


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
