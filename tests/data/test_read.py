"""Structures of files that are no extended XYZ, and of paths that are no files."""

import bz2
import gzip
import lzma
import os

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import Trajectory, write

from fcl.data.frames import FrameError, FrameRules
from fcl.data.read import frames_of, read_frames, read_structures

FORCES = np.arange(9.0).reshape(3, 3)
KEYS = FrameRules(energy="REF_energy", forces="REF_forces", subset="config_type", stress="REF_stress", parent="origin")


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_key_value_pairs_and_data_of_a_database_are_labels(tmp_path, name):
    """They are what ASE's reader leaves out: text and numbers as pairs, arrays as data."""
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    with connect(tmp_path / name) as database:
        pairs = {"config_type": "gas", "split": "train", "REF_energy": -1.5, "origin": 7}
        database.write(molecule("H2O"), pairs, data={"REF_forces": FORCES, "method": {"xc": "PBE"}})
        data = {"REF_forces": FORCES[:2], "REF_stress": np.arange(6.0), "REF_energy": -2.5}
        database.write(crystal, config_type="salt", data=data)
    gas, salt = read_frames(tmp_path / name, rules=KEYS)
    assert (gas.subset, gas.split, gas.energy, gas.parent) == ("gas", "train", -1.5, "7")
    assert (salt.subset, salt.split, salt.energy, salt.parent) == ("salt", "", -2.5, None)
    np.testing.assert_array_equal(gas.forces, FORCES)
    np.testing.assert_array_equal(salt.stress, [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    first, second = read_structures(tmp_path / name)
    np.testing.assert_array_equal(first.arrays["REF_forces"], FORCES)
    assert first.info["config_type"] == "gas" and first.info["method"] == {"xc": "PBE"} and second.info["config_type"]


def test_results_and_data_of_a_database_agree(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
    for name, forces in (("a.db", FORCES), ("b.db", np.zeros((3, 3)))):
        with connect(tmp_path / name) as database:
            database.write(atoms, data={"forces": forces}, subset="gas")
    with pytest.raises(FrameError, match=r"b\.db: frame 0: forces: the results of the calculator and info or arrays"):
        list(read_frames(tmp_path / "b.db"))
    (frame,) = read_frames(tmp_path / "a.db")
    assert frame.energy == -3.0 and frame.subset == "gas"
    np.testing.assert_array_equal(frame.forces, FORCES)


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
@pytest.mark.parametrize("upper", [False, True])
def test_a_compressed_file_is_read_by_the_same_rules(tmp_path, suffix, compress, upper):
    text = b'1\nLattice="5 0 0 0 5 0 0 0 5" pbc=FFF\nH 0 0 0\n'
    path = tmp_path / (f"A.XYZ.{suffix.upper()}" if upper else f"a.xyz.{suffix}")
    path.write_bytes(compress.compress(text))
    assert not read_structures(path)[0].pbc.any()
    path.write_bytes(compress.compress(text * 500)[:-20])
    with pytest.raises(FrameError, match=f"cannot be read: damaged or truncated {compress.__name__}"):
        read_structures(path)


def test_paths_that_are_no_files(tmp_path):
    write(tmp_path / "a.traj", molecule("H2O"))
    with pytest.raises(IsADirectoryError, match="is a folder, not a file of structures"):
        read_structures(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"b\.xyz: no such file$"):
        read_structures(tmp_path / "b.xyz")
    for index in ("-1", ":", "0:3", ""):
        with pytest.raises(
            FileNotFoundError, match=r"no such file \(.*a\.traj is there, but frames are not chosen with @"
        ):
            frames_of(tmp_path / f"a.traj@{index}")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.xyz")
    with pytest.raises(OSError, match=r"a\.xyz: is no file on a disk"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize("name", ["A.DB", "A.JSON"])
def test_the_suffix_of_a_database_may_be_in_capitals(tmp_path, name):
    with connect(tmp_path / name.lower()) as database:
        database.write(molecule("H2O"), config_type="gas")
    os.rename(tmp_path / name.lower(), tmp_path / name)
    assert read_structures(tmp_path / name)[0].info == {"config_type": "gas"}


@pytest.mark.parametrize("name", ["a@b.xyz", "a@1.traj", "x@0.db"])
def test_a_file_may_have_an_at_sign_in_its_name(tmp_path, name):
    write(tmp_path / "plain.xyz", molecule("H2O"))
    if name.endswith(".traj"):
        with Trajectory(tmp_path / name, "w") as trajectory:
            trajectory.write(molecule("H2O"))
            trajectory.write(molecule("CH4"))
    elif name.endswith(".db"):
        with connect(tmp_path / name) as database:
            database.write(molecule("H2O"))
            database.write(molecule("CH4"))
    else:
        write(tmp_path / name, [molecule("H2O"), molecule("CH4")], format="extxyz")
    assert [len(atoms) for atoms in read_structures(tmp_path / name)] == [3, 5]


def test_a_database_of_another_kind_is_an_error(tmp_path):
    for name in ("a.db", "a.json", "a.aselmdb"):
        (tmp_path / name).write_text("no database")
        with pytest.raises(FrameError, match=f"{name}: frame 0: frame: cannot be read"):
            read_structures(tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "name", ["gas phase", "α-Fe 東", "a/b", 'say "x"', "cost $5_x$", "_x", "a|b", "a,b;c", "..", "-o"]
)
def test_names_of_subsets_are_kept(tmp_path, name):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
    atoms.info["subset"] = name
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    write(tmp_path / "a.traj", atoms)
    for file in ("a.xyz", "a.traj"):
        assert [frame.subset for frame in read_frames(tmp_path / file)] == [name]


def test_the_name_of_all_subsets_is_taken(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
    atoms.info["subset"] = "all"
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(FrameError, match=r"a\.traj: frame 0: subset: 'all' stands for the structures of all subsets"):
        frames_of(tmp_path / "a.traj")
    assert len(frames_of(tmp_path / "a.traj", labels=False)) == 1


@pytest.mark.parametrize(
    ("key", "label", "right"),
    [
        ("energy", -1.0, True),
        ("energy", -2.0, False),
        ("energy", "-1", False),
        ("energy", float("nan"), False),
        ("forces", [[0.0] * 3], True),
        ("forces", [[1.0] * 3], False),
        ("stress", [[1, 6, 5], [6, 2, 4], [5, 4, 3]], True),
        ("stress", [1, 2, 3, 4, 5, 7], False),
    ],
)
def test_results_and_labels_of_one_name_agree(tmp_path, key, label, right):
    """What a calculator found and what `info` says may be two levels of theory."""
    atoms = Atoms("H", cell=[5, 5, 5], pbc=True, info={key: label})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)), stress=np.arange(1.0, 7.0))
    write(tmp_path / "a.traj", atoms)
    if right:
        (frame,) = read_frames(tmp_path / "a.traj")
        assert frame.energy == -1.0 and frame.stress[0, 1] == 6.0
    else:
        with pytest.raises(FrameError, match=f"a.traj: frame 0: {key}: the results of the calculator and info or arr"):
            list(read_frames(tmp_path / "a.traj"))
    assert len(read_structures(tmp_path / "a.traj")) == 1


@pytest.mark.parametrize("value", ["high", [1, [2, 3]], {"a": 1}, [["1"] * 3] * 3, True, [1, 2], 1j])
def test_a_stress_of_other_things_is_an_error(tmp_path, value):
    for key in ("stress", "virial"):
        atoms = Atoms("H", cell=[5, 5, 5], pbc=True, info={key: value, "energy": 0.0, "forces": [[0.0] * 3]})
        write(tmp_path / "a.traj", atoms)
        with pytest.raises(FrameError, match=f"a.traj: frame 0: {key}: expected 9 numbers"):
            list(read_frames(tmp_path / "a.traj", rules=FrameRules(virial="virial" if key == "virial" else None)))


@pytest.mark.parametrize("name", ["frames", "POSITIONS"])
def test_extended_xyz_under_another_name_is_read_by_its_rules(tmp_path, name):
    (tmp_path / name).write_text('1\nLattice="5 0 0 0 6 0 0 0 7" pbc=FFF Properties=species:S:1:pos:R:3\nH 0 0 0\n')
    (atoms,) = read_structures(tmp_path / name)
    assert not atoms.pbc.any()


def test_a_byte_order_mark_is_no_number_of_atoms(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"\xef\xbb\xbf1\r\n\r\nH 0 0 0\r\n")
    assert len(read_structures(tmp_path / "a.xyz")) == 1
    for first in ("0_1", "99999999999999999999"):
        (tmp_path / "a.xyz").write_text(f"{first}\n\nH 0 0 0\n")
        with pytest.raises(FrameError, match="a.xyz: frame 0: frame: expected the number of atoms, found"):
            read_structures(tmp_path / "a.xyz")


def test_copies_are_one_group(tmp_path):
    """With the parents of all of them, also where the sign of a zero differs; a moved copy is another structure."""
    row = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0 {}\n{} {} 0 0 0 0 0\n"
    frames = [("", "H", 0), ("", "H", "-0.0"), ("", "H", 1), ("parent=p", "H", 2), ("parent=q", "H", 2), ("", "O", 0)]
    frames += [("parent=q", "O", 3), ("parent=r", "O", 4)]
    (tmp_path / "a.xyz").write_text("".join(row.format(*frame) for frame in frames))
    parents = [frame.parent for frame in frames_of(tmp_path / "a.xyz")]
    assert parents == ["copies of frame 0"] * 2 + [None] + ["p"] * 2 + [None, "p", "r"]


def test_keys_are_names_that_the_file_has(tmp_path):
    (tmp_path / "a.xyz").write_text("1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0 mol=a\nH 0 0 0 0 0 0\n" * 2)
    for name in ("energy", "forces", "parent"):
        with pytest.raises(ValueError, match=f"the key of {name} is empty"):
            frames_of(tmp_path / "a.xyz", keys={name: ""})
    with pytest.raises(ValueError, match="a.xyz: molecule: no frame has this key of parents"):
        frames_of(tmp_path / "a.xyz", keys={"parent": "molecule"})
    assert [frame.parent for frame in frames_of(tmp_path / "a.xyz", keys={"parent": "mol"})] == ["a", "a"]
    assert len(frames_of(tmp_path / "a.xyz", keys={"energy": None, "parent": None})) == 2
