"""Schemes as users give them: objects, texts and files, and what is said of wrong ones."""

import json
import re

import numpy as np
import pytest
import torch

import fcl
from fcl.cutoffs.choice import CutoffChoice, CutoffWarning
from fcl.cutoffs.file import read_choice, read_cutoffs, write_scheme
from fcl.cutoffs.schemes import DynamicCutoffs, NeighbourCutoffs, parse_scheme, scheme_of
from fcl.models.files import build_model
from fcl.models.mace.frozen import freeze

NUMBERS = np.array([6, 1, 1, 8])
HASH = "ab" * 32
ALL = [
    NeighbourCutoffs(30),
    NeighbourCutoffs({"H": 12, "O": 20.5}, width=0.7, background=2.0, lower=3.6, upper=6.5),
    DynamicCutoffs(),
    DynamicCutoffs(20, spread=3, upper=6.0),
]


@pytest.fixture(scope="module")
def model(small_settings):
    flexible = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    flexible.card = {"r_min_angstrom": 3.5, "weights_sha256": HASH}
    return flexible


def test_the_package_has_them():
    assert fcl.NeighbourCutoffs is NeighbourCutoffs and fcl.DynamicCutoffs is DynamicCutoffs


@pytest.mark.parametrize(
    "text, scheme",
    [
        ("neighbours=30", NeighbourCutoffs(30)),
        (" neighbours = 30 , width=0.5,lower=4", NeighbourCutoffs(30, width=0.5, lower=4.0)),
        ("dynamic=40", DynamicCutoffs(40)),
        ("dynamic=20,spread=3,upper=6", DynamicCutoffs(20, spread=3, upper=6)),
        ("6.0", None),
        ("H=3.9", None),
        ("neighbours", None),
        ("some/file.json", None),
    ],
)
def test_texts(text, scheme):
    assert parse_scheme(text) == scheme
    if scheme is not None:
        assert parse_scheme(str(scheme)) == scheme


