"""What the commands write can be read, by our reader and by ASE: any info, arrays, constraints; labels stay labels."""

import json
import re

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    Hookean,
    MirrorForce,
)
from ase.db import connect
from ase.io import read, write
from typer.testing import CliRunner

from fcl.cli.main import app
from fcl.cli.structures import SUFFIXES, about, extxyz_text, structure_writer
from fcl.data.read import read_structures

pytestmark = pytest.mark.heavy

#: Values of ``info``, and what extended XYZ has of it, as text (None: left out).
INFO = {
    "uid": ("007", "007"),
    "version": ("1.50", "1.50"),
    "revision": ("62e400", "62e400"),
    "flag": ("T", "T"),
    "quoted": ('a "b"  c', 'a "b"  c'),
    "path": ("C:\\new dir\\", "C:\\new dir\\"),
    "formula": ("a=b=c", "a=b=c"),
    "open": ("{x", "{x"),
    "closed": ("x]", "x]"),
    "tab": ("a\tb", "a\tb"),
    "greek": ("α β", "α β"),
    "lines": ("a\n b", "a b"),
    "empty": ("", None),
    "key with blanks": ("x", "x"),
    "k=e": ("x", "x"),
    "": ("x", None),
    "json": ("_JSON {", None),
    "number": (1.5, "1.5"),
    "vector": (np.arange(3), "0 1 2"),
    "matrix": (np.eye(2), "_JSON [[1.0, 0.0], [0.0, 1.0]]"),
    "nested": ({"k": [1, {"z": 2}]}, '_JSON {"k": [1, {"z": 2}]}'),
    "nothing": (None, None),
    "complex": (1j, None),
    "object": (object(), None),
    "bytes": (b"x", None),
    5: ("x", None),
    "pbc": ("F F F", None),
    "PBC": ("F F F", "F F F"),
    "Lattice": ("1 2 3", None),
    "Properties": ("x", None),
    "energy": (-5.0, None),
    "free_energy": (-5.0, None),
    "stress": ("high", None),
    "virial": (np.eye(3), None),
    "dipole": ([1, 2, 3], None),
}
#: Arrays, and whether extended XYZ keeps them.
ARRAYS = {
    "site": (np.arange(5), True),
    "unsigned": (np.arange(5, dtype=np.uint8), True),
    "three": (np.ones((5, 3)), True),
    "words": (np.array(list("abcde")), True),
    "objects": (np.array(list("abcde"), dtype=object), True),
    "blanks": (np.array(["a b", "", "c", "d", "e"]), False),
    "mixed": (np.array(["a", 1, None, 2.0, "x"], dtype=object), False),
    "complex": (np.ones(5) * 1j, False),
    "deep": (np.ones((5, 3, 3)), False),
    "none": (np.ones((5, 0)), False),
    "a:b": (np.ones(5), False),
    "a b": (np.ones(5), False),
    "species": (np.array(list("abcde")), False),
    "pos": (np.ones((5, 3)), False),
    "Z": (np.ones(5, dtype=int), False),
    "three0": (np.ones(5), True),
    "magmoms": (np.ones(5), False),
    "charges": (np.ones(5), False),
    "stress": (np.ones((5, 6)), False),
}
CONSTRAINTS = {
    "mask": FixAtoms(mask=[True] + [False] * 4),
    "cartesian": FixCartesian(0, [1, 0, 1]),
    "scaled": FixScaled(0, [1, 0, 0]),
    "spring": Hookean(0, 1, rt=1.0, k=5.0),
    "bonds": FixBondLengths([[0, 1], [3, 4]]),
    "internals": FixInternals(bonds=[[1.2, [0, 1]]]),
    "plane": FixedPlane(0, [0, 0, 1]),
    "line": FixedLine(0, [0, 0, 1]),
    "centre": FixCom(),
    "force": ExternalForce(0, 1, 0.1),
    "linear": FixLinearTriatomic([(1, 0, 2)]),
}
SHORT = {"predict": (), "relax": ("--fmax", "100"), "md": ("--steps", "2", "--timestep", "0.1")}


