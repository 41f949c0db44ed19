"""Reading extended XYZ: equal to ASE on what ASE reads right, and an error with a name for everything else.

What ASE reads wrong or guesses is in test_frame_text.py.
"""

import gzip
import io
import os
import re
import warnings

import numpy as np
import pytest
from ase.io import iread, read, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import structures
from fcl.data import extxyz as module
from fcl.data.extxyz import parse, sources
from fcl.data.frames import FrameError, FrameRules, RawFrame, raw_frame
from fcl.data.read import read_frames
from project import ROOT

PROPERTIES = "Properties=species:S:1:pos:R:3:forces:R:3"
ROW = "H 0 0 0.5 1 2 3"
#: Comment lines and rows that ASE reads, each unusual in one respect.
HARD = {
    "integers": (f"energy=-3 {PROPERTIES}", "H 0 0 1 1 2 3"),
    "exponents": (f"energy=-3.5e-2 {PROPERTIES}", "H 1e-3 .5 -1.E+1 1 2 3"),
    "plus signs": (f"energy=+3.5 {PROPERTIES}", "H +1 0 0 1 2 3"),
    "nan": (f"energy=nan {PROPERTIES}", "H 0 0 0 nan 2 inf"),
    "a number as subset": (f"energy=1 subset=12 {PROPERTIES}", ROW),
    "a truth as note": (f"energy=1 note=T other=false {PROPERTIES}", ROW),
    "punctuation": (f"energy=1 subset=a/b.c:d-e {PROPERTIES}", ROW),
    "spaces in quotes": (f'energy=1 subset="a b" {PROPERTIES}', ROW),
    "single quotes": (f"energy=1 subset='a b' {PROPERTIES}", ROW),
    "braces": (f"energy={{1.0}} subset={{x y}} {PROPERTIES}", ROW),
    "brackets": (f"Lattice=[5 0 0 0 5 0 0 0 5] pbc=[T F T] energy=1 {PROPERTIES}", ROW),
    "escaped quotes": (f'energy=1 note="a \\" b" {PROPERTIES}', ROW),
    "quoted number": (f'energy="1.5" {PROPERTIES}', ROW),
    "flag without value": (f"energy=1 relaxed {PROPERTIES}", ROW),
    "spaces about =": (f"energy = 1 {PROPERTIES}", ROW),
    "two =": (f"energy=1 note=a=b {PROPERTIES}", ROW),
    "tabs": (f"energy=1\tsubset=x\t{PROPERTIES}", "H\t0\t0 0\t1 2 3"),
    "a key twice": (f"energy=1 energy=1 {PROPERTIES}", ROW),
    "commas": (f'Lattice="5,0,0,0,5,0,0,0,5" energy=1 {PROPERTIES}', ROW),
    "JSON": (f'energy=1 x="_JSON [1, 2]" {PROPERTIES}', ROW),
    "not ASCII": (f"energy=1 subset=über note=Å {PROPERTIES}", ROW),
    "lattice": (f'Lattice="5 0 0 1 5 0 0 0 6" energy=1 {PROPERTIES}', ROW),
    "integer lattice and pbc": (f'Lattice="5 0 0 1 5 0 0 0 6" pbc="T F T" energy=1 {PROPERTIES}', ROW),
    "pbc without lattice": (f'pbc="F F F" energy=1 {PROPERTIES}', ROW),
    "one flag of pbc": (f'Lattice="5 0 0 1 5 0 0 0 6" pbc=T energy=1 {PROPERTIES}', ROW),
    "pbc in words": (f'Lattice="5 0 0 1 5 0 0 0 6" pbc="True False true" energy=1 {PROPERTIES}', ROW),
    "stress": (f'stress="1 2 3 4 5 6 7 8 9" energy=1 {PROPERTIES}', ROW),
    "stress not a number": (f'stress="nan nan nan nan nan nan nan nan nan" energy=1 {PROPERTIES}', ROW),
    "stress with commas": (f'stress="1,2,3,4,5,6,7,8,9" energy=1 {PROPERTIES}', ROW),
    "virial and magmom": (f'virial="1 2 3 4 5 6 7 8 9" magmom=0.0 energy=1 {PROPERTIES}', ROW),
    "free energy": (f"free_energy=2 energy=1 {PROPERTIES}", ROW),
    "capitals": (f"energy=1 {PROPERTIES}", "HE 0 0 0 1 2 3"),
    "small letters": (f"energy=1 {PROPERTIES}", "he 0 0 0 1 2 3"),
    "further fields in a row": ("energy=1", "H 0 0 0 9 9"),
    "columns in another order": ("energy=1 Properties=forces:R:3:pos:R:3:species:S:1", "1 2 3 0 0 0.5 H"),
    "numbers instead of symbols": ("energy=1 Properties=Z:I:1:pos:R:3:forces:R:3", "8 0 0 0.5 1 2 3"),
    "both": ("energy=1 Properties=species:S:1:Z:I:1:pos:R:3:forces:R:3", "O 8 0 0 0.5 1 2 3"),
    "other columns": ("energy=1 Properties=species:S:1:pos:R:3:magmoms:R:1:forces:R:3:tag:I:1", "H 0 0 0 7 1 2 3 4"),
    "a column of words": ("energy=1 Properties=species:S:1:pos:R:3:label:S:1:forces:R:3", "H 0 0 0 x 1 2 3"),
    "two columns of words": ("energy=1 Properties=species:S:1:pos:R:3:label:S:2:forces:R:3", "H 0 0 0 x y 1 2 3"),
    "energies of atoms": ("energy=1 Properties=species:S:1:pos:R:3:energies:R:1:forces:R:3", "H 0 0 0 7 1 2 3"),
    "move mask": ("energy=1 Properties=species:S:1:pos:R:3:move_mask:L:1:forces:R:3", "H 0 0 0 T 1 2 3"),
    "charges": ("energy=1 Properties=species:S:1:pos:R:3:initial_charges:R:1:forces:R:3", "H 0 0 0 0.5 1 2 3"),
    "two columns of forces": ("energy=1 Properties=species:S:1:pos:R:3:forces:R:2", "H 0 0 0 1 2"),
    "one column of forces": ("energy=1 Properties=species:S:1:pos:R:3:forces:R:1", "H 0 0 0 1"),
    "forces in the header": ('energy=1 forces="1 2 3" Properties=species:S:1:pos:R:3', "H 0 0 0"),
    "no properties": ("energy=1", "H 0 0 0"),
    "no comment": ("", "H 0 0 0"),
    "plain comment": ("a water molecule, 300 K", "H 0 0 0"),
    "large integer": (f"energy=123456789012345678901 {PROPERTIES}", ROW),
    "uid": (f"energy=1 uid=123 {PROPERTIES}", ROW),
}
RULES = FrameRules()


