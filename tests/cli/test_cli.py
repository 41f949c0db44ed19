"""The command `fcl`: each subcommand, also as a process of its own (mostly slow), and what it says of bad input."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from commands import copy_model, process, run
from fcl.cli.main import app
from fcl.cutoffs.file import read_cutoffs
from project import ROOT

pytestmark = pytest.mark.heavy

HASH = {"weights_sha256": "0" * 64}
ELEMENTS = "H=3.9,C=4.6,N=5.0,O=4.8,S=5.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, crystals, trained_model):
    """A folder with a model, labelled crystals (of `SHIFTML-molcrys` and another subset) and one molecule."""
    folder = tmp_path_factory.mktemp("cli")
    copy_model(trained_model, folder)
    frames = read(crystals, ":", format="extxyz")
    molecular = [frame for frame in frames if frame.info["subset"] == "SHIFTML-molcrys"]
    others = [frame for frame in frames if frame.info["subset"] == "SHIFTML-molfrags"][:2]
    write(folder / "crystals.xyz", [*molecular, *others])
    bare = [atoms.copy() for atoms in molecular]
    write(folder / "bare.xyz", bare)
    write(folder / "formamide.xyz", bare[0])
    write(folder / "water.xyz", Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    write(folder / "heavy.xyz", Atoms("Lr", positions=[[0, 0, 0]]))
    write(folder / "twice.xyz", Atoms("HH", positions=np.zeros((2, 3))))
    write(folder / "nan.xyz", Atoms("HO", positions=[[0, 0, 0], [0, np.nan, 1]]))
    write(folder / "flat.xyz", Atoms("H", cell=[3, 3, 0], pbc=True))
    (folder / "broken.xyz").write_text("3\nProperties=species:S:1:pos:R:3\nH 0 0 0\n")
    (folder / "empty.xyz").write_text("")
    (folder / "text.xyz").write_text("no structure\n")
    (folder / "bad.json").write_text('{"cutoffs": {"H": -1.0}}')
    (folder / "symbols.json").write_text('{"cutoffs": {"Hx": 4.0}}')
    (folder / "large.json").write_text('{"cutoffs": {"H": 4.0, "O": 9.0}}')
    (folder / "no.txt").write_text("not JSON")
    (folder / "folder").mkdir()
    card = json.loads((folder / "small.json").read_text())
    for name, changes in {"kind": {"kind": "other"}, "r_max": {"r_max_angstrom": "7"}, "hash": HASH}.items():
        (folder / f"{name}.safetensors").write_bytes((folder / "small.safetensors").read_bytes())
        (folder / f"{name}.json").write_text(json.dumps(card | changes))
    return folder


def in_this_process(*arguments):
    """As `process`, without the time in which a process of its own imports what it needs."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(params=["in this process", pytest.param("as a process", marks=pytest.mark.slow)])
