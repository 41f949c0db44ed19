"""Bad input: each kind gets one error that names file, frame and key, or is left out and listed if so wanted."""

import csv
import gzip

import pytest

from examples import frame_settings
from fcl.data.build import build_store
from fcl.data.frames import FrameError
from fcl.data.splits import frame_arguments
from fcl.data.store import read_store

HEADER = 'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3 '
GOOD = "2\n" + HEADER + 'energy=-1.5 subset=MC3D split=train pbc="T T T"\nC 0 0 0 0.1 0 0\nO 1.2 0 0 -0.1 0 0\n'

#: kind: (what is replaced in a good frame, by what), and the end of the message after "bad.xyz: frame 1: ".
FRAMES = {
    "no energy": (("energy=-1.5 ", ""), "energy: missing; the frame contains subset, split, forces"),
    "NaN energy": (("energy=-1.5", "energy=nan"), r"energy: not finite \(nan\)"),
    "infinite energy": (("energy=-1.5", "energy=-inf"), r"energy: not finite \(-inf\)"),
    "energy in words": (("energy=-1.5", "energy=low"), "energy: is 'low', expected one number"),
    "two energies": (("energy=-1.5", 'energy="1 2"'), "energy: is array.*expected one number"),
    "energy true": (("energy=-1.5", "energy=T"), "energy: is True, expected one number"),
    "no forces": ((":forces:R:3", ":other:R:3"), "forces: missing; the frame contains energy, subset, split, other"),
    "NaN forces": (("0.1 0 0\nO", "nan 0 0\nO"), "forces: contains non-finite values"),
    "one force for all": (("forces:R:3 ", 'x:R:3 forces="1 2 3" '), r"forces: shape \(3,\), expected \(2, 3\)"),
    "two components": ((":forces:R:3", ":forces:R:2:x:R:1"), r"forces: shape \(2, 2\), expected \(2, 3\)"),
    "huge forces": (("0.1 0 0\nO", "300 0 400\nO"), r"forces: 500 eV/A on atom 0 exceeds .* data.max_force = 100 eV/A"),
    "two numbers of stress": (("energy", 'REF="1 2" energy'), r"REF: expected 9 numbers, or the 6 numbers xx, yy"),
    "half a stress": (("energy", 'REF="1 nan 3 4 5 6" energy'), "REF: contains non-finite values"),
    "stress in words": (("energy", "REF=high energy"), "REF: expected 9 numbers"),
    "infinite position": (("O 1.2", "O inf"), "positions: contains non-finite values"),
    "far position": (("O 1.2", "O 1.2e9"), "positions: beyond 1e.06 A"),
    "infinite cell": (('"6 0 0', '"inf 0 0'), "Lattice: contains non-finite values"),
    "no volume": (('"6 0 0 0 6 0', '"6 0 0 6 0 0'), r"Lattice: no volume along .* \[True, True, True\]"),
    "no cell": (('Lattice="6 0 0 0 6 0 0 0 6" ', ""), "Lattice: no volume along the periodic directions"),
    "thin cell": (('"6 0 0', '"1e-8 0 0'), "Lattice: 2 atoms in a cell 1e-08 A high have too many neighbours"),
    "own image": (('"6 0 0', '"0.05 0 0'), r"positions: atoms \d and \d are \S+ A apart"),
    "eight numbers": (('0 0 6"', '0 6"'), "Lattice: is '6 0 0 0 6 0 0 6', expected 9 numbers"),
    "duplicate atoms": (("O 1.2 0 0", "O 0.02 0 0"), r"positions: atoms 0 and 1 are 0\.02 A apart \(duplicate"),
    "unknown symbol": (("O 1.2", "Qq 1.2"), "species: 'Qq' in row 1 is not the symbol of an element$"),
    "dummy atom": (
        ("O 1.2", "X 1.2"),
        "species: 'X' in row 1 is not the symbol of an element; dummy atoms are not read",
    ),
    "deuterium": (("O 1.2", "D 1.2"), "species: 'D' in row 1 is not the symbol of an element; write H for deuterium"),
    "a label for a symbol": (("O 1.2", "Si1 1.2"), "species: 'Si1' in row 1 is not the symbol of an element$"),
    "a number for a symbol": (
        ("O 1.2", "14 1.2"),
        "species: '14' in row 1 .*; atomic numbers belong in a column Z:I:1",
    ),
    "two elements for an atom": (("pos:R:3", "pos:R:3:Z:I:1"), "frame: row 0 has 7 fields, but Properties names 8"),
    "no positions": ((":pos:R:3", ":position:R:3"), "positions: Properties does not name three columns pos"),
    "no symbols": (("species:S:1", "name:S:1"), "species: expected species:S:1 or Z:I:1 in Properties"),
    "beyond the model": (("O 1.2", "Og 1.2"), r"species: Og \(Z = 118\) not among the \d+ elements of the model"),
    "beyond the data": (("O 1.2", "Fe 1.2"), r"species: Fe \(Z = 26\) not among the 3 elements of the model and"),
    "another split": (("split=train", "split=test"), "split: is 'test', expected 'train'"),
    "short row": (("O 1.2 0 0 -0.1 0 0", "O 1.2 0 0 -0.1"), "frame: row 1 has 5 fields, but Properties names 7"),
    "words for numbers": (("O 1.2", "O x"), "frame: 'x' in row 1 is not a number"),
    "unknown type": (
        (":forces:R:3", ":forces:Q:3"),
        "Properties: is 'species:S:1:pos:R:3:forces:Q:3', expected name, type",
    ),
    "not UTF-8": (("MC3D", "MC3D\udcff"), "frame: cannot be read: not UTF-8 text"),
    "reserved subset": (("MC3D", "all"), "subset: 'all' stands for the structures of all subsets together"),
    "subset of no value": (
        ("MC3D", "NA"),
        "subset: 'NA' stands for a missing value in tables: give the subset another",
    ),
    "empty subset": (("MC3D", '""'), "subset: is empty, expected a name"),
    "subset without a value": (("subset=MC3D", "subset"), "subset: is empty, expected a name"),
    "blank at the end": (("MC3D", '"gas "'), "subset: is 'gas ', expected a name: text on one line"),
    "energy twice": (("energy=-1.5", "energy=-1.5 energy=2"), "energy: is given twice, as '-1.5' and as '2'"),
    "flags in words": (('"T T T"', "no"), "pbc: is 'no', expected three of T, F, True, False, 1, 0"),
    "quote": (
        ("subset=MC3D", 'subset="MC3D'),
        "frame: a quote, brace or bracket is not closed in the comment line, at ",
    ),
    "no atoms": ((GOOD, "0\n" + HEADER + "energy=1 split=train\n"), "positions: the structure has no atoms"),
}
#: Faults of the file itself: nobody knows what follows, so they are errors in any case.
FILES = {
    "truncated": (GOOD * 2)[:-40],
    "too many atoms": GOOD + GOOD.replace("2\n", "3\n", 1),
    "too few atoms": GOOD + GOOD.replace("2\n", "1\n", 1) + GOOD,
    "blank line": GOOD + "\n" + GOOD,
    "no count": GOOD + "two\n" + GOOD,
}
MESSAGES = {
    "truncated": r"frame 1: frame: cannot be read: 0 of 2 atoms; is the file truncated\?",
    "too many atoms": r"frame 1: frame: cannot be read: 2 of 3 atoms; is the file truncated\?",
    "too few atoms": r"frame 2: frame: expected the number of atoms, found 'O 1.2 0 0.*are those of the previous",
    "blank line": r"frame 1: frame: blank line instead of the number of atoms, followed by '2'",
    "no count": r"frame 1: frame: expected the number of atoms, found 'two'",
}


