"""Labels mean what the model's energies mean, or the commands stop; references and stress are shown."""

import functools
import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import commands
from fcl.training.own import train

pytestmark = pytest.mark.heavy

REFERENCES = {"H": -13.0, "C": -150.0, "N": -200.0, "O": -300.0, "S": -400.0}
GOAL = ("--lambda", "1e-4", "-o", "cutoffs.json", "--epochs", "2", "--overwrite")
run = functools.partial(commands.run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained_model, crystals):
    """Molecular crystals relative to isolated atoms, shifted a little, and total; a model without, and with references.

    A few have a stress.
    """
    folder = tmp_path_factory.mktemp("labels")
    frames = [atoms for atoms in read(crystals, ":") if atoms.info["subset"] == "SHIFTML-molcrys"][:5]
    shifts = {
        "relative": dict.fromkeys(REFERENCES, 0.0),
        "shifted": dict.fromkeys(REFERENCES, -40.0),
        "total": REFERENCES,
    }
    for name, references in shifts.items():
        written = []
        for number, atoms in enumerate(frames):
            energy = atoms.get_potential_energy() + sum(references[symbol] for symbol in atoms.symbols)
            labels = {"energy": energy, "forces": atoms.get_forces()}
            labels |= {"stress": np.array([2e-3, 1e-3, -3e-3, 0, 0, 0])} if number < 2 else {}
            copy = atoms.copy()
            copy.calc = SinglePointCalculator(copy, **labels)
            written.append(copy)
        write(folder / f"{name}.xyz", written, format="extxyz")
    write(folder / "uranium.xyz", Atoms("U2", positions=[[0, 0, 0], [0, 0, 2.5]]))
    card = json.loads(trained_model.with_suffix(".json").read_text())
    more = {"reference_energies_ev": REFERENCES, "training_structures": dict.fromkeys(REFERENCES, 50)}
    for name, facts in {"plain": {}, "with": more}.items():
        shutil.copy(trained_model, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(card | facts))
    return folder


@pytest.mark.parametrize("command", [("evaluate",), ("calibrate",)])
@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ("plain", "shifted", "shifted.xyz: these look like total energies"),
        ("plain", "total", "total.xyz: these look like total energies"),
        ("with", "shifted", "eV/atom (median) from the model"),
        ("with", "relative", "relative.xyz: these look like energies relative to isolated atoms"),
    ],
)
def test_energies_with_an_offset_stop_a_command(command, model, data, said):
    result = run(*command, f"{model}.safetensors", f"{data}.xyz", *(GOAL if command == ("calibrate",) else ()))
    assert result.exit_code != 0 and said in " ".join(result.output.split())
    assert "--reference-energies" in result.output


def test_references_of_the_card_are_subtracted_and_shown():
    found = [
        json.loads(run("evaluate", f"{model}.safetensors", f"{data}.xyz", "--json").stdout)["results"][0]
        for model, data in (("plain", "relative"), ("with", "total"))
    ]
    assert found[1]["energy_mae_ev_per_atom"] == pytest.approx(found[0]["energy_mae_ev_per_atom"], rel=1e-3)
    said = " ".join(run("info", "with.safetensors").stdout.split())
    assert "reference energies" in said and "C -150.0000" in said and "O -300.0000" in said


def test_told_energies_are_taken_as_they_are():
    told = run("evaluate", "with.safetensors", "relative.xyz", "--reference-energies", "none", "--json")
    plain = run("evaluate", "plain.safetensors", "relative.xyz", "--json")
    values = [json.loads(one.stdout)["results"][0]["energy_mae_ev_per_atom"] for one in (told, plain)]
    assert values[0] == values[1]
    told = run("evaluate", "plain.safetensors", "shifted.xyz", "--reference-energies", "none", "--json")
    assert json.loads(told.stdout)["results"][0]["energy_mae_ev_per_atom"] > 30
    by_symbol = ",".join(f"{symbol}=-40" for symbol in REFERENCES)
    told = run("evaluate", "plain.safetensors", "shifted.xyz", "--reference-energies", by_symbol, "--json")
    assert json.loads(told.stdout)["results"][0]["energy_mae_ev_per_atom"] == pytest.approx(values[0], rel=1e-3)
    assert run("evaluate", "plain.safetensors", "shifted.xyz", "--reference-energies", "fit").exit_code != 0


