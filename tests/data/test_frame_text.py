"""Text of extended XYZ that other readers guess at: the value that the format's rules give, or an error."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcl.data.extxyz import parse
from fcl.data.frames import FrameError, FrameRules, validated
from fuzz_frames import CHECKS
from project import ROOT

LATTICE = 'Lattice="5 0 0 0 6 0 0 0 7"'
PROPERTIES = "Properties=species:S:1:pos:R:3:forces:R:3"


STRUCTURE = FrameRules(labels=False)


def frame(line, row="H 0 0 0.5 1 2 3", rules=STRUCTURE):
    text = f"1\n{line} {PROPERTIES if len(row.split()) > 4 else ''}\n{row}\n"
    return validated("x.xyz", 0, parse("x.xyz", 0, text.encode(), rules), rules)


@pytest.mark.parametrize("name", CHECKS)
def test_random_frames(name):
    """A frame in any spelling is read as what it means; a spoiled or mistyped one never changes without an error."""
    arguments, check = CHECKS[name]
    examples = settings(max_examples=int(os.environ.get("FCL_FUZZ_EXAMPLES", "200")), deadline=None)
    examples(given(arguments)(lambda values: check(*values)))()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FFF", "FFF"),
        ("TTF", "TTF"),
        ("ttf", "TTF"),
        ("110", "TTF"),
        ('"f f f"', "FFF"),
        ('"T F T"', "TFT"),
        ("{true, False, TRUE}", "TFT"),
        ("[1,0,0]", "TFF"),
        ('"[True False  True]"', "TFT"),
        ("'(T, T, F)'", "TTF"),
        ('"_JSON [true, true, false]"', "TTF"),
        ("F", "FFF"),
        ("t", "TTT"),
        ("0", "FFF"),
        ("1", "TTT"),
    ],
)
def test_periodicity_in_any_usual_spelling(text, expected):
    for line in (f"pbc={text} {LATTICE}", f"{LATTICE} note=x pbc = {text}"):
        assert "".join("FT"[int(flag)] for flag in frame(line).pbc) == expected


@pytest.mark.parametrize(
    "text", ["no", "yes", "2", "TT", "TTFF", '"T T"', '"T T F F"', '"T T x"', "None", "-1", '""', "xyz"]
)
def test_any_other_periodicity_is_an_error_with_the_spellings(text):
    with pytest.raises(FrameError, match="frame 0: pbc: is '.*', expected three of T, F, True, False, 1, 0") as caught:
        frame(f"{LATTICE} pbc={text}")
    assert caught.value.key == "pbc"


@given(
    st.sampled_from(
        [
            "lattice",
            "LATTICE",
            "Latice",
            "lattices",
            "cell",
            "Cell",
            "unit_cell",
            "box",
            "cell-vectors",
            "h",
            "abc",
            "cell0",
        ]
    ),
    st.sampled_from(['"5 0 0 0 6 0 0 0 7"', '"5,6,7"', "[5 6 7 90 90 90]", '"[[5,0,0],[0,6,0],[0,0,7]]"']),
    st.sampled_from(["{} note=x", "note=x {}", 'energy=1 {} note="a b"', "pbc=F {}"]),
)
def test_a_lattice_under_another_name_is_no_molecule(name, text, line):
    with pytest.raises(
        FrameError, match=f"Lattice: missing, but there is {name}=.*: write Lattice=..., with 9 numbers"
    ):
        frame(line.format(f"{name}={text}"))


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        (f"config_type= {LATTICE}", "config_type", "has no value, and would take 'Lattice=\"5 0 0"),
        (f"config_type = {LATTICE}", "config_type", "has no value, and would take"),
        ("note= pbc=F", "note", "has no value, and would take 'pbc=F'; give it one, or leave it out"),
        (f'note="x {LATTICE}', "frame", "a quote, brace or bracket is not closed"),
        ('note="x Lattice=5 0 0 0 6 0 0 0 7"', "Lattice", "missing, but it stands within quotes"),
        (f"{LATTICE} PBC=FFF", "pbc", "missing, but there is PBC='FFF': write pbc=..., with three of T, F"),
        ("{relaxed Lattice={5 0 0 0 6 0 0 0 7} x=1", "Lattice", "missing, but it stands within quotes, braces"),
        (f'{LATTICE} abc="T T F"', "pbc", "missing, but there is abc='T T F'"),
        (f"{LATTICE} bc=FFT", "pbc", "missing, but there is bc='FFT'"),
        (f"{LATTICE} periodic=F", "pbc", "missing, but there is periodic='F'"),
        ("properties=species:S:1:pos:R:3", "Properties", "missing, but there is properties='species"),
        (f'{LATTICE} Lattice="9 0 0 0 9 0 0 0 9"', "Lattice", "is given twice"),
        ("Lattice=5", "Lattice", "is '5', expected 9 numbers"),
        ('Lattice="[[5,0,0],[0,6,0],[0,0,7]]"', "Lattice", "expected 9 numbers"),
        ("# CELL(abcABC): 5.0 6.0 7 90 90 90 Step: 0", "Lattice", "missing, but there is 'CELL(abcABC): 5.0 6.0 7'"),
        ("Lattice: 5 0 0 0 6 0 0 0 7 energy=1", "Lattice", "missing, but there is 'Lattice: 5 0 0'"),
        ("=1 energy=2", "frame", "an equals sign without a key"),
        (f'pbc:"T T F" {LATTICE}', "pbc", "missing, but there is 'pbc:T T F'"),
        (f"pbc: T T F {LATTICE}", "pbc", "missing, but there is 'pbc:'"),
        (f"{LATTICE} pbc T T F", "pbc", "is 'T', and 'T' follows: several words belong in quotes"),
        (f"{LATTICE} pbc.x=T pbc.y=T pbc.z=F", "pbc", "missing, but there is pbc.x='T'"),
        (f"{LATTICE} periodic=xy", "pbc", "missing, but there is periodic='xy'"),
        (f'{LATTICE} boundary="p p f"', "pbc", "missing, but there is boundary='p p f'"),
        (f"{LATTICE} bc=ppp", "pbc", "missing, but there is bc='ppp'"),
        ("Properties:species:S:1:pos:R:3:forces:R:3 x=1", "Properties", "missing, but there is 'Properties:species"),
        ('primitive_cell="5 0 0 0 6 0 0 0 7"', "Lattice", "missing, but there is primitive_cell='5 0"),
        ('pbc_box="5 6 7"', "Lattice", "missing, but there is pbc_box='5 6 7'"),
        ('dimensions="5 6 7 90 90 90"', "Lattice", "missing, but there is dimensions='5 6 7"),
        ("a=5.0 b=6.0 c=7.0 alpha=90", "Lattice", "missing, but there are a, b, c: write Lattice"),
        ('A="5 0 0" B="0 6 0" C="0 0 7"', "Lattice", "missing, but there are a, b, c: write Lattice"),
        ('Tv_1="5 0 0" Tv_2="0 6 0" Tv_3="0 0 7"', "Lattice", "missing, but there are tv1, tv2, tv3: write Lattice"),
        ("CRYST1 5 6 7 90 90 90", "Lattice", "missing, but there is 'CRYST1 5 6 7'"),
        ("5 0 0 0 6 0 0 0 7", "Lattice", "missing, but the comment line is '5 0 0 0 6"),
        ("5.0 6.0 7.0 90 90 90", "Lattice", "missing, but the comment line is '5.0 6.0"),
        ("10 10 10", "Lattice", "missing, but the comment line is '10 10 10'"),
    ],
)
def test_what_would_be_lost_is_an_error(line, key, message):
    row = "H 0 0 0" if key == "Properties" or "=" not in line or line.startswith("#") else "H 0 0 0.5 1 2 3"
    with pytest.raises(FrameError) as caught:
        frame(line, row)
    assert caught.value.key == key and message in caught.value.reason


@pytest.mark.parametrize(
    "line",
    [
        *("lattice=fcc cell_volume=3.5", "cell=7", 'kpts="1 1 1" box=large', "it's a cell in a box", "cell 3"),
        *("a=1 b=2", "a=x b=y c=z", "x=1 y=2 z=3", "boundary=all bc=no", "pbe:T", 'dimensions="two of them"'),
        *("0 0.5 -76.2", "-76.2", "1 2", "7 structures"),
    ],
)
def test_other_values_with_such_names_are_left_alone(line):
    found = frame(line, "H 0 0 0" if "=" not in line else "H 0 0 0.5 1 2 3")
    assert not found.pbc.any() and not found.cell.any()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (f"pbc=T T F {LATTICE}", "pbc"),
        (f"{LATTICE} energy=1 pbc = T T F", "pbc"),
        (f"{LATTICE} pbc=1, 1, 0", "pbc"),
        (f"{LATTICE} pbc=true true false", "pbc"),
        ("Lattice=5 0 0 0 6 0 0 0 7", "Lattice"),
        (f"{LATTICE} stress=1 2 3 4 5 6", "stress"),
        (f"{LATTICE} dipole=.1 -2e-3 +3.", "dipole"),
    ],
)
def test_words_without_their_quotes(line, key):
    """The first would be the value, and each of the others a flag."""
    with pytest.raises(FrameError, match=f"^x.xyz: frame 0: {key}: is .* follows: several words belong in quotes"):
        frame(line)


@pytest.mark.parametrize("line", ["relaxed T x=1", 'x="1" 2', "energy=-1.5 eV", "name=a b2 e5x=1", "1 2 x=3"])
def test_words_that_are_flags(line):
    assert len(frame(line)) == 1


def test_names_without_their_quotes():
    """The subset of subset=gas phase is not gas."""
    rules = FrameRules(parent="mother")
    for key in ("subset", "split", "mother"):
        with pytest.raises(FrameError, match=f"0: {key}: is 'gas', and 'phase' follows: several words belong in quote"):
            frame(f"energy=1 {key}=gas phase", rules=rules)
        assert len(frame(f'energy=1 {key}="gas" phase', rules=rules)) == 1


def test_a_subset_under_another_spelling_of_its_key():
    with pytest.raises(FrameError, match="frame 0: subset: missing, but there is Subset: the names of keys have to be"):
        frame("energy=1 Subset=gas", rules=FrameRules())
    assert frame("energy=1 Subset=gas subset=bulk", rules=FrameRules()).subset == "bulk"
    assert frame("Subset=gas").subset == "default"  # without labels nothing is reported by subset


def test_numbers_have_no_digit_separators():
    """1_0 is ten for Python only."""
    for line, row, message in (
        ("energy=1_0", "H 0 0 0.5 1 2 3", "energy: is '1_0'"),
        ("energy=1", "H 0 0 0.5 1_0 2 3", "'1_0' in row 0 is not a number"),
        ("energy=1", "H 0 0 0.5 ****** 2 3", r"'\*{6}' in row 0 is not a number"),
        ("energy=1", "H 0 0 0.5 1.0d-1 2 3", "'1.0d-1' in row 0 is not a number"),
    ):
        with pytest.raises(FrameError, match=f"x.xyz: frame 0: .*{message}"):
            frame(line, row, FrameRules())


SYMMETRIC = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])


@pytest.mark.parametrize("key", ["stress", "REF_stress", "virial", "REF_virial"])
@pytest.mark.parametrize("extra", ["", "relaxed"])  # read here, and by ASE
def test_a_stress_is_symmetric_by_one_rule(key, extra):
    rules = FrameRules(**{"virial" if "virial" in key else "stress": key})
    factor = -1 / 210.0 if "virial" in key else 1.0
    for off, right in ((0.0, True), (1e-3, True), (1e-2, False), (1.0, False)):
        values = SYMMETRIC.copy()
        values[0, 1] += off
        line = f'{LATTICE} energy=0 {extra} {key}="{" ".join(map(str, values.ravel()))}"'
        if right:
            np.testing.assert_allclose(frame(line, rules=rules).stress, factor * (values + values.T) / 2, rtol=1e-12)
        else:
            with pytest.raises(FrameError, match=f"x.xyz: frame 0: {key}: is not symmetric: opposite components"):
                frame(line, rules=rules)
        assert len(frame(line)) == 1  # no label is asked for


@pytest.mark.parametrize(("n", "columns"), [(1, 6), (1, 9), (3, 3), (6, 1), (9, 1), (2, 6), (2, 9)])
@pytest.mark.parametrize("key", ["stress", "REF_stress", "virial"])
def test_a_column_is_no_stress_of_the_structure(n, columns, key):
    rules = FrameRules(**{"virial" if key == "virial" else "stress": key})
    rows = "".join(f"H {k} 0 0 0 0 0{' 7' * columns}\n" for k in range(n))
    for line, expected in ((LATTICE, None), (f'{LATTICE} {key}="1 0 0 0 1 0 0 0 1"', np.eye(3))):
        text = f"{n}\n{line} energy=0 {PROPERTIES}:{key}:R:{columns}\n{rows}"
        stress = validated("x.xyz", 0, parse("x.xyz", 0, text.encode(), rules), rules).stress
        if expected is None:
            assert stress is None
        else:
            np.testing.assert_allclose(stress, -np.eye(3) / 210 if key == "virial" else expected)


def test_a_column_is_no_energy_of_the_structure():
    text = f"1\n{PROPERTIES}:energy:R:1\nH 0 0 0 0 0 0 5\n"
    with pytest.raises(FrameError, match="energy: missing; the frame contains .*energy per atom"):
        parsed = parse("x.xyz", 0, text.encode(), FrameRules())
        validated("x.xyz", 0, parsed, FrameRules())


@pytest.mark.parametrize("text", ["007", "1e3", "T", "inf", "1 2", "0x1", "-1", "_JSON [1]", "1_0", "{x}"])
@pytest.mark.parametrize("extra", ["", "x={unusual}"])
def test_names_are_text(text, extra):
    """Groups 007 and 7, or subsets T and True, are not the same."""
    rules = FrameRules(subset="kind", parent="mother", fidelity_key="theory")
    found = frame(f'energy=1 kind="{text}" mother="{text}" split="{text}" theory="{text}" {extra}', rules=rules)
    assert (found.subset, found.parent, found.split, found.fidelity) == (text,) * 4


def test_a_flag_of_another_name_is_left_alone():
    assert frame(f"{LATTICE} pbe=F").pbc.all()


def test_an_empty_value_is_no_value():
    assert frame(f'note="" {LATTICE}').pbc.all()


def strained_energies(strain=1e-5):
    """A crystal with a low symmetry, and its dE/dstrain (eV) from energies of strained cells."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    atoms = bulk("Cu", "fcc", a=3.5, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + [[0.01, 0.02, 0], [0, -0.02, 0.03], [0.01, 0, 0]]), scale_atoms=True)
    atoms.rattle(0.1, seed=1)

    def energy(deformation):
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + deformation), scale_atoms=True)
        copy.calc = EMT()
        return copy.get_potential_energy()

    slopes = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] += strain / 2
            step[j, i] += strain / 2
            slopes[i, j] = (energy(step) - energy(-step)) / (2 * strain)
    return atoms, slopes