def build(folder, text, name="bad.xyz", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    settings = frame_settings("train", **options.pop("manifest", {}))
    arguments = {**frame_arguments(settings, 100, 100.0), **options}
    return build_store(path, folder / "out.h5", r_max=5.0, **arguments)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_bad_frame_is_an_error_or_left_out_and_listed(tmp_path, kind):
    change, message = FRAMES[kind]
    assert change[0] in GOOD
    text = GOOD + GOOD.replace(*change) + GOOD
    manifest = {"elements": ["H", "C", "O"]} if kind == "beyond the data" else {}
    manifest |= {"keys": {"stress": "REF"}} if "stress" in kind else {}
    with pytest.raises(FrameError, match=rf"bad\.xyz: frame 1: ({message})") as caught:
        build(tmp_path, text, manifest=manifest)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.xyz"]
    rejected = tmp_path / "rejected.csv"
    summary = build(tmp_path, text, manifest=manifest, strict=False, rejected=rejected)
    assert (summary["structures"], summary["frames_left_out"]) == (2, 1)
    assert len(read_store(tmp_path / "out.h5")) == 2
    (row,) = csv.DictReader(rejected.open(encoding="utf-8"))
    assert (row["file"], row["frame"], row["key"]) == ("bad.xyz", "1", caught.value.key)
    assert row["reason"] == caught.value.reason


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_always_an_error(tmp_path, kind, strict):
    with pytest.raises(FrameError, match=r"bad\.xyz: " + MESSAGES[kind]):
        build(tmp_path, FILES[kind], strict=strict)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz.gz", gzip.compress((GOOD * 40).encode())[:-20], r"frame: cannot be read: damaged or truncated gzip"),
        ("a.xyz.gz", GOOD.encode(), r"frame: cannot be read: damaged or truncated gzip"),
        ("a.xyz", gzip.compress(GOOD.encode()), r"frame 0: frame: expected the number of atoms"),
        ("a.xyz", b"", r"frame 0: frame: the file contains no frames"),
        ("a.xyz", b"\n\n", r"frame 0: frame: the file contains no frames"),
        ("a.traj", b"no trajectory", r"frame 0: frame: cannot be read .* of another format\?"),
        ("a.dat", b"no known format", r"frame 0: frame: cannot be read .* of another format\?"),
    ],
)
def test_files_of_another_kind(tmp_path, name, content, message):
    with pytest.raises(FrameError, match=name.replace(".", r"\.") + ".*" + message):
        build(tmp_path, content, name)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz: no such file"):
        build_store(tmp_path / "none.xyz", tmp_path / "out.h5", r_max=5.0)