def equal(ours: RawFrame, theirs: RawFrame):
    """Values and types of what is used; the other names may differ."""
    for name in ("numbers", "positions", "cell", "pbc"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("energy", "forces"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None)
        if other is not None:
            np.testing.assert_array_equal(np.asarray(mine, float), np.asarray(other, float))
            assert np.shape(mine) == np.shape(other)
    for name in ("subset", "split", "parent", "fidelity", "stress"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None)
        if name == "stress" and other is not None and np.asarray(other).dtype.kind in "if":
            mine, other = tensor(mine), tensor(other)
            if np.array_equal(mine, mine.T, equal_nan=True):  # ASE takes three of the six others, without a look
                np.testing.assert_array_equal(mine, other)
        else:
            assert str(mine) == str(other)


def tensor(stress):
    """[3, 3]; what has another number of values stays as it is."""
    values = np.asarray(stress, float)
    if values.shape == (6,):
        return values[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    return values.reshape(3, 3) if values.size == 9 else values


def ours(text, rules=RULES):
    return parse("x.xyz", 0, text.encode(), rules)


def theirs(text, rules=RULES):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return raw_frame(read(io.StringIO(text), format="extxyz", index=0), rules, columns=True)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("case", HARD)
def test_unusual_frames_are_read_as_ase_reads_them(case, newline):
    header, row = HARD[case]
    text = f"2\n{header}\n{row}\n{row}\n"
    equal(ours(text.replace("\n", newline)), theirs(text))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_shipped_frame_is_read_as_ase_reads_it_and_none_needs_ase(split, monkeypatch):
    path = ROOT / f"resources/embedded/{split}.xyz.gz"
    expected = [raw_frame(atoms, RULES) for atoms in iread(path, index=":")]
    monkeypatch.setattr(io, "StringIO", None)  # what falls back to ASE fails
    found = [parse(path, index, source, RULES) for index, source in sources(path)]
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        equal(mine, other)


def test_what_ase_writes_is_read_as_ase_reads_it(tmp_path):
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(3)
    frames = structures()
    for atoms in frames:
        results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3)), "stress": rng.normal(size=6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info = {"subset": "MC3D", "config": "a b", "weight": 1.5, "list": np.arange(3)}
        atoms.set_tags(1)
    for name in ("a.xyz", "a.xyz.gz", "a.traj"):
        write(tmp_path / name, frames)
        found = [parse(name, index, source, RULES) for index, source in sources(tmp_path / name)]
        for mine, atoms in zip(found, iread(tmp_path / name, index=":"), strict=True):
            equal(mine, raw_frame(atoms, RULES))


@pytest.mark.parametrize(
    "rows",
    [
        "H 0 0 0.5 1 2\n3 H 0 0 1.5 1 2 3\n",  # a field on the next line
        "H 0 0 0.5 1 2 3 H 0 0 1.5 1 2 3\n\n",  # two rows on one line
        "H 0 0 0.5 1 2 3 4\nH 0 0 1.5 1 2\n",
        "H 0 0 0.5 1 2 3\n",
    ],
)
def test_rows_are_rows(rows):
    """Where the number of fields fits and the lines do not, no reading is the right one."""
    text = f"2\nenergy=1 {PROPERTIES}\n{rows}"
    assert module._usual_frame(text, RULES) is None


def test_own_keys():
    rules = FrameRules(energy="REF_energy", forces="dft_forces", subset="config_type", split_key="part")
    text = (
        "1\nenergy=9 REF_energy=-1.5 config_type=bulk part=val "
        "Properties=species:S:1:pos:R:3:forces:R:3:dft_forces:R:3\nH 0 0 0 7 7 7 1 2 3\n"
    )
    raw = ours(text, rules)
    assert (raw.energy, raw.subset, raw.split) == (-1.5, "bulk", "val")
    np.testing.assert_array_equal(raw.forces, [[1, 2, 3]])
    equal(raw, theirs(text, rules))


@pytest.mark.parametrize("stress", ["1 2 3 4 5 6", "1 2 3 2 4 5 3 5 6", "1 2", "1.5", "a b c d e f"])
@pytest.mark.parametrize("words", ["mother=m-1 theory=PBE", "mother=12 theory=PBE0", "mother='a b'"])
def test_further_keys(stress, words):
    rules = FrameRules(stress="REF_stress", parent="mother", fidelity_key="theory")
    text = f'1\nenergy=1 stress="9 8 7 8 5 4 7 4 1" REF_stress="{stress}" {words} {PROPERTIES}\n{ROW}\n'
    equal(ours(text, rules), theirs(text, rules))


def test_a_frame_with_stress_needs_no_ase(monkeypatch):
    text = f'1\nstress="1 2 3 2 4 5 3 5 6" energy=1 {PROPERTIES}\n{ROW}\n'
    expected = theirs(text)
    monkeypatch.setattr(io, "StringIO", None)  # what falls back to ASE fails
    equal(ours(text), expected)
    assert ours(text).stress.tolist() == [1, 2, 3, 2, 4, 5, 3, 5, 6]


WORDS = st.sampled_from(
    'energy=1 energy=nan subset=a subset=\'a split=train Lattice="5 0 0 0 5 0 0 0 5" pbc="T T F" pbc=T = == " \' { '
    'stress="1 2 3 2 4 5 3 5 6" stress="1 2" '
    "} [ ] \\ , _JSON x=_JSON stress=1 virial=x Properties=species:S:1:pos:R:3 Properties=pos:R:3:forces:R:3 "
    "Properties=species:S:x Properties=: é T".split(" ")
    + [PROPERTIES, PROPERTIES, ""]
)
FIELDS = st.sampled_from('H C Xx he 0 1 -1.5 nan 1e400 1_0 x " é \t'.split(" "))
TEXTS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda n, header, rows: (
            f"{n}\n{' '.join(header)}\n".encode() + b"".join(f"{' '.join(r)}\n".encode() for r in rows)
        ),
        st.sampled_from(["0", "1", "2", "-1", "1.0", "x", "", " 1 ", "99999999999999999999"]),
        st.lists(WORDS, max_size=6),
        st.lists(st.lists(FIELDS, max_size=8), max_size=4),
    ),
)