@pytest.mark.parametrize("key", ["stress", "virial", "REF_stress", "REF_virial"])
@pytest.mark.parametrize("count", [6, 9])
def test_stress_and_virial_are_derivatives_of_the_energy(key, count):
    """All forms give dE/dstrain / V, against finite strain; symmetric part, which is all that a strain sees."""
    atoms, slopes = strained_energies()
    values = -slopes if "virial" in key else slopes / atoms.get_volume()
    if count == 6:
        values = values[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    text = " ".join(f"{value!r}" for value in values.ravel().tolist())
    lattice = " ".join(map(repr, atoms.cell.array.ravel().tolist()))
    line = f'Lattice="{lattice}" energy=1 {key}="{text}"'
    rules = FrameRules(virial=key) if "virial" in key else FrameRules(stress=key)
    found = frame(line, "Cu 0 0 0 0 0 0", rules).stress
    np.testing.assert_allclose(found, slopes / atoms.get_volume(), rtol=1e-12)
    from ase.calculators.emt import EMT

    atoms.calc = EMT()
    np.testing.assert_allclose(found, atoms.get_stress(voigt=False), atol=1e-7)
    assert abs(found).max() > 0.01


@pytest.mark.parametrize("key", ["stress", "virial"])
@pytest.mark.parametrize("text", ["1 2 3", "high", "1 2 3 4 5 6 7 8 x", "1"])
def test_a_stress_of_other_numbers_is_an_error_with_its_key(key, text):
    with pytest.raises(
        FrameError, match=f"frame 0: {key}: is '{text}', expected 9 numbers, or the 6 numbers xx, yy, zz"
    ):
        frame(f'energy=1 {LATTICE} {key}="{text}"', rules=FrameRules())


def test_with_a_virial_the_stress_is_not_read():
    line = f'energy=1 {LATTICE} stress="9 9 9 9 9 9" REF_virial="1 2 3 4 5 6"'
    found = frame(line, rules=FrameRules(virial="REF_virial")).stress
    np.testing.assert_allclose(found, -np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) / 210)


def test_the_page_of_inputs_is_up_to_date():
    from fcl.data.docs import inputs_page

    page = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert page == inputs_page(), "run: python -m fcl.data.docs > docs/inputs.md"