def molecule(cell=9.0):
    positions = [[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0.1], [0, 3, 0], [0.75, 3, 0]]
    return Atoms("CO2H2", positions, cell=[cell] * 3, pbc=cell > 0)


def format_of(name):
    return "traj" if name.lower().endswith(".traj") else "extxyz"


@pytest.fixture
def run(tmp_path, monkeypatch, trained_model):
    monkeypatch.chdir(tmp_path)
    return lambda command, *arguments: CliRunner().invoke(app, [command, str(trained_model), *arguments])


def written(atoms, name):
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((5, 3)))
    with structure_writer(name) as append:
        append(atoms)
    (ours,), theirs = read_structures(name), read(name, format=format_of(str(name)))
    for found in (ours, theirs):
        np.testing.assert_allclose(found.positions, atoms.positions)
        assert (found.numbers == atoms.numbers).all() and (found.pbc == atoms.pbc).all()
        np.testing.assert_allclose(found.cell.array, atoms.cell.array)
    assert theirs.calc.results.keys() == {"energy", "forces"} and theirs.calc.results["energy"] == -1.0
    return ours, theirs


@pytest.mark.filterwarnings("ignore:.*does not keep", "ignore:Skipping")
@pytest.mark.parametrize("cell", [9.0, 0.0])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("key", INFO)
def test_any_info_is_written_so_that_it_can_be_read(tmp_path, key, suffix, cell):
    value, text = INFO[key]
    atoms = molecule(cell)
    atoms.info = {key: value, "after": "kept"}
    ours, _ = written(atoms, tmp_path / f"out{suffix}")
    assert ours.info["after"] == "kept"
    if suffix != ".traj":
        (found,) = read_structures(tmp_path / f"out{suffix}", as_text=True)
        assert found.info == ({} if text is None else {key: text}) | {"after": "kept"}


@pytest.mark.filterwarnings("ignore:.*does not keep")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ARRAYS)
def test_any_array_is_written_so_that_it_can_be_read(tmp_path, name, suffix):
    values, kept = ARRAYS[name]
    atoms = molecule()
    atoms.arrays[name] = values
    ours, _ = written(atoms, tmp_path / f"out{suffix}")
    if suffix != ".traj":
        assert (name in ours.arrays) == kept
        assert not kept or (np.asarray(ours.arrays[name]) == values).all()


def test_what_is_left_out_is_named(tmp_path):
    atoms = molecule()
    atoms.info["complex"], atoms.arrays["deep"] = 1j, np.ones((5, 3, 3))
    atoms.arrays |= {"f": np.ones((5, 2)), "f0": np.ones(5)}
    atoms.set_constraint(Hookean(0, 1, rt=1.0, k=5.0))
    with pytest.warns(UserWarning, match=r"out.xyz: .xyz does not keep Hookean, complex, deep, f0$"):
        written(atoms, tmp_path / "out.xyz")


def test_texts_and_numbers_pass_through_unchanged(run):
    line = 'uid=007 version=1.50 dft_energy=-1.5000 "k e"=x relaxed _n=5 list=[1,2] sites="01 02"'
    open("in.xyz", "w").write(f"1\n{line}\nH 0 0 0\n")
    assert run("predict", "in.xyz", "-o", "out.xyz").exit_code == 0
    assert run("predict", "out.xyz", "-o", "again.xyz").exit_code == 0
    for name in ("out.xyz", "again.xyz"):
        header = open(name).read().split("\n")[1]
        for item in ("uid=007", "version=1.50", "dft_energy=-1.5000", '"k e"=x', "relaxed=T", 'sites="01 02"'):
            assert f" {item} " in header, header


