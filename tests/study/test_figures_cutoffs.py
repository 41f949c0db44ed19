"""Figures 6 and 7: optimised cutoffs are drawn as the CSV holds them, and so is what was not optimised."""

import numpy as np
import pandas as pd
import pytest

from fcl.study.figures.calibrated import MEDIAN, figure_06, figure_07
from figure_examples import CALIBRATION, TITLE, drawn_figures, outputs, write_calibration

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


def points_of(axes):
    """x and y of the points of seeds, sorted by x."""
    single = [
        tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1 and line.get_zorder() == 3
    ]
    return np.array(sorted(single)).reshape(-1, 2)


def rings_of(axes):
    """y of the points that are circled."""
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() == "none"]


def bars_of(axes):
    """Height of the bars of medians."""
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_linewidth() == MEDIAN["linewidth"]]


def levels_of(axes):
    """Heights of the lines across the panel."""
    return [float(line.get_ydata()[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_figure_06_has_each_seed_of_the_elements_of_all_subsets_by_atomic_number(two_subsets, tmp_path):
    table = figure_06(two_subsets, **outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    assert list(table["subset"].unique()) == ["MC3D", "SHIFTML-molfrags"]
    for _, rows in table.groupby("subset"):
        assert rows["element"].tolist() == ["H", "H", "C", "C", "O", "O"]
        assert rows["atomic_number"].tolist() == [1, 1, 6, 6, 8, 8]
        assert rows["seed"].tolist() == [1, 2, 1, 2, 1, 2]
    crystals, fragments = [4.1, 4.2, 5.1, 5.2, 4.6, 4.7], [3.7, 3.8, 4.3, 4.4, 4.9, 5.0]
    assert table["cutoff_angstrom"].tolist() == pytest.approx([*crystals, *fragments])
    assert table["calibrated"].tolist() == 10 * [True] + 2 * [False]
    assert not table["shared"].any() and (table["at_bounds"] == "").all()


def test_figure_06_draws_a_point_per_seed_a_median_and_the_bounds(two_subsets, tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    figure_06(two_subsets, **outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    table, axes = pd.read_csv(tmp_path / "fig06.csv"), drawn[0].axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["H", "C", "O"]
    points = points_of(axes)
    assert len(set(points[:, 0].round(6))) == len(points) == 12  # none hides another
    for number, element in enumerate(names):  # subsets side by side, seeds within
        mine = points[np.abs(points[:, 0] - number) < 0.5]
        np.testing.assert_allclose(mine[:, 1], table.loc[table["element"] == element, "cutoff_angstrom"], rtol=1e-5)
    assert sorted(bars_of(axes)) == pytest.approx(sorted([4.15, 5.15, 4.65, 3.75, 4.35, 4.95]))
    assert levels_of(axes) == [3.5, 7.0, 6.0] and axes.get_ylim()[0] < 3.5 < 7.0 < axes.get_ylim()[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bound 3.5", "4.0", "5.0", "6.0", "bound 7.0"]
    assert sum(line.get_marker() == "x" for line in axes.lines) == 2  # O of the fragments, not calibrated
    legend = ["MC3D", "SHIFTML-molfrags", "median of the seeds", "initial: 6.0 Å", "not calibrated: kept initial"]
    assert legend_of(drawn[0]) == legend and "a point for each of 2 seeds" in drawn[0].get_suptitle()
    assert not axes.containers  # no error bars


def test_a_bound_and_a_shared_cutoff_are_seen(tmp_path, monkeypatch):
    cutoffs = {"H": 3.5, "C": 6.9999999, "O": 5.0, "S": 4.8, "Cl": 4.8}
    file = write_calibration(tmp_path, "MC3D", 1e-4, cutoffs, shared=("S", "Cl"))
    drawn = drawn_figures(monkeypatch)
    for figure in (figure_06, figure_07):
        table = figure([file], **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
        assert dict(zip(table["element"], table["at_bounds"], strict=True)) == {
            "H": "lower", "C": "upper", "O": "", "S": "", "Cl": ""
        }  # fmt: skip
        assert table["shared"].tolist() == [False, False, False, True, True]
        axes = drawn[-1].axes[0]
        assert rings_of(axes) == pytest.approx([3.5, 7.0])
        hollow = [line.get_ydata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
        assert hollow == [4.8, 4.8] and not bars_of(axes)  # one seed has no median
        legend = ["MC3D", "initial: 6.0 Å", "cutoff shared by rare elements (open)", "at a bound (circled)"]
        assert legend_of(drawn[-1]) == legend and drawn[-1].get_suptitle().endswith("seed 1")


def test_subsets_without_a_common_element_leave_a_figure_that_says_so(tmp_path, monkeypatch):
    files = [
        write_calibration(tmp_path, "MC3D", 1e-4, {"Na": 5.0}),
        write_calibration(tmp_path, "MC2D", 1e-4, {"C": 4}),
    ]
    drawn = drawn_figures(monkeypatch)
    table = figure_06(files, **outputs(tmp_path, "fig06"), title=TITLE, **CALIBRATION)
    assert table.empty
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no element occurs in all subsets"]
    assert (tmp_path / "fig06.csv").read_text().startswith("subset,lambda,element,")


def test_figure_07_has_a_panel_per_lambda_and_every_element(two_lambdas, tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    returned = figure_07(two_lambdas, **outputs(tmp_path, "fig07"), title=TITLE, **CALIBRATION)
    table = pd.read_csv(tmp_path / "fig07.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(table, returned, check_dtype=False, rtol=1e-5)
    assert table["lambda"].tolist() == 4 * [1e-4] + 4 * [1e-6]  # panels (a), (b)
    assert table["element"].tolist() == 2 * ["H", "C", "O", "Na"]
    for axes, lam in zip(drawn[0].axes, (1e-4, 1e-6), strict=True):
        rows = table[table["lambda"] == lam]
        assert [label.get_text() for label in axes.get_xticklabels()] == rows["element"].tolist()
        np.testing.assert_allclose(points_of(axes)[:, 0], range(4))
        np.testing.assert_allclose(points_of(axes)[:, 1], rows["cutoff_angstrom"], rtol=1e-5)
        assert axes.get_ylim() == drawn[0].axes[0].get_ylim()


def test_a_seed_given_twice_is_an_error(two_lambdas, tmp_path):
    with pytest.raises(ValueError, match="two rows for the same seed"):
        figure_07([*two_lambdas, two_lambdas[0]], **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)


def test_files_that_do_not_belong_together_are_refused(two_subsets, two_lambdas, tmp_path):
    with pytest.raises(ValueError, match="at one lambda"):
        figure_06(two_lambdas, **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
    with pytest.raises(ValueError, match="MC3D, SHIFTML-molfrags"):
        figure_07(two_subsets, **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
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
    with pytest.raises(ValueError, match="no cutoffs file"):
        figure([], **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message):
        figure([bad], **outputs(tmp_path, "fig"), title=TITLE, **CALIBRATION)
