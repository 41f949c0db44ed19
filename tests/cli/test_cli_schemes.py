"""Commands with cutoffs that follow the environment: results of the calculator, pairs, refusals."""

import json

import numpy as np
import pytest
from ase.io import read, write

import fcl
from commands import copy_model, run
from fcl.cutoffs.file import write_scheme

pytestmark = pytest.mark.heavy

SCHEME = "neighbours=12,width=0.8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, crystals, trained_model):
    """A folder with a model, two labelled crystals, one of them alone, and files with schemes."""
    folder = tmp_path_factory.mktemp("schemes")
    copy_model(trained_model, folder)
    frames = [atoms for atoms in read(crystals, ":", format="extxyz") if atoms.info["subset"] == "SHIFTML-molcrys"]
    write(folder / "crystals.xyz", frames[:2])
    write(folder / "one.xyz", frames[0].copy())
    write_scheme(folder / "mine.json", fcl.NeighbourCutoffs(12, width=0.8), {})
    write_scheme(folder / "hydrogen.json", fcl.NeighbourCutoffs({"H": 12}), {})
    return folder


def expected(atoms):
    atoms = atoms.copy()
    atoms.calc = fcl.FCLCalculator("small.safetensors", fcl.NeighbourCutoffs(12, width=0.8))
    atoms.get_forces()
    return atoms


def facts_of(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_predict(folder):
    frames = read("crystals.xyz", ":")
    for number, cutoffs in enumerate((SCHEME, "mine.json")):
        output = f"predicted{number}.xyz"
        rows, said = facts_of("predict", "small.safetensors", "crystals.xyz", "-o", output, "--cutoffs", cutoffs)
        assert said.count("radial functions are evaluated by their networks: neighbours=12,width=0.8") == 1
        for row, atoms, found in zip(rows["frames"], frames, read(output, ":"), strict=True):
            known = expected(atoms)
            assert row["pairs_per_atom"] == known.calc.pairs_per_atom
            assert found.get_potential_energy() == pytest.approx(known.get_potential_energy(), abs=1e-7)
            np.testing.assert_allclose(found.get_forces(), known.get_forces(), atol=1e-6)
            np.testing.assert_allclose(found.get_stress(), known.get_stress(), atol=1e-6)


def test_evaluate(folder):
    """Errors are those of the calculator's forces; pairs are those that the network evaluates."""
    arguments = ["evaluate", "small.safetensors", "crystals.xyz", "--dtype", "float64"]
    arguments += ["--cutoffs", SCHEME, "--cutoffs", "mine.json", "--cutoffs", "dynamic=12", "--cutoffs", "7.0"]
    first, second, third, everything = facts_of(*arguments)[0]["results"]
    frames = read("crystals.xyz", ":")
    known = [expected(atoms) for atoms in frames]
    assert first["cutoffs"] == SCHEME and first["pairs_per_atom"] == second["pairs_per_atom"]
    assert first["pairs_per_atom"] == pytest.approx(np.mean([atoms.calc.pairs_per_atom for atoms in known]))
    assert third["pairs_per_atom"] != first["pairs_per_atom"] < 0.5 * everything["pairs_per_atom"]
    assert first["microseconds_per_atom"] > 0
    errors = np.concatenate(
        [(one.get_forces() - atoms.get_forces()).ravel() for one, atoms in zip(known, frames, strict=True)]
    )
    assert first["force_rmse_ev_per_angstrom"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert SCHEME in run(*arguments).stdout


def test_relax_and_md(folder):
    arguments = ["relax", "small.safetensors", "one.xyz", "-o", "relaxed.xyz", "--cutoffs", SCHEME, "--fmax", "9"]
    facts, _ = facts_of(*arguments)
    assert facts["converged"] and facts["pairs_per_atom"] > 0
    arguments = ["md", "small.safetensors", "one.xyz", "-o", "md.xyz", "--cutoffs", "mine.json", "--steps", "5"]
    facts, _ = facts_of(*arguments, "--timestep", "0.1", "--interval", "5")
    assert facts["evaluated_by"] == "network"
    assert facts["pairs_per_atom"] == pytest.approx(expected(read("one.xyz")).calc.pairs_per_atom, rel=0.1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["export", "small.safetensors", "-o", "m.pt", "--cutoffs", SCHEME], "neighbours=12,width=0.8 follow the env"),
        (["export", "small.safetensors", "-o", "m.pt", "--cutoffs", "mine.json"], "cannot be exported: give them by"),
        (
            ["evaluate", "small.safetensors", "crystals.xyz", "--cutoffs", "hydrogen.json"],
            "crystals.xyz: frame 0: hydrogen.json: neighbours: no number of neighbours is given for C",
        ),
        (
            ["predict", "small.safetensors", "one.xyz", "-o", "x.xyz", "--cutoffs", "neighbours=9,upper=8"],
            "cutoffs: upper: cutoff 8.0 A is not within",
        ),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence(arguments, message, folder):
    if arguments[0] == "export":
        pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    done = run(*arguments)
    assert done.exit_code == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
    assert not [path for path in folder.iterdir() if path.name.startswith(("x.", "m."))]


@pytest.mark.parametrize("cutoffs", ["neighbours=many", "neighbours=0", "neighbours=9,depth=2", "neighbors=9"])
def test_wrong_schemes_are_usage_errors(cutoffs):
    done = run("predict", "small.safetensors", "one.xyz", "-o", "y.xyz", "--cutoffs", cutoffs)
    assert (done.exit_code == 2 and "Usage: " in done.stderr) or "is not a chemical symbol" in done.stderr