@pytest.mark.parametrize("command", SHORT)
@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_constraints_of_any_kind(run, kind, command):
    atoms = molecule()
    atoms.set_constraint(CONSTRAINTS[kind])
    write("held.traj", atoms)
    for name in ("out.traj", "out.xyz"):
        done = run(command, "held.traj", "-o", name, *SHORT[command])
        assert done.exit_code == 0, done.output
        found = read(name, -1, format=format_of(name))
        if name == "out.traj":
            assert [one.todict() for one in found.constraints] == [
                one.todict() for one in read("held.traj").constraints
            ]
        elif kind in ("mask", "cartesian"):
            assert found.constraints
        else:
            assert f"out.xyz: .xyz does not keep {type(CONSTRAINTS[kind]).__name__}" in done.stderr


def test_constraints_that_ase_does_not_support_are_an_error(run, tmp_path):
    atoms = molecule()
    for constraint, options, message in (
        (Hookean(0, 1, rt=1.0, k=5.0), ("--repeat", "2", "1", "1"), "Repeat is not compatible"),
        (MirrorForce(0, 1), (), "ASE does not support this for those of the structure"),
    ):
        atoms.set_constraint(constraint)
        write("held.traj", atoms)
        done = run("md", "held.traj", "-o", "out.xyz", *SHORT["md"], *options)
        assert done.exit_code == 1 and f"error: held.traj: frame 0: constraints: {message}" in done.stderr, done.output
        assert not (tmp_path / "out.xyz").exists()


def test_data_of_a_database_leave_the_structure_alone(run):
    atoms = molecule()
    wrong = {"positions": np.ones((5, 3)), "numbers": np.full(5, 6), "cell": np.eye(3), "pbc": [False] * 3}
    wrong |= {"momenta": np.ones((5, 3)), "masses": np.ones(5), "Z": np.ones(5), "pos": np.ones((5, 3))}
    with connect("a.db") as database:
        database.write(atoms, data=wrong | {"site": np.arange(5)})
    (found,) = read_structures("a.db")
    assert found == atoms and not found.has("momenta") and not found.has("masses")
    assert found.arrays["site"].tolist() == [0, 1, 2, 3, 4] and not found.info
    assert run("predict", "a.db", "-o", "out.xyz").exit_code == 0
    np.testing.assert_allclose(read("out.xyz").positions, atoms.positions)


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
def test_labels_are_no_results(run, suffix):
    """Of a structure without stress, the stress in the file would be that of another program."""
    atoms = molecule(0.0)
    labels = {"energy": -7.0, "free_energy": -7.0, "stress": np.ones(6), "dipole": np.ones(3), "REF_energy": -7.0}
    atoms.info |= labels
    write("in.traj", atoms)
    done = run("predict", "in.traj", "-o", f"out{suffix}", "--json")
    (row,) = json.loads(done.stdout)["frames"]
    found = read(f"out{suffix}", format=format_of(suffix))
    assert found.calc.results.keys() == {"energy", "forces"} and found.info == {"REF_energy": -7.0}
    assert found.calc.results["energy"] == pytest.approx(5 * row["energy_ev_per_atom"], abs=1e-6)


def test_columns_are_in_the_order_of_the_arrays():
    """Not in that of a set, which differs from run to run."""
    atoms = molecule()
    names = ["zeta", "beta", "omega", "alpha", "tau", "eta", "iota", "gamma"]
    for name in names:
        atoms.set_array(name, np.arange(5))
    text, _ = extxyz_text(atoms)
    (columns,) = re.findall("Properties=([^ ]*)", text)
    assert columns == "species:S:1:pos:R:3:" + ":".join(f"{name}:I:1" for name in names)


@pytest.mark.parametrize("text", ["abc\n", "\nabc", "a\x85b", "a\u2028b", "a\rb", "a\x1cb\n\n", " a\n", "a\x0c"])
def test_text_of_several_lines_is_one_line_of_the_header(run, tmp_path, text):
    atoms = molecule()
    atoms.info |= {"note": text, "after": "x", f"key{text}": "lost", "array": np.array([text, "z"])}
    write("a.traj", atoms)
    assert run("predict", "a.traj", "-o", "out.xyz").exit_code == 0
    lines = (tmp_path / "out.xyz").read_text().splitlines()
    assert len(lines) == 2 + len(atoms)
    (found,) = read_structures("out.xyz", as_text=True)
    assert found.info.pop("array").startswith("_JSON")
    assert found.info == {"note": " ".join(text.split()), "after": "x"}
    assert read("out.xyz").info == found.info | {"array": [text, "z"]}