def succeeds(request, folder, tmp_path, monkeypatch):
    """`in_this_process`, and `process` in a folder of its own."""
    if request.param == "in this process":
        return in_this_process
    for name in ("small.safetensors", "small.json", "crystals.xyz", "formamide.xyz", "water.xyz"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return process


def test_help_is_light_and_names_every_command():
    code = (
        "import sys; from fcl.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mace', 'ase', 'numpy', 'pandas'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("info", "train", "active", "evaluate", "calibrate", "predict", "relax", "md", "export", "compare"):
        assert f" {command} " in done.stdout
        assert run(command, "--help").exit_code == 0


def test_the_command_is_installed_under_its_name():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"fcl": "fcl.cli.main:app"}


def test_info():
    text, _ = process("info", "small.safetensors")
    for fact in ("flexible cutoffs", "up to 7.0 A, trained from 3.5 A", "Z = 1-100", "(verified)"):
        assert fact in text
    card = json.loads(run("info", "small.safetensors", "--json").stdout)
    assert card == json.loads(open("small.json").read())


def test_evaluate(succeeds):
    rows = json.loads(
        succeeds("evaluate", "small.safetensors", "crystals.xyz", "--cutoffs", "6.0", "--cutoffs", ELEMENTS, "--json")
    )["results"]
    assert [(row["cutoffs"], row["subset"], row["structures"]) for row in rows] == [
        (cutoffs, subset, n)
        for cutoffs in ("6.0", ELEMENTS)
        for subset, n in (("all", 14), ("SHIFTML-molcrys", 12), ("SHIFTML-molfrags", 2))
    ]
    assert rows[0]["pairs_per_atom"] > rows[3]["pairs_per_atom"] > 0
    assert rows[0]["microseconds_per_atom"] > 0 and rows[0]["force_rmse_ev_per_angstrom"] > 0
    table = run("evaluate", "small.safetensors", "crystals.xyz", "--subset", "SHIFTML-molcrys").stdout
    assert (
        f"{rows[1]['pairs_per_atom']:.1f}" in table and f"{1000 * rows[1]['force_rmse_ev_per_angstrom']:.1f}" in table
    )


def test_calibrate_for_a_tolerance(succeeds):
    """The file says what the held-out structures say, and the other commands take it."""
    text = succeeds(
        "calibrate", "small.safetensors", "crystals.xyz", "-o", "out/mine.json", "--subset", "SHIFTML-molcrys",
        "--max-error-increase", "10%", "--epochs", "1",
    )  # fmt: skip
    file = read_cutoffs("out/mine.json")
    assert set(file.cutoffs) == {"H", "C", "N", "O", "S"}
    assert all(3.5 <= value <= 7.0 for value in file.cutoffs.values())
    facts = file.provenance.model_dump()
    assert facts["weights_sha256"] == json.loads(open("small.json").read())["weights_sha256"]
    assert facts["structures"] == {"calibration": 10, "held_out": 2}  # one of five groups
    assert facts["goal"] == {"max_error_increase": "10%"} and facts["labels"] == "of the data"
    assert f"-> {facts['pairs_per_atom']:.1f} (" in text
    assert f"({facts['force_rmse_increase']:+.1%}, no error bar: a single group)" in text
    done = run("predict", "small.safetensors", "formamide.xyz", "-o", "out/p.xyz", "--cutoffs", "out/mine.json")
    assert done.exit_code == 0 and "warning" not in done.stderr


def test_calibrate_at_a_lambda_and_without_labels():
    arguments = (
        "calibrate",
        "small.safetensors",
        "bare.xyz",
        "--no-labels",
        "--epochs",
        "2",
        "--optimiser",
        "adam",
        "--json",
    )
    done = run(*arguments, "--lambda", "1e-3", "-o", "a.json", "--held-out", "bare.xyz", "--reference-cutoff", "6.5")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)["provenance"]
    assert facts["lambda"] == 1e-3 and facts["reference_cutoff_angstrom"] == 6.5
    assert facts["added_force_rmse_ev_per_angstrom"] > 0 and "force_rmse_ev_per_angstrom" not in facts
    assert facts["labels"].startswith("the model's own")
    assert facts["structures"] == {"calibration": 12, "held_out": 12}
    done = run(*arguments[:-1], "--max-added-error", "100", "-o", "b.json")
    assert done.exit_code == 0 and "a bound of what these cutoffs add, not the error" in done.stdout


def test_predict():
    process("predict", "small.safetensors", "crystals.xyz", "-o", "predicted.xyz", "--cutoffs", ELEMENTS)
    from fcl import FCLCalculator

    labelled, predicted = read("crystals.xyz", ":"), read("predicted.xyz", ":")
    assert len(predicted) == 14 and predicted[0].info["subset"] == "SHIFTML-molcrys"
    atoms = labelled[3].copy()
    cutoffs = {key: float(value) for key, value in (part.split("=") for part in ELEMENTS.split(","))}
    atoms.calc = FCLCalculator("small.safetensors", cutoffs)
    assert predicted[3].get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    np.testing.assert_allclose(predicted[3].get_forces(), atoms.get_forces(), atol=1e-6)
    np.testing.assert_allclose(predicted[3].get_stress(), atoms.get_stress(), atol=1e-6)
    assert "stress" not in predicted[-1].calc.results  # a molecule


