"""Beyond the paper: measured time and memory, and calibration without labels; their stages, tables and figure."""

import json
import math

import numpy as np
import pandas
import pytest
import torch

from fcl.config.errors import ConfigError
from fcl.config.load import load_config
from fcl.data.batch import GraphData
from fcl.data.read import frames_of
from fcl.data.store import arrays_from_frames, write_store
from fcl.evaluation.timing import Case, measure, structures_for
from fcl.models.files import load
from fcl.study.figures.common import subset_style
from fcl.study.figures.wall_clock import figure_wall_clock
from fcl.study.stages.calibration import UNLABELLED_COLUMNS, calibrate_cutoffs
from fcl.study.stages.wall_clock import COLUMNS, measure_wall_clock
from fcl.study.tables.cost import labels_table, regimes, table_labels, table_wall_clock, wall_clock_table
from figure_examples import drawn_figures, outputs, wall_clock_rows
from table_examples import table_files

pytestmark = pytest.mark.heavy

SUBSET = "SHIFTML-molcrys"
TITLE = "a toy set, not MAD"


@pytest.fixture(scope="module")
def arrays(crystals):
    return arrays_from_frames(frames_of(crystals, subset=SUBSET), 7.0)


@pytest.fixture(scope="module")
def store(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "test.h5"
    write_store(arrays, path, {})
    return path


@pytest.fixture
def data(arrays):
    return GraphData(arrays, torch.float32)


@pytest.fixture(scope="module")
def study(crystals):
    study = load_config(crystals.parents[2] / "config.yaml").resolve("smoke")
    changes = {"subsets": [SUBSET], "epochs": 2, "batch_size": 6, "learning_rate": 1.0}
    return study.narrowed(calibration=changes, wall_clock={"atoms": 30, "repeats": 1})


def test_structures_make_up_the_atoms_that_are_asked_for(data):
    members = torch.tensor([1, 4, 5, 7])
    few = structures_for(data, members, 20)
    assert set(few.tolist()) < set(members.tolist()) and len(few) == len(set(few.tolist()))
    counts = data.atom_counts.index_select(0, few)
    assert counts.sum() >= 20 > counts[:-1].sum()
    many = structures_for(data, members, 200)
    assert sorted(set(many.tolist())) == members.tolist()
    assert len({int((many == member).sum()) for member in members}) == 1  # all as often, so their mean stays
    assert data.atom_counts.index_select(0, many).sum() >= 200
    assert torch.equal(few, structures_for(data, members, 20))


def test_a_measured_row_is_of_its_batch(trained_model, data):
    model = load(trained_model)
    cases = [Case(SUBSET, 4.0), Case(SUBSET, dict.fromkeys("HCNOS", 6.5), lam=1e-3)]
    short, long = measure(model, data, cases, atoms=300, repeats=2)
    assert (short["configuration"], long["configuration"]) == ("uniform", "optimised")
    assert (short["cutoff_angstrom"], short["lambda"], long["cutoff_angstrom"], long["lambda"]) == (4.0, "", "", 1e-3)
    whole = len(data) * round(short["structures"] / len(data))
    assert short["structures"] == whole and short["atoms"] >= 300
    # directed pairs are twice the undirected ones that are closer than 4 A
    expected = 2 * (data._pair_distances <= 4.0).sum() / len(data.numbers)
    assert short["pairs_per_atom"] == pytest.approx(float(expected))
    assert long["pairs_per_atom"] > 3 * short["pairs_per_atom"]
    assert long["microseconds_per_atom"] > short["microseconds_per_atom"] > 0
    assert short["median_microseconds_per_atom"] >= short["microseconds_per_atom"]
    if short["peak_memory_kb_per_atom"] != "":
        assert long["peak_memory_kb_per_atom"] > short["peak_memory_kb_per_atom"]


@pytest.fixture(scope="module")
def done(study, store, trained_model, tmp_path_factory):
    """Both stages in one folder, and the facts that they return."""
    folder = tmp_path_factory.mktemp("cost")
    files = [folder / name for name in ("x.json", "x_metrics.csv")]
    calibrate_cutoffs(study, store, store, trained_model, SUBSET, 1e-2, 1, *files, labels="model")
    facts = measure_wall_clock(study, store, trained_model, [files[0]], folder / "wall_clock.csv")
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder


def test_without_labels_errors_are_still_judged_by_labels(done, data, trained_model):
    from fcl.calibration.folds import errors_at
    from fcl.calibration.tolerance import labelled_by
    from fcl.evaluation.errors import force_rmse

    model = load(trained_model)
    file = json.loads((done / "x.json").read_text())
    metrics = pandas.read_csv(done / "x_metrics.csv")
    assert list(metrics.columns) == list(UNLABELLED_COLUMNS)
    initial, optimised = metrics.to_dict("records")
    assert file["provenance"]["labels"] == "the model's own at 6 A" and file["provenance"]["lambda"] == 1e-2
    assert set(file["cutoffs"]) == {"H", "C", "N", "O", "S"}
    assert optimised["pairs_per_atom"] < initial["pairs_per_atom"]
    errors = errors_at(model, data, file["cutoffs"])
    assert optimised["force_rmse_ev_per_angstrom"] == pytest.approx(force_rmse(errors), rel=1e-5)
    added = force_rmse(errors_at(model, labelled_by(model, data, 6.0), file["cutoffs"]))
    assert optimised["added_force_rmse_ev_per_angstrom"] == pytest.approx(added, rel=1e-4)
    assert initial["added_force_rmse_ev_per_angstrom"] < 1e-4 < added
    before, after = initial["force_rmse_ev_per_angstrom"], optimised["force_rmse_ev_per_angstrom"]
    assert after - before <= added + 1e-6  # the bound that the table states


def test_labels_of_some_structures_only(data, trained_model):
    """The others have none, rather than those of the data."""
    from fcl.calibration.tolerance import labelled_by

    model = load(trained_model)
    some, every = labelled_by(model, data, 5.0, torch.tensor([2, 5])), labelled_by(model, data, 5.0)
    for k in range(len(data)):
        mine, whole = (own.batch(torch.tensor([k])) for own in (some, every))
        if k in (2, 5):
            torch.testing.assert_close(mine.forces, whole.forces, rtol=0.0, atol=1e-5)
            torch.testing.assert_close(mine.energy, whole.energy, rtol=1e-5, atol=1e-4)
        else:
            assert mine.forces.isnan().all() and mine.energy.isnan().all()


def test_the_measured_table_names_its_machine(done, study):
    table = pandas.read_csv(done / "wall_clock.csv")
    assert list(table.columns) == list(COLUMNS)
    uniform = len(study.wall_clock.uniform_cutoffs)
    assert table["configuration"].tolist() == ["uniform"] * uniform + ["optimised"]
    assert table["device"].str.len().gt(0).all() and (table["threads"] == 1).all()
    facts = json.loads((done / "facts.json").read_text())
    assert facts["device"] == table["device"][0] and facts["threads"] == 1 and "backend" in facts


def test_ratios_are_to_the_start_of_the_same_subset(tmp_path):
    wall_clock_rows().to_csv(tmp_path / "m.csv", index=False)
    table = wall_clock_table(tmp_path / "m.csv", 6.0).set_index(["subset", "cutoffs"])
    assert table.loc[("B", "λ = 1e-03"), "pairs_ratio"] == 0.5
    assert table.loc[("B", "λ = 1e-03"), "time_ratio"] == pytest.approx(210 / 410)
    assert table.loc[("A", "6.0 Å"), ["pairs_ratio", "time_ratio", "memory_ratio"]].tolist() == [1, 1, 1]
    assert list(table.index)[:4] == [("A", "4.0 Å"), ("A", "6.0 Å"), ("A", "λ = 1e-02"), ("A", "λ = 1e-03")]
    with pytest.raises(ValueError, match="A was not measured at 5 A"):
        wall_clock_table(tmp_path / "m.csv", 5.0)
    table_wall_clock(tmp_path / "m.csv", **table_files(tmp_path), title=TITLE, initial_cutoff=6.0)
    text = (tmp_path / "table.markdown").read_text(encoding="utf-8")
    for words in ("a processor, 1 CPU thread)", "time = 10 µs + 5 µs × pairs per atom (typical deviation 0.0%)", TITLE):
        assert words in text


PLACES = np.array([2.0, 5.0, 8.0, 12.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0])


def test_a_second_regime_is_fitted_where_there_is_one():
    one = regimes(PLACES, 3.0 + 2.0 * PLACES)
    assert (one.overhead, one.slope, one.bend) == (pytest.approx(3.0), pytest.approx(2.0), np.inf)
    assert one.deviation < 1e-9 and one.text(" µs") == "3 µs + 2 µs × pairs per atom"
    bent = 9.0 + 2.0 * PLACES + 1.5 * np.maximum(PLACES - 30.0, 0.0)  # pairs become more expensive
    two = regimes(PLACES, bent)
    assert (two.overhead, two.slope, two.bend, two.slope_beyond) == pytest.approx((9.0, 2.0, 30.0, 3.5))
    assert two.text("") == "9 + 2 × pairs per atom up to 30 pairs, 3.5 for each further pair"
    np.testing.assert_allclose(two.at(PLACES), bent)
    flat = regimes(PLACES, np.maximum(50.0, 50.0 + 2.0 * (PLACES - 20.0)))  # the overhead of a call hides the pairs
    assert (flat.overhead, flat.slope, flat.bend, flat.slope_beyond) == pytest.approx((50.0, 0.0, 20.0, 2.0))


def test_noise_and_few_points_are_no_second_regime():
    random = np.random.default_rng(1)
    places = np.linspace(5.0, 150.0, 36)
    bends = [regimes(places, (9.0 + 2.0 * places) * random.normal(1.0, 0.05, 36)).bend for _ in range(40)]
    assert np.isinf(bends).all()
    few = PLACES[:7]  # not four on either side of the bend
    assert regimes(few, 9.0 + 2.0 * few + 5.0 * np.maximum(few - 12.0, 0.0)).bend == np.inf


def test_the_fit_weighs_relative_deviations():
    fit = regimes(np.array([1.0, 100.0]), np.array([10.0, 1000.0]))
    assert fit.at(np.array([1.0, 100.0])) == pytest.approx([10.0, 1000.0])
    times = np.array([8.0, 12.0, 1000.0])
    fit = regimes(np.array([1.0, 1.0, 100.0]), times)
    assert fit.at(np.array([1.0]))[0] == pytest.approx((1 / 8 + 1 / 12) / (1 / 64 + 1 / 144))


@pytest.mark.parametrize("memory", [True, False])
def test_the_figure_has_every_point(tmp_path, memory, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    wall_clock_rows(memory).to_csv(tmp_path / "m.csv", index=False)
    table = figure_wall_clock(tmp_path / "m.csv", **outputs(tmp_path, "w"), title=TITLE)
    (figure,) = drawn
    assert len(figure.axes) == (2 if memory else 1)  # memory cannot be measured everywhere
    marked = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert {line.get_color() for line in marked} == {subset_style(subset)["color"] for subset in "AB"}
    (fit,) = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
    np.testing.assert_allclose(fit.get_ydata(), 10.0 + 5.0 * fit.get_xdata())
    points = [tuple(point) for line in marked for point in line.get_xydata()]
    columns = table[["pairs_per_atom", "microseconds_per_atom"]]
    assert sorted(points) == sorted(columns.itertuples(index=False, name=None))
    assert TITLE in figure.get_suptitle() and "a processor, 1 CPU thread" in figure.get_suptitle()


def test_calibrations_with_and_without_labels_side_by_side(tmp_path):
    columns = ["subset", "lambda", "seed", "configuration", "pairs_per_atom", "force_rmse_ev_per_angstrom"]
    start = ("A", 1e-2, 1, "initial", 40.0, 0.5)
    labelled = pandas.DataFrame([start, ("A", 1e-2, 1, "optimised", 10.0, 0.55)], columns=columns)
    unlabelled = pandas.DataFrame([start, ("A", 1e-2, 1, "optimised", 20.0, 0.6)], columns=columns)
    unlabelled["added_force_rmse_ev_per_angstrom"] = [0.0, 0.2]
    labelled.to_csv(tmp_path / "l.csv", index=False)
    unlabelled.to_csv(tmp_path / "u.csv", index=False)
    (row,) = labels_table([tmp_path / "l.csv"], [tmp_path / "u.csv"]).to_dict("records")
    assert (row["pairs_start"], row["pairs_labelled"], row["pairs_unlabelled"]) == (40.0, 10.0, 20.0)
    changes = [row[name] for name in ("change_labelled", "change_unlabelled", "most_change_unlabelled")]
    assert changes == pytest.approx([0.1, 0.2, 0.4]) and row["added_mev_per_angstrom"] == pytest.approx(200.0)
    table_labels([tmp_path / "l.csv"], [tmp_path / "u.csv"], **table_files(tmp_path), title=TITLE, initial_cutoff=6.0)
    text = (tmp_path / "table.markdown").read_text(encoding="utf-8")
    assert "says nothing of the error of the model itself" in text
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert cells == ["A", "1e-02", "40.0", "10.0", "20.0", "+10.0%", "+20.0%", "200", "+40.0%"]


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("unlabelled", {"lambdas": [3e-3]}, "unlabelled.lambdas: 0.003 is not among calibration.lambdas"),
        ("unlabelled", {"lambdas": [1e-2, 1e-2]}, "unlabelled.lambdas: 0.01 occurs twice"),
        ("wall_clock", {"uniform_cutoffs": [6.0, 8.0]}, "wall_clock.uniform_cutoffs: 8 A exceeds cutoffs.r_max"),
        ("wall_clock", {"uniform_cutoffs": [4.0, 5.0]}, "lacks calibration.initial_cutoff = 6 A"),
    ],
)
def test_settings_that_contradict_others_are_refused(crystals, section, change, words):
    import yaml

    config = yaml.safe_load((crystals.parents[2] / "config.yaml").read_text(encoding="utf-8"))
    config["studies"]["smoke"][section] = change
    with pytest.raises(ConfigError, match=words):
        load_config(config)


def test_no_regime_falls():
    """Noise at few pairs is no regime in which pairs make an evaluation cheaper."""
    pairs = np.array([6.0, 7.0, 8.0, 9.0, 20.0, 30.0, 40.0, 60.0])
    values = np.array([50.0, 45.0, 38.0, 30.0, 74.0, 107.0, 140.0, 206.0])
    fit = regimes(pairs, values)
    assert math.isinf(fit.bend) and fit.slope > 0.0
    rising = regimes(pairs, np.where(pairs < 10.0, 30.0 + pairs, values))
    assert rising.slope >= 0.0