def test_only_what_constraints_do_not_allow_is_said_of_constraints(tmp_path):
    atoms = molecule()
    with pytest.raises(ValueError, match="^a.xyz: frame 3: constraints: ASE does not support"), about("a.xyz", 3):
        MirrorForce(0, 1).get_removed_dof(atoms)
    with pytest.raises(ValueError, match="^a.xyz: frame 3: stress: no volume$"), about("a.xyz", 3):
        raise PropertyNotImplementedError("stress: no volume")
    with pytest.raises(NotImplementedError), about("a.xyz", 3):  # a fault of the program
        raise NotImplementedError
    with pytest.raises(ValueError, match="^a.xyz: frame 3: not enough memory"), about("a.xyz", 3):
        raise MemoryError("for 56.8 PiB")


@pytest.mark.parametrize("suffix", [".xyz", ".xyz.gz", ".traj"])
def test_nothing_is_opened_before_the_first_structure(tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    for before in (None, b"of a run before"):
        if before is not None:
            output.write_bytes(before)
        with pytest.raises(FloatingPointError), structure_writer(output):
            raise FloatingPointError
        assert (output.read_bytes() if output.exists() else None) == before


def test_a_cutoff_given_twice(run):
    write("a.xyz", molecule())
    done = run("predict", "a.xyz", "-o", "out.xyz", "--cutoffs", "H=4,C=4,H=5,O=4")
    assert done.exit_code == 2 and "H is given twice" in done.stderr
    open("c.json", "w").write('{"cutoffs": {"H": 4, "C": 4, "H": 5, "O": 4}}')
    done = run("predict", "a.xyz", "-o", "out.xyz", "--cutoffs", "c.json")
    assert done.exit_code == 1 and "error: c.json: not JSON (key 'H' is given twice)" in done.stderr


def test_frames_that_cannot_be_evaluated_are_named_with_their_file(run):
    text = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0 subset={}\nH 0 0 0 0 0 0\n"
    pair = "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0 subset=b\nH 0 0 0 0 0 0\nH 0 0 0 0 0 0\n"
    open("a.xyz", "w").write(text.format("a") + pair)
    for command, *options in (["evaluate"], ["calibrate", "-o", "c.json", "--lambda", "1"]):
        done = run(command, "a.xyz", "--subset", "b", *options)
        assert done.exit_code == 1 and "error: a.xyz: frame 1: positions: atoms 0 and 1 are 0 A apart" in done.stderr


@pytest.mark.parametrize("parents", [False, True])
def test_copies_of_one_structure_have_no_error_bar(run, parents):
    rng = np.random.default_rng(1)
    frames = [molecule() for _ in range(8)]
    for k, atoms in enumerate(frames):
        atoms.positions += 0.05 * rng.normal(size=(5, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=rng.normal(size=(5, 3)))
        atoms.info |= {"parent": f"p{k}"} if parents else {}
    write("data.xyz", frames)
    copies = [frames[0].copy() for _ in range(3)]
    for k, atoms in enumerate(copies):
        atoms.calc = frames[0].calc
        atoms.info |= {"parent": f"p{k}"} if parents else {}
    write("held.xyz", copies)
    short = ("-o", "c.json", "--lambda", "1e-3", "--epochs", "1", "--overwrite")
    done = run("calibrate", "data.xyz", *short, "--held-out", "held.xyz")
    assert done.exit_code == 0 and "no error bar: a single group" in done.stdout, done.output
    done = run("calibrate", "data.xyz", *short, "--held-out", "data.xyz")
    assert done.exit_code == 0 and "+-" in done.stdout, done.output
    done = run("calibrate", "held.xyz", *short)
    assert done.exit_code == 1 and "structures of 1 groups cannot be split into 2 parts" in done.stderr