@settings(
    max_examples=int(os.environ.get("FCL_FUZZ_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(TEXTS, max_size=3), st.sampled_from(["f.xyz", "f.xyz.gz", "f.extxyz"]), st.booleans())
def test_no_text_crashes_the_reader(tmp_path_factory, texts, name, compressed):
    """Whatever the file holds, it is read, or a `FrameError` names it."""
    path = tmp_path_factory.getbasetemp() / name
    content = b"".join(texts)
    path.write_bytes(gzip.compress(content)[: None if compressed else 40] if name.endswith("gz") else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for frame in read_frames(path):
                assert len(frame) and np.isfinite(frame.forces).all()
        except FrameError as error:
            assert re.match(rf".*{re.escape(name)}: frame \d+: \w+: .", str(error))


@settings(max_examples=int(os.environ.get("FCL_FUZZ_EXAMPLES", "200")), deadline=None)
@given(st.lists(WORDS, max_size=6), st.lists(st.lists(FIELDS, min_size=4, max_size=8), min_size=1, max_size=2))
def test_what_is_parsed_without_ase_is_parsed_as_ase_does(header, rows):
    text = f"{len(rows)}\n{' '.join(header)}\n" + "".join(f"{' '.join(row)}\n" for row in rows)
    raw = module._usual_frame(text, RULES)
    if raw is not None:
        equal(raw, theirs(text))