def test_errors_of_stress_beside_a_stress_of_zero():
    result = run("evaluate", "plain.safetensors", "relative.xyz")
    assert "zero stress" in result.stdout and "3 of 5 frames have none" in result.stdout
    row = json.loads(run("evaluate", "plain.safetensors", "relative.xyz", "--json").stdout)["results"][0]
    assert row["structures_with_stress"] == 2
    assert row["zero_stress_mae_ev_per_cubic_angstrom"] == pytest.approx(6e-3 / 9, rel=1e-4)
    row = json.loads(run("evaluate", "plain.safetensors", "relative.xyz", "--json", "--stress-key", "no").stdout)
    assert "structures_with_stress" not in row["results"][0]


@pytest.mark.parametrize("radial", ["tables", "network"])
def test_an_element_never_trained_on_is_named(radial, caplog):
    result = run("predict", "with.safetensors", "uranium.xyz", "-o", f"{radial}.xyz", "--radial", radial)
    assert result.exit_code == 0
    said = [text for text in [*caplog.messages, *result.output.splitlines()] if "U in 0" in text]
    assert said, (caplog.messages, result.output)


def test_fine_tuning_checks_the_labels_of_files_and_manifests(folder, small_settings):
    from fcl.models.files import build_model, save_model

    for name, facts in {"start": {}, "start-with": {"reference_energies_ev": REFERENCES}}.items():
        save_model(build_model("static", small_settings, 5.0, 20.0), folder / f"{name}.safetensors", facts)
    quick = {"fcl": {"epochs": 1, "batch_size": 2}, "compute": {"device": "cpu"}}
    given = {"data": "shifted.xyz", "val_fraction": 0.4, "settings": quick, "warm": True}
    with pytest.raises(ValueError, match="look like total energies"):
        train("a", pretrained="start.safetensors", **given)
    train("b", pretrained="start.safetensors", reference_energies="fit", **given)
    splits = "splits: {train: {file: %s.xyz, count: 3}, val: {file: %s.xyz, count: 2}}\n"
    head = "name: own\ntitle: own\nlicence: MIT\ncitation: none\nversion: '1'\n"
    for name in ("relative", "total"):
        (folder / f"{name}.yaml").write_text(head + splits % (name, name))
    (folder / "named.yaml").write_text(head + "reference_energies: fit\n" + splits % ("total", "total"))
    given = {"pretrained": "start-with.safetensors", "settings": quick, "warm": True}
    with pytest.raises(ValueError, match="relative to isolated atoms"):
        train("c", data="relative.yaml", **given)
    train("d", data="total.yaml", **given)
    card = json.loads((folder / "d" / "fcl.json").read_text())
    assert card["reference_energies_ev"] == pytest.approx(REFERENCES)
    with pytest.raises(ValueError, match="named.yaml: reference_energies: the teacher gives the labels"):
        train("e", data="named.yaml", teacher=True, **given)


def test_training_with_stress_by_files(folder):
    """The weight in the settings reads the labels; log, history and summary say so."""
    quick = {"loss": {"stress_weight": 5.0}, "static": {"epochs": 1, "batch_size": 2, "cutoffs": [4.0]}}
    quick |= {"compute": {"device": "cpu"}}
    (model,) = train("f", data="relative.xyz", val_fraction=0.4, seed=1, kind="static", settings=quick)
    assert model.stress_mae is not None and "val_stress_mae" in (folder / "f" / "static.history.csv").read_text()
    assert "stress trained on that of" in " ".join(run("info", str(model.file)).stdout.split())
    assert "have a stress; the others have no part" in (folder / "f" / "train.log").read_text()
