"""What the commands read and write: layers and molecules of any cell, databases, and paths that are no files."""

import json

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import read, write
from typer.testing import CliRunner

from examples import SMALL_MODEL
from fcl.cli.main import app
from fcl.data.read import read_structures

pytestmark = pytest.mark.heavy

#: Third vectors of a layer: as it should be, in its plane, as another one, none.
THIRD = {"apart": [0, 0, 20], "in the plane": [4, 3.5, 0], "doubled": [4, 0, 0], "none": [0, 0, 0]}


def layers(third):
    """Four layers of CO, labelled at random."""
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(4):
        positions = [[0, 0, 0], [1.2, 0, 0.3], [2, 2, 1]] + 0.1 * rng.normal(size=(3, 3))
        atoms = Atoms("COH", positions, cell=[[4, 0, 0], [0, 3.5, 0], third], pbc=[True, True, False])
        atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(3, 3)))
        frames.append(atoms)
    return frames


@pytest.fixture
def run(tmp_path, monkeypatch, trained_model):
    """Run a command in a folder of its own that holds the layers; it has to succeed."""
    monkeypatch.chdir(tmp_path)
    for name, third in THIRD.items():
        write(f"{name}.xyz", layers(third), format="extxyz")
    flat = [Atoms("COH", atoms.positions, cell=np.ones((3, 3)), pbc=False) for atoms in layers([0, 0, 20])]
    write("molecules.xyz", flat, format="extxyz")
    write("free.xyz", [Atoms("COH", atoms.positions) for atoms in flat], format="extxyz")

    def invoke(command, *arguments):
        done = CliRunner().invoke(app, [command, str(trained_model), *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return invoke


def predicted(run, name, *arguments):
    run("predict", f"{name}.xyz", "-o", "out.xyz", "--overwrite", *arguments)
    return read("out.xyz", ":")


@pytest.mark.parametrize("name", [name for name in THIRD if name != "apart"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_third_vector_of_a_layer_does_not_matter(run, name, dtype):
    """Not for energies and forces; there is a stress only where there is a volume."""
    for found, expected in zip(
        predicted(run, name, "--dtype", dtype), predicted(run, "apart", "--dtype", dtype), strict=True
    ):
        assert found.pbc.tolist() == [True, True, False]
        assert found.get_potential_energy() == expected.get_potential_energy()
        np.testing.assert_array_equal(found.get_forces(), expected.get_forces())
        assert "stress" in expected.calc.results and "stress" not in found.calc.results


def test_the_cell_of_a_molecule_does_not_matter(run):
    for found, expected in zip(predicted(run, "molecules"), predicted(run, "free"), strict=True):
        assert found.get_potential_energy() == expected.get_potential_energy()
        assert "stress" not in found.calc.results


@pytest.mark.parametrize("name", ["in the plane", "none"])
def test_every_command_takes_a_layer_of_any_third_vector(run, name):
    run("relax", f"{name}.xyz", "-o", "relaxed.xyz", "--fmax", "1000")
    run("md", f"{name}.xyz", "-o", "md.xyz", "--steps", "2", "--timestep", "0.01", "--repeat", "2", "1", "1")
    answers = {}
    for file in (f"{name}.xyz", "apart.xyz"):
        rows = json.loads(run("evaluate", file, "--json"))["results"]
        answers[file] = [rows[0]["force_rmse_ev_per_angstrom"], rows[0]["pairs_per_atom"]]
        run("calibrate", file, "-o", f"{file}.json", "--lambda", "1e-3", "--epochs", "1", "--held-out", file)
        answers[file].append(json.loads(open(f"{file}.json").read())["cutoffs"])
    first, second = answers.values()
    assert first == second


@pytest.mark.slow
def test_a_training_takes_a_layer_of_any_third_vector(run):
    settings = {"model": {**SMALL_MODEL, "radial_mlp": [16, 16]}}
    open("small.yaml", "w").write(yaml.safe_dump(settings))
    for name in ("in the plane", "apart"):
        write("val.xyz", layers(THIRD[name])[:2])
        short = (
            "--config",
            "small.yaml",
            "--batch-size",
            "4",
            "--epochs",
            "1",
            "--device",
            "cpu",
            "--kind",
            "pretrain",
        )
        done = CliRunner().invoke(app, ["train", "--train", f"{name}.xyz", "--val", "val.xyz", *short, "-o", name])
        assert done.exit_code == 0, done.output
    assert open("apart/pretrain.safetensors", "rb").read() == open("in the plane/pretrain.safetensors", "rb").read()


@pytest.mark.parametrize("name", ["a.db", "a.json", "a.traj", "a.xyz"])
def test_predict_keeps_what_a_file_says_of_its_structures(run, name):
    """Key-value pairs and data of databases too; results of the model replace labels of the same name."""
    atoms = layers([0, 0, 20])[0]
    pairs = {"config_type": "layer", "REF_energy": -1.5} | ({"note": ""} if name == "a.traj" else {})
    arrays = {"REF_forces": np.arange(9.0).reshape(3, 3)}
    if name.endswith((".db", ".json")):
        with connect(name) as database:
            data = {**arrays, "forces": np.zeros((3, 3)), "text": "two\nlines", "setup": {"k": 4}}
            database.write(atoms, config_type="layer", REF_energy=-1.5, data=data)
    else:
        atoms.info.update(pairs | {"text": "two lines", "setup": {"k": 4}})
        atoms.arrays |= arrays
        write(name, atoms)
    run("predict", name, "-o", "out.xyz")
    (found,) = read_structures("out.xyz")
    assert {key: found.info[key] for key in ("config_type", "REF_energy", "text", "setup")} == {
        "config_type": "layer", "REF_energy": -1.5, "text": "two lines", "setup": {"k": 4}
    }  # fmt: skip
    if name != "a.traj":  # ASE keeps no arrays of other names there
        np.testing.assert_array_equal(found.arrays["REF_forces"], arrays["REF_forces"])
    run("predict", "apart.xyz", "-o", "other.xyz")
    np.testing.assert_allclose(read("out.xyz").get_forces(), read("other.xyz", 0).get_forces(), atol=1e-6)


COMMANDS = {
    "predict": ["{}", "-o", "x.xyz"],
    "relax": ["{}", "-o", "x.xyz"],
    "md": ["{}", "-o", "x.xyz"],
    "evaluate": ["{}"],
    "calibrate": ["{}", "-o", "x.json", "--lambda", "1"],
    "train": ["--train", "{}", "--val", "free.xyz", "-o", "x"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_is_no_file_is_one_sentence(run, command, trained_model, tmp_path):
    (tmp_path / "folder").mkdir()
    for path, message in (
        ("folder", "folder: is a folder, not a file of structures"),
        ("missing.xyz", "missing.xyz: no such file"),
        ("apart.xyz@-1", "apart.xyz@-1: no such file (apart.xyz is there, but frames are not chosen with @"),
        ("apart.xyz@:", "apart.xyz@:: no such file (apart.xyz is there"),
    ):
        model = [] if command == "train" else [str(trained_model)]
        done = CliRunner().invoke(app, [command, *model, *(text.format(path) for text in COMMANDS[command])])
        assert done.exit_code == 1 and f"error: {message}" in done.stderr, done.output
        assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("evaluate", option) for option in ("--energy-key", "--forces-key", "--subset")),
        *(("calibrate", option) for option in ("--energy-key", "--forces-key", "--parent-key", "--subset")),
    ],
)
def test_an_empty_name_is_not_the_default(run, command, option):
    """Such as that of a variable of the shell that is not set."""
    output = () if command == "evaluate" else ("-o", "c.json", "--lambda", "1e-3")
    for empty in ("", " "):
        done = CliRunner().invoke(app, [command, "model.safetensors", "apart.xyz", *output, option, empty])
        assert done.exit_code == 2 and option in done.stderr and "is empty: give a name" in done.stderr, done.output