@pytest.mark.parametrize(
    "text, message",
    [
        ("neighbours=many", "neighbours: neighbours: 'many' is not a number"),
        ("neighbours=-3", "neighbours: neighbours: -3.0 is not a finite number above 0"),
        ("neighbours=inf", "inf is not a finite number above 0"),
        ("neighbours=nan", "nan is not a finite number above 0"),
        ("neighbours=30,depth=2", "parameter 'depth' is unknown; known are lower, upper, width, background"),
        ("neighbours=30,width", "neighbours: width: '' is not a number"),
        ("neighbours=30,width=0", "width: 0.0 is not"),
        ("neighbours=30,width=1,width=2", "width is given twice"),
        ("neighbours=30,lower=6,upper=5", "lower 6 A is above upper 5 A"),
        ("dynamic=40,width=1", "dynamic: parameter 'width' is unknown; known are lower, upper, spread"),
    ],
)
def test_wrong_texts(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_scheme(text)


@pytest.mark.parametrize(
    "given, message",
    [({}, "no element"), ({"Hx": 3}, "'Hx' is not a chemical symbol"), ({"H": 0}, "H: 0 is not"), ("30", "not a num")],
)
def test_wrong_numbers_of_neighbours(given, message):
    with pytest.raises(ValueError, match=message):
        NeighbourCutoffs(given)


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_a_file_comes_back_as_written(scheme, tmp_path, model):
    path = tmp_path / "cutoffs.json"
    write_scheme(path, scheme, {"weights_sha256": HASH})
    assert json.loads(path.read_text())["format"] == "fcl-cutoffs-2"
    assert read_choice(path).choice == scheme and scheme_of(scheme.record()) == scheme
    choice = CutoffChoice(model, path)
    assert choice.scheme == scheme and choice.source == str(path)
    with pytest.raises(ValueError, match=r"cutoffs\.json: holds the scheme .*; cutoffs by element are needed"):
        read_cutoffs(path)


@pytest.mark.parametrize(
    "contents, message",
    [
        ({"scheme": {"name": "neighbours", "neighbours": 3}}, "format: is missing"),
        ({"format": "fcl-cutoffs-3", "scheme": {"name": "dynamic", "rank": 4}}, "format: .*'fcl-cutoffs-2'"),
        ({"format": "fcl-cutoffs-2", "cutoffs": {"H": 4.0}}, "scheme: is missing"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": "voronoi"}}, "scheme: a scheme has a name: neighbours, dyn"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": ["dynamic"]}}, "scheme: a scheme has a name"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": "neighbours"}}, "neighbours: neighbours is missing"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": "neighbours", "neighbours": "3"}}, "'3' is not a number"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": "neighbours", "neighbours": True}}, "True is not a number"),
        ({"format": "fcl-cutoffs-2", "scheme": {"name": "dynamic", "rank": 4, "mu": 4}}, "parameter 'mu' is unknown"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path, contents, message):
    (tmp_path / "bad.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=rf"bad\.json: not a cutoffs file: .*{message}") as fault:
        read_choice(tmp_path / "bad.json")
    assert "\n" not in str(fault.value)


def test_a_file_for_another_model_is_a_warning(model, tmp_path):
    write_scheme(tmp_path / "a.json", NeighbourCutoffs(30), {"weights_sha256": "cd" * 32})
    with pytest.warns(CutoffWarning, match="optimised for another model"):
        CutoffChoice(model, tmp_path / "a.json")


def test_bounds_are_those_of_the_training(model, small_settings):
    choice = CutoffChoice(model, "neighbours=30")
    assert (choice.selector.scheme.lower, choice.selector.scheme.upper) == (3.5, 7.0)
    assert choice.for_candidates(NUMBERS).tolist() == [7.0] * 4
    assert CutoffChoice(model, NeighbourCutoffs(30, upper=6.0)).for_candidates(NUMBERS).tolist() == [6.0] * 4
    with pytest.raises(ValueError, match=r"^cutoffs: upper: cutoff 7.5 A is not within \(0, 7.0\] A"):
        CutoffChoice(model, "neighbours=30,upper=7.5")
    with pytest.warns(CutoffWarning, match="cutoff 3 A of lower is below the 3.5 A"):
        CutoffChoice(model, "neighbours=30,lower=3")
    with pytest.raises(ValueError, match="lower 3.5 A is above upper 3 A"):
        CutoffChoice(model, "neighbours=30,upper=3")
    other = build_model("fcl", small_settings, 7.0)
    with pytest.raises(ValueError, match="neighbours=30: the card of the model names no smallest cutoff .*give lower"):
        CutoffChoice(other, "neighbours=30")


def test_models_with_one_cutoff_have_no_scheme(small_settings):
    static = build_model("static", small_settings, 5.0, 30.0)
    single = build_model("fcl", small_settings, 7.0)
    single.card = {"r_min_angstrom": 7.0}
    for model, cutoff in ((static, 5.0), (single, 7.0)):
        with pytest.raises(ValueError, match=f"cutoffs: dynamic=40: the model has one cutoff, {cutoff} A"):
            CutoffChoice(model, "dynamic=40")


def test_what_needs_fixed_cutoffs_names_the_scheme(model):
    choice = CutoffChoice(model, "neighbours=30")
    with pytest.raises(ValueError, match="neighbours=30: they follow the environment of each atom; fixed ones are"):
        choice.of(NUMBERS)
    for radial in ("network", "tables"):
        with pytest.raises(ValueError, match="^cutoffs neighbours=30 follow the environment .* cannot be exported"):
            freeze(model, choice, radial=radial)


def test_elements_without_a_number(model, tmp_path):
    choice = CutoffChoice(model, NeighbourCutoffs({"H": 12}))
    assert choice.for_candidates(np.array([1, 1])).tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="^cutoffs: neighbours: no number of neighbours is given for C, O$"):
        choice.for_candidates(NUMBERS)
    write_scheme(tmp_path / "a.json", NeighbourCutoffs({"H": 12}), {})
    with pytest.raises(ValueError, match=r"a\.json: neighbours: no number of neighbours is given for C, O$"):
        CutoffChoice(model, tmp_path / "a.json").for_candidates(NUMBERS)


def test_a_file_named_like_a_scheme_is_a_file(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scheme("neighbours=30", NeighbourCutoffs(12), {})
    assert CutoffChoice(model, "neighbours=30").scheme == NeighbourCutoffs(12)