def test_relax(succeeds):
    text = succeeds("relax", "small.safetensors", "water.xyz", "-o", "relaxed.xyz", "--fmax", "0.05")
    assert "largest force" in text
    assert np.linalg.norm(read("relaxed.xyz").get_forces(), axis=1).max() <= 0.05
    done = run("relax", "small.safetensors", "formamide.xyz", "-o", "half.xyz", "--cell", "--steps", "1", "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)["converged"] is False
    assert "remain after 1 steps" in done.stderr
    assert read("half.xyz").cell.volume != read("formamide.xyz").cell.volume


def test_md(succeeds):
    facts = json.loads(
        succeeds(
            "md", "small.safetensors", "formamide.xyz", "-o", "md.xyz", "--steps", "20", "--interval", "5",
            "--repeat", "2", "1", "1", "--timestep", "0.1", "--cutoffs", ELEMENTS, "--json",
        )
    )  # fmt: skip
    frames = read("md.xyz", ":")
    assert facts["atoms"] == 24 and facts["frames"] == len(frames) == 5
    assert facts["picoseconds"] == pytest.approx(0.002) and facts["energy_drift_mev_per_atom_ps"] is not None
    assert frames[0].get_momenta().any() and not np.allclose(frames[0].positions, frames[-1].positions)
    done = run("md", "small.safetensors", "water.xyz", "-o", "nvt.xyz", "--steps", "2", "--nvt")
    assert done.exit_code == 0 and "mean temperature" in done.stdout and "drift" not in done.stdout


BAD_INPUT = [
    (["info", "none.safetensors"], "none.safetensors: no such model file"),
    (["info", "smal"], "smal: no such model file, nor a shipped model (embedded, mini)"),
    (["info", "crystals.xyz"], "crystals.json: the model's card is missing"),
    (["info", "kind.safetensors"], "kind.json: not a card: kind: Input should be 'static' or 'fcl', not 'other'"),
    (["info", "hash.safetensors"], "hash.safetensors: the weights are not those of hash.json"),
    (["evaluate", "r_max.safetensors", "crystals.xyz"], "r_max.json: not a card: r_max_angstrom: Input should be a"),
    (["evaluate", "small.safetensors", "none.xyz"], "none.xyz: no such file"),
    (["evaluate", "small.safetensors", "bare.xyz"], "bare.xyz: frame 0: energy: missing"),
    (["evaluate", "small.safetensors", "crystals.xyz", "--subset", "MC4D"], "no frame of subset 'MC4D'; there are"),
    (["evaluate", "small.safetensors", "crystals.xyz", "--cutoffs", "7.5"], "cutoff 7.5 A is not within (0, 7.0] A"),
    (["evaluate", "small.safetensors", "crystals.xyz", "--cutoffs", "H=4"], "no cutoff is given for C"),
    (["evaluate", "small.safetensors", "crystals.xyz", "--device", "gpu"], "device 'gpu' cannot be used"),
    (
        ["predict", "small.safetensors", "heavy.xyz", "-o", "x.xyz"],
        "heavy.xyz: frame 0: species: Lr (Z = 103) not among the 100 elements",
    ),
    (["predict", "small.safetensors", "broken.xyz", "-o", "x.xyz"], "broken.xyz: frame 0: frame: cannot be read"),
    (["predict", "small.safetensors", "text.xyz", "-o", "x.xyz"], "text.xyz: frame 0: frame: expected the number of"),
    (["predict", "small.safetensors", "empty.xyz", "-o", "x.xyz"], "empty.xyz: frame 0: frame: the file contains no"),
    (["predict", "small.safetensors", "nan.xyz", "-o", "x.xyz"], "nan.xyz: frame 0: positions: contains non-finite"),
    (["predict", "small.safetensors", "twice.xyz", "-o", "x.xyz"], "twice.xyz: frame 0: energy or forces are not fin"),
    (["relax", "small.safetensors", "flat.xyz", "-o", "x.xyz"], "flat.xyz: frame 0: Lattice: no volume along"),
    (["md", "small.safetensors", "twice.xyz", "-o", "x.xyz"], "energy or forces are not finite"),
    (["relax", "small.safetensors", "water.xyz", "-o", "folder"], "folder: is a folder, not a file to write"),
    (["relax", "small.safetensors", "water.xyz", "-o", "bare.xyz"], "bare.xyz: is there already; give another name"),
    (["md", "small.safetensors", "water.xyz", "-o", "bare.xyz/x.xyz"], "bare.xyz/x.xyz: cannot be written (File exi"),
    (["md", "small.safetensors", "water.xyz", "-o", "water.xyz"], "water.xyz: is there already; give another name"),
    (["predict", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", "bad.json"], "bad.json: not a cutoffs"),
    (["predict", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", "no.json"], "no.json: no such cutoffs"),
    (["predict", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", "no.txt"], "no.txt: not JSON"),
    (
        ["relax", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", "symbols.json"],
        "symbols.json: not a cutoffs file: cutoffs.Hx: 'Hx' is no chemical symbol",
    ),
    (
        ["md", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", "large.json"],
        "large.json: cutoffs: O: cutoff 9.0 A is not within (0, 7.0] A",
    ),
    (["calibrate", "small.safetensors", "bare.xyz", "-o", "bad.json", "--lambda", "1"], "bad.json: is there already"),
    (["calibrate", "small.safetensors", "none.xyz", "-o", "x.json", "--lambda", "1"], "none.xyz: no such file"),
    (["relax", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cell"], "there is no cell to relax"),
    (["md", "small.safetensors", "water.xyz", "-o", "x.xyz", "--repeat", "2", "1", "1"], "cannot be repeated along"),
    (["calibrate", "small.safetensors", "formamide.xyz", "-o", "x.json", "--lambda", "1"], "energy: missing"),
    (
        ["calibrate", "small.safetensors", "formamide.xyz", "-o", "x.json", "--lambda", "1", "--no-labels"],
        "structures of 1 groups cannot be split into 2 parts",
    ),
]


@pytest.mark.parametrize("arguments, message", BAD_INPUT)
def test_bad_input_is_one_sentence_and_exit_code_1(arguments, message, folder):
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not [path for path in folder.iterdir() if path.name.startswith(("x.", ".x."))]  # nothing half-written


USAGE = [
    ["evaluate", "small.safetensors"],
    ["evaluate", "small.safetensors", "crystals.xyz", "--cutoffs", "H=4,C"],
    ["predict", "small.safetensors", "water.xyz"],
    ["relax", "small.safetensors", "water.xyz", "-o", "x.xyz", "--steps", "0"],
    ["md", "small.safetensors", "water.xyz", "-o", "x.xyz", "--timestep", "0"],
    ["info"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--lambda", "0"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--max-error-increase", "nan%"],
    ["predict", "small.safetensors", "water.xyz", "-o", "x.xyz", "--cutoffs", ""],
    ["md", "small.safetensors", "water.xyz", "-o", "x.xyz", "--temperature", "inf"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--lambda", "1", "--max-error-increase", "1%"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--max-error-increase", "1"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--max-error-increase", "1%", "--no-labels"],
    ["calibrate", "small.safetensors", "crystals.xyz", "-o", "x.json", "--max-added-error", "10"],
    ["export"],
]


@pytest.mark.parametrize("arguments", USAGE)
def test_a_wrong_command_line_is_exit_code_2(arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == "" and "Usage: " in done.stderr


def test_bad_input_as_a_process():
    """The same exit codes from the real thing, without a traceback."""
    for arguments, code, message in (
        (["info", "none.safetensors"], 1, "error: none.safetensors: no such model file, nor a"),
        (["md"], 2, "Usage: "),
    ):
        command = [sys.executable, "-m", "fcl.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code and message in done.stderr and done.stdout == ""
        assert "Traceback" not in done.stderr


def test_an_output_is_replaced_only_when_asked(folder):
    """Refused before anything is computed, and the file stays as it is."""
    (folder / "kept.xyz").write_text("precious")
    for command in ("predict", "relax", "md"):
        done = run(command, "small.safetensors", "water.xyz", "-o", "kept.xyz")
        assert done.exit_code == 1 and (folder / "kept.xyz").read_text() == "precious"
    done = run("predict", "small.safetensors", "water.xyz", "-o", "kept.xyz", "--overwrite")
    assert done.exit_code == 0 and len(read("kept.xyz")) == 3


def test_a_shipped_model_by_its_name(folder):
    done = run("info", "mini")
    assert done.exit_code == 0 and "not for science" in done.stdout
    done = run("predict", "mini", "water.xyz", "-o", "shipped.xyz")
    assert done.exit_code == 0 and np.isfinite(read("shipped.xyz").get_potential_energy())


def test_a_warning_is_told():
    done = run("predict", "small.safetensors", "water.xyz", "-o", "w.xyz", "--cutoffs", "3.0")
    assert done.exit_code == 0
    assert "warning: cutoff 3 A is below the 3.5 A from which the model was trained" in done.stderr


def test_the_commands_of_the_documentation_exist():
    """Every `fcl` line of the pages on using a model names a command and options that are there."""
    import re
    import shlex

    from typer.main import get_command

    docs = ROOT / "docs"
    names = ("using.md", "engines.md", "record.md", "your-data.md", "finetune.md", "active.md")
    text = "".join((docs / name).read_text(encoding="utf-8") for name in names)
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("fcl ")]
    commands = get_command(app).commands
    named = set()
    for line in lines:
        _, name, *rest = shlex.split(line)
        named.add(name)
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-") and not word[1:2].isdigit()} <= options, line
    assert named == set(commands)
