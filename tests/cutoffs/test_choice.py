"""Cutoffs in every form that users give them, and what is said of wrong ones."""

import json
import warnings

import numpy as np
import pytest
import torch

from fcl.cutoffs.choice import CutoffChoice, CutoffWarning
from fcl.cutoffs.file import read_cutoffs, write_cutoffs
from fcl.models.files import build_model
from project import ROOT

NUMBERS = np.array([6, 1, 1, 8])
HASH = "ab" * 32


@pytest.fixture(scope="module")
def model(small_settings):
    flexible = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    flexible.card = {"r_min_angstrom": 3.5, "weights_sha256": HASH}
    return flexible


@pytest.fixture(scope="module")
def static(small_settings):
    return build_model("static", small_settings, 5.0, 30.0, dtype=torch.float64)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cutoffs.json"
    write_cutoffs(path, {"H": 4.0, "C": 4.5, "O": 5.0}, {"weights_sha256": HASH, "pairs_per_atom": 12.5})
    return path


def test_every_form(model, file):
    expected = [4.5, 4.0, 4.0, 5.0]
    for cutoffs in ({"H": 4.0, "C": 4.5, "O": 5, "Xe": 6.0}, expected, np.array(expected), file, str(file)):
        assert CutoffChoice(model, cutoffs).of(NUMBERS).tolist() == expected
    assert CutoffChoice(model, 5).of(NUMBERS).tolist() == [5.0] * 4
    assert CutoffChoice(model).of(NUMBERS).tolist() == [6.0] * 4


def test_the_array_is_copied(model):
    mine = np.full(4, 5.0)
    choice = CutoffChoice(model, mine)
    mine[:] = 99.0
    assert choice.of(NUMBERS).max() == 5.0


def test_a_static_model_has_one_cutoff(static):
    assert CutoffChoice(static).of(NUMBERS).tolist() == [5.0] * 4
    assert CutoffChoice(static, {"H": 5.0, "C": 5.0, "O": 5.0}).of(NUMBERS).tolist() == [5.0] * 4
    with pytest.raises(ValueError, match=r"H: a static model of cutoff 5.0 A cannot be evaluated at 4.0 A"):
        CutoffChoice(static, {"C": 5.0, "H": 4.0})


@pytest.mark.parametrize(
    "cutoffs, message",
    [
        (7.2, r"^cutoffs: cutoff 7.2 A is not within \(0, 7.0\] A"),
        ({"H": 4.0, "C": 8.0}, r"^cutoffs: C: cutoff 8.0 A"),
        ([4.0, 5.0, 0.0, 4.0], r"^cutoffs: atom 2: 0.0 is not a positive radius"),
        ({"H": float("nan")}, r"H: nan is not a positive radius"),
        (float("inf"), r"inf is not a positive radius"),
        ({"Q": 4.0}, r"'Q' is not a chemical symbol"),
        (np.ones((2, 3)), r"shape \(2, 3\), expected one number or one value an atom"),
        ([], r"shape \(0,\)"),
    ],
)
def test_what_no_model_can_use(model, cutoffs, message):
    with pytest.raises(ValueError, match=message):
        CutoffChoice(model, cutoffs)


def test_atoms_without_a_cutoff(model, file):
    with pytest.raises(ValueError, match=r"^cutoffs: no cutoff is given for C, O$"):
        CutoffChoice(model, {"H": 4.0}).of(NUMBERS)
    with pytest.raises(ValueError, match=r"cutoffs\.json: no cutoff is given for N$"):
        CutoffChoice(model, file).of(np.array([1, 7]))
    with pytest.raises(ValueError, match=r"3 values for 4 atoms"):
        CutoffChoice(model, [4.0, 4.0, 4.0]).of(NUMBERS)


def test_below_the_trained_interval_is_a_warning(model):
    with pytest.warns(CutoffWarning, match=r"cutoff 3.2 A of H is below the 3.5 A from which the model was trained"):
        CutoffChoice(model, {"H": 3.2, "C": 4.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CutoffChoice(model, 3.5)


def test_cutoffs_of_another_model_are_a_warning(model, tmp_path):
    write_cutoffs(tmp_path / "a.json", {"H": 4.0}, {"weights_sha256": "cd" * 32})
    with pytest.warns(CutoffWarning, match=r"a\.json: optimised for another model \(weights cdcdcdcdcdcd, not abab"):
        CutoffChoice(model, tmp_path / "a.json")


def test_a_file_comes_back_as_written(file):
    read = read_cutoffs(file)
    assert read.cutoffs == {"H": 4.0, "C": 4.5, "O": 5.0}
    assert read.provenance.weights_sha256 == HASH and read.provenance.pairs_per_atom == 12.5
    assert json.loads(file.read_text())["provenance"] == {"weights_sha256": HASH, "pairs_per_atom": 12.5}


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", r"bad\.json: not JSON"),
        ("[]", r"bad\.json: not a cutoffs file: .*dict"),
        ("{}", r"cutoffs: is missing"),
        ('{"cutoffs": {}}', r"cutoffs: .*at least 1"),
        ('{"cutoffs": {"Hx": 4.0}}', r"cutoffs.Hx: 'Hx' is no chemical symbol"),
        ('{"cutoffs": {"X": 4.0}}', r"'X' is no chemical symbol"),
        ('{"cutoffs": {"H": -4.0}}', r"cutoffs\.H: .*greater than 0"),
        ('{"cutoffs": {"H": "4.0"}}', r"cutoffs\.H: .*number"),
        ('{"cutoffs": {"H": true}}', r"cutoffs\.H: .*number"),
        ('{"cutoffs": {"H": NaN}}', r"cutoffs\.H: "),
        ('{"cutoff": {"H": 4.0}}', r"cutoff: unknown key; did you mean 'cutoffs'\?"),
        ('{"cutoffs": {"H": 4.0}, "provenance": {"weights_sha256": "no"}}', r"provenance\.weights_sha256: .*pattern"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match=message) as fault:
        read_cutoffs(tmp_path / "bad.json")
    assert "\n" not in str(fault.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such cutoffs file"):
        read_cutoffs(tmp_path / "none.json")


def test_what_cannot_be_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.json: not a cutoffs file: cutoffs\.H: "):
        write_cutoffs(tmp_path / "a.json", {"H": -1.0}, {})
    assert not (tmp_path / "a.json").exists()


def test_the_files_of_the_study_are_cutoffs_files():

    files = list((ROOT / "record/embedded/calibration").glob("*_seed?.json"))
    if not files:
        pytest.skip("the mini study has not been run here")
    for path in files:
        assert read_cutoffs(path).provenance.weights_sha256