def test_an_energy_is_missing_only_where_the_manifest_allows_it(tmp_path):
    text = GOOD + GOOD.replace("energy=-1.5 ", "") + GOOD.replace("energy=-1.5", "energy=nan")
    manifest = {"optional_labels": ["energy"]}
    assert build(tmp_path, text, manifest=manifest)["structures_without_energy"] == 2
    assert read_store(tmp_path / "out.h5").energy_mask.tolist() == [True, False, False]
    for change, message in (("energy=inf", "energy: not finite"), ("energy=low", "energy: is 'low'")):
        with pytest.raises(FrameError, match=f"frame 1: {message}"):
            build(tmp_path, GOOD + GOOD.replace("energy=-1.5", change), manifest=manifest)


def test_a_stress_without_a_volume_is_none(tmp_path):
    """A molecule has none, and a stress may be left unread."""
    stress = 'stress="1 2 3 2 4 5 3 5 6" energy'
    molecule = GOOD.replace('Lattice="6 0 0 0 6 0 0 0 6" ', "").replace('pbc="T T T"', 'pbc="F F F"')
    layer = GOOD.replace("6 0 0 0 6 0 0 0 6", "6 0 0 0 6 0 0 0 1e-14").replace('pbc="T T T"', 'pbc="T T F"')
    text = molecule.replace("energy", stress) + GOOD.replace("energy", stress) + layer.replace("energy", stress)
    assert build(tmp_path, text)["structures_with_stress"] == 1
    assert build(tmp_path, text, manifest={"keys": {"stress": None}})["structures_with_stress"] == 0


def test_one_file_for_all_splits_needs_to_name_them(tmp_path):
    manifest = {"splits": {split: {"file": "bad.xyz"} for split in ("train", "val", "test")}}
    others = GOOD.replace("split=train", "split=val") + GOOD.replace("split=train", "split=test")
    assert build(tmp_path, GOOD + others, manifest=manifest)["structures"] == 1
    for change, message in (
        ("split=tset", "is 'tset'; expected one of train, val, test, as the file contains several splits"),
        ("", "missing; expected one of train, val, test"),
    ):
        with pytest.raises(FrameError, match=f"frame 1: split: {message}"):
            build(tmp_path, GOOD + GOOD.replace("split=train", change), manifest=manifest)
    with pytest.raises(FrameError, match="frame: no valid frame in the split 'train', which has 0 frames"):
        build(tmp_path, others, manifest=manifest)


def test_too_few_frames(tmp_path):
    splits = {"train": {"file": "bad.xyz", "fraction": 0.1}, "test": {"file": "bad.xyz", "fraction": 0.9}}
    with pytest.raises(FrameError, match=r"too few frames: 0\.1 of 2 frames leave none for the split 'train'"):
        build(tmp_path, GOOD * 2, manifest={"splits": splits})
    splits = {"train": {"file": "bad.xyz", "frames": 3}}
    with pytest.raises(FrameError, match="contains 2 frames of this split, but the data manifest says 3"):
        build(tmp_path, GOOD * 2, manifest={"splits": splits})
    with pytest.raises(FrameError, match="no valid frame in the split 'train', which has 2 frames, 2 of them invalid"):
        build(tmp_path, GOOD.replace("-1.5", "nan") * 2, strict=False)


def test_reference_energies_that_lack_an_element(tmp_path):
    with pytest.raises(ValueError, match=r"bad\.xyz: reference_energies: no value for O"):
        build(tmp_path, GOOD, manifest={"reference_energies": {"C": -1.0}})
