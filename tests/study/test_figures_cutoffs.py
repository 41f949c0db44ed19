"""Figures 6 and 7: optimised cutoffs are drawn as the CSV holds them, and so is what was not optimised."""

import numpy as np
import pandas as pd
import pytest

from fcl.study.figures.calibrated import figure_06, figure_07
from figure_examples import CALIBRATION, TITLE, containers, drawn_figures, lines, outputs, points, write_calibration

pytestmark = pytest.mark.heavy

CRYSTALS = {"O": 4.5, "H": 4.0, "C": 5.0, "Na": 7.0}
FRAGMENTS = {"C": 4.2, "H": 3.6, "O": 4.8, "S": 6.0}


@pytest.fixture
def two_subsets(tmp_path):
    """Two subsets at 1e-4, two seeds each; O of the fragments was not calibrated."""
    files = []
    for subset, cutoffs, kept in (("MC3D", CRYSTALS, ()), ("SHIFTML-molfrags", FRAGMENTS, ("O",))):
        for seed in (1, 2):
            moved = {element: cutoff + 0.1 * seed for element, cutoff in cutoffs.items()}
            files.append(write_calibration(tmp_path, subset, 1e-4, moved, seed, kept))
    return files


@pytest.fixture
def two_lambdas(tmp_path):
    return [
        write_calibration(tmp_path, "MC3D", lam, {e: c + extra for e, c in CRYSTALS.items()}, not_calibrated=["Na"])
        for lam, extra in ((1e-4, 0.0), (1e-6, 0.3))
    ]


def test_figure_06_shows_the_elements_of_all_subsets_by_atomic_number(two_subsets, tmp_path):
    table = figure_06(two_subsets, *outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    assert list(table["subset"].unique()) == ["MC3D", "SHIFTML-molfrags"]
    for _, rows in table.groupby("subset"):
        assert rows["element"].tolist() == ["H", "C", "O"]
        assert rows["atomic_number"].tolist() == [1, 6, 8]
    assert (table["seeds"] == 2).all()
    assert table["cutoff_angstrom_mean"].tolist() == pytest.approx([4.15, 5.15, 4.65, 3.75, 4.35, 4.95])
    assert table["cutoff_angstrom_std"].to_numpy() == pytest.approx(0.1 / np.sqrt(2.0))
    assert table["calibrated"].tolist() == [True, True, True, True, True, False]


def test_figure_06_draws_what_the_csv_holds(two_subsets, tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    figure_06(two_subsets, *outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    table, axes = pd.read_csv(tmp_path / "fig06.csv"), drawn[0].axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["H", "C", "O"]
    for subset, rows in table.groupby("subset"):
        x, y, deviation = points(containers(axes)[subset])
        assert [names[round(position)] for position in x] == rows["element"].tolist()
        np.testing.assert_allclose(y, rows["cutoff_angstrom_mean"], rtol=1e-5)
        np.testing.assert_allclose(deviation, rows["cutoff_angstrom_std"], rtol=1e-5)
    open_markers = [line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_ydata().tolist() for line in open_markers] == [pytest.approx([4.95])]
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["MC3D", "SHIFTML-molfrags", "initial: 6.0 Å", "bounds", "not calibrated: kept initial"]


def test_subsets_without_a_common_element_leave_a_figure_that_says_so(tmp_path, monkeypatch):
    files = [
        write_calibration(tmp_path, "MC3D", 1e-4, {"Na": 5.0}),
        write_calibration(tmp_path, "MC2D", 1e-4, {"C": 4}),
    ]
    drawn = drawn_figures(monkeypatch)
    table = figure_06(files, *outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    assert table.empty
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no element occurs in all subsets"]
    assert (tmp_path / "fig06.csv").read_text().startswith("subset,lambda,element,")


def test_figure_07_draws_what_the_csv_holds(two_lambdas, tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    returned = figure_07(two_lambdas, *outputs(tmp_path, "fig07"), title=TITLE, **CALIBRATION)
    table = pd.read_csv(tmp_path / "fig07.csv")
    pd.testing.assert_frame_equal(table, returned, check_dtype=False, rtol=1e-5)
    assert table["lambda"].tolist() == 4 * [1e-4] + 4 * [1e-6]  # panels (a), (b)
    assert table["element"].tolist() == 2 * ["H", "C", "O", "Na"]
    assert (table["initial_cutoff_angstrom"] == 6.0).all()
    for axes, lam in zip(drawn[0].axes, (1e-4, 1e-6), strict=True):
        rows = table[table["lambda"] == lam]
        assert [label.get_text() for label in axes.get_xticklabels()] == rows["element"].tolist()
        x, y, deviation = points(containers(axes)["optimised"])
        np.testing.assert_allclose(x, range(4))
        np.testing.assert_allclose(y, rows["cutoff_angstrom_mean"], rtol=1e-5)
        assert deviation is None  # one seed
        np.testing.assert_allclose(lines(axes)["initial"].get_ydata(), rows["initial_cutoff_angstrom"])


def test_figure_07_of_several_seeds_has_error_bars(tmp_path, monkeypatch):
    files = [write_calibration(tmp_path, "MC3D", 1e-4, {"H": 4.0 + 0.1 * seed}, seed) for seed in (1, 2, 3)]
    drawn = drawn_figures(monkeypatch)
    table = figure_07(files, *outputs(tmp_path, "fig07"), title=TITLE, **CALIBRATION)
    assert table["cutoff_angstrom_std"].item() == pytest.approx(0.1)
    assert points(containers(drawn[0].axes[0])["optimised"])[2] == pytest.approx([0.1])


def test_files_that_do_not_belong_together_are_refused(two_subsets, two_lambdas, tmp_path):
    with pytest.raises(ValueError, match="at one lambda"):
        figure_06(two_lambdas, *outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
    with pytest.raises(ValueError, match="MC3D, SHIFTML-molfrags"):
        figure_07(two_subsets, *outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
    assert not list(tmp_path.glob("fig*"))


@pytest.mark.parametrize("figure", [figure_06, figure_07])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"provenance": {}}', r"bad\.json: key 'subset' is missing"),
        ('{"provenance": {"subset": "a", "lambda": 1, "seed": 1}}', r"bad\.json: key 'cutoffs' is missing"),
        (
            '{"cutoffs": {"Hx": 4}, "provenance": {"subset": "a", "lambda": 1, "seed": 1, "not_calibrated": []}}',
            r"bad\.json: cutoffs: 'Hx' is not a chemical symbol",
        ),
    ],
)
def test_errors_name_file_and_key(tmp_path, figure, text, message):
    with pytest.raises(ValueError, match="at least one file"):
        figure([], *outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message):
        figure([bad], *outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
