"""Figures 3 to 5 and 8 to 10: the statistics that they draw, that these are what the CSV holds, and errors."""

import numpy as np
import pandas as pd
import pytest

from error_examples import ErrorFiles
from fcl.study.figures.common import new_figure, over_seeds, seeds_note, subset_style
from fcl.study.figures.diatomics import energy_limits, figure_04, figure_10, oscillation
from fcl.study.figures.tradeoff import figure_05, figure_09
from fcl.study.figures.uniform import figure_03, figure_08
from figure_examples import (
    PAIRS,
    TITLE,
    containers,
    drawn_figures,
    lines,
    outputs,
    points,
    write_calibration_metrics,
    write_diatomics,
    write_metrics,
)

pytestmark = pytest.mark.heavy
FORCE, ENERGY, PAIRS_PER_ATOM = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "pairs_per_atom"


@pytest.fixture
def metrics(tmp_path):
    return write_metrics(tmp_path)


@pytest.fixture
def diatomics(tmp_path):
    return write_diatomics(tmp_path)


@pytest.fixture
def calibrations(tmp_path):
    return write_calibration_metrics(tmp_path)


def test_figure_03_is_mean_and_sample_deviation_over_seeds(metrics, tmp_path):
    table = figure_03(metrics, **outputs(tmp_path, "fig03"), title=TITLE)
    assert table["subset"].value_counts().to_dict() == {"all": 5, "MC3D": 4}
    assert table.loc[table["model_kind"] == "trivial", "force_rmse_mev_per_angstrom_mean"].tolist() == [60.0, 60.0]
    table_all = table[table["subset"] == "all"]
    fcl = table_all[table_all["model_kind"] == "fcl"].set_index("cutoff_angstrom")
    assert list(fcl.index) == [4.0, 4.5, 5.0]
    assert (fcl["seeds"] == 3).all()
    assert fcl.loc[4.0, "force_rmse_mev_per_angstrom_mean"] == pytest.approx(70.0)
    assert fcl.loc[4.0, "force_rmse_mev_per_angstrom_std"] == pytest.approx(10.0)  # of 60, 70, 80: n - 1
    assert fcl.loc[5.0, "pairs_per_atom_mean"] == pytest.approx(125.0)
    static = table[table["model_kind"] == "static"]
    assert static["cutoff_angstrom"].tolist() == [5.0]  # at its own cutoff only
    assert static["force_rmse_mev_per_angstrom_std"].item() == pytest.approx(30.0)
    written = pd.read_csv(tmp_path / "fig03.csv")
    pd.testing.assert_frame_equal(written, table, check_dtype=False, rtol=1e-5)


@pytest.mark.parametrize("name", [r"$\alpha_{$", "cost $5_x$", "α-Fe", "a|b, c", "_x", "a/b", "True"])
def test_a_subset_of_any_name_is_a_title(metrics, tmp_path, monkeypatch, name):
    for file in metrics:
        table = pd.read_csv(file)
        table.assign(subset=table["subset"].replace("MC3D", name)).to_csv(file, index=False)
    drawn = drawn_figures(monkeypatch)
    assert set(figure_03(metrics, **outputs(tmp_path, "fig"), title=TITLE)["subset"]) == {"all", name}
    assert drawn[0].axes[1].get_title("left").replace(r"\$", "$") == f"(b) {name}"


@pytest.mark.parametrize(
    ("figure", "panels", "trivial"),
    [
        (figure_03, [("all", FORCE), ("MC3D", FORCE), ("all", PAIRS_PER_ATOM)], ["60", "60", None]),
        (figure_08, [("all", ENERGY), ("MC3D", ENERGY)], ["9000", "9000"]),
    ],
)
def test_figures_03_and_08_draw_what_the_csv_holds(metrics, tmp_path, monkeypatch, figure, panels, trivial):
    drawn = drawn_figures(monkeypatch)
    figure(metrics, **outputs(tmp_path, "fig"), title=TITLE)
    table = pd.read_csv(tmp_path / "fig.csv")
    assert len(drawn[0].axes) == len(panels)
    for axes, (subset, value), level in zip(drawn[0].axes, panels, trivial, strict=True):
        part = table[table["subset"] == subset]
        fcl, static = (part[part["model_kind"] == kind] for kind in ("fcl", "static"))
        assert axes.get_title("right") == ("" if level is None else f"trivial: {level}")
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_ydata()[0] for line in dashed] == ([60.0] if subset == "all" and value == FORCE else [])
        line = lines(axes)["one FCL model"]
        np.testing.assert_allclose(line.get_xdata(), fcl["cutoff_angstrom"])
        np.testing.assert_allclose(line.get_ydata(), fcl[f"{value}_mean"], rtol=1e-5)
        if len(static):
            x, y, deviation = points(containers(axes)["static: one model per cutoff"])
            np.testing.assert_allclose(x, static["cutoff_angstrom"])
            np.testing.assert_allclose(y, static[f"{value}_mean"], rtol=1e-5)
            np.testing.assert_allclose(deviation, static[f"{value}_std"], rtol=1e-5, atol=1e-12)
        band = axes.collections[0].get_paths()[0].get_extents()
        low, high = (fcl[f"{value}_mean"] + sign * fcl[f"{value}_std"] for sign in (-1, 1))
        np.testing.assert_allclose([band.y0, band.y1], [low.min(), high.max()], rtol=1e-5)


def test_figure_08_is_in_mev_per_atom(metrics, tmp_path):
    table = figure_08(metrics, **outputs(tmp_path, "fig08"), title=TITLE)
    table = table[(table["subset"] == "all") & (table["model_kind"] != "trivial")]
    assert table["energy_rmse_mev_per_atom_mean"].tolist() == pytest.approx([25.0, 100.0 / 4.5, 20.0, 20.0])
    assert table["energy_rmse_mev_per_atom_std"].tolist() == pytest.approx([0.0, 0.0, 0.0, 10.0])


@pytest.mark.parametrize(("seeds", "typical"), [((4, 1, 7), 4), ((4, 1, 7, 9), 4), ((3,), 3)])
def test_figures_04_and_10_draw_the_seed_of_the_median_oscillation(tmp_path, monkeypatch, seeds, typical):
    files = write_diatomics(tmp_path, seeds)  # energies, and so oscillations, scale with the seed
    drawn = drawn_figures(monkeypatch)
    for figure in (figure_04, figure_10):
        table = figure(files, **outputs(tmp_path, "fig"), title=TITLE)
        assert set(table["seed"]) == {typical} and list(table["pair"].unique()) == list(PAIRS)
        more = f" of {len(seeds)}, that of the median oscillation" if len(seeds) > 1 else ""
        assert drawn[-1].get_suptitle() == f"{TITLE}; seed {typical}{more}"
    with pytest.raises(ValueError, match="two rows for the same seed"):
        figure_04([*files, files[0]], **outputs(tmp_path, "twice"), title=TITLE)


def test_oscillation_is_what_a_curve_moves_back():
    rows = [(pair, r, e) for pair, es in (("H-O", (0, 3, 1, 1)), ("C-C", (5, 4, 2, 0))) for r, e in enumerate(es)]
    table = pd.DataFrame(rows[::-1], columns=["pair", "distance_angstrom", "energy_ev"]).assign(cutoff_angstrom=4.0)
    assert oscillation(table) == pytest.approx(((3 + 2 - 1) + 0) / 2)


@pytest.mark.parametrize(
    ("figure", "scale", "distances"), [(figure_04, 1000.0, (3.0, 7.5)), (figure_10, 1.0, (0.5, 8.0))]
)
def test_figures_04_and_10_draw_what_the_csv_holds(diatomics, tmp_path, monkeypatch, figure, scale, distances):
    drawn = drawn_figures(monkeypatch)
    figure(diatomics, **outputs(tmp_path, "fig"), title=TITLE)
    table = pd.read_csv(tmp_path / "fig.csv")
    assert len(drawn[0].axes) == len(PAIRS)
    for axes, pair in zip(drawn[0].axes, PAIRS, strict=True):
        assert axes.get_xlim() == distances
        assert axes.get_ylim() == drawn[0].axes[0].get_ylim()  # one range of energies
        for cutoff in (4.0, 5.0, 6.0, 7.0):
            curve = table[(table["pair"] == pair) & (table["cutoff_angstrom"] == cutoff)]
            line = lines(axes)[f"{cutoff:.1f} Å"]
            np.testing.assert_allclose(line.get_xdata(), curve["distance_angstrom"])
            np.testing.assert_allclose(line.get_ydata(), scale * curve["energy_ev"], rtol=1e-5)
            (tick,) = [t for t in axes.lines if list(t.get_xdata()) == [cutoff, cutoff]]
            assert np.array_equal(tick.get_color(), line.get_color())


def test_figure_10_has_every_distance(diatomics, tmp_path):
    table = figure_10(diatomics, **outputs(tmp_path, "fig10"), title=TITLE)
    assert len(table) == 61 * 4 * len(PAIRS)
    assert (table["distance_angstrom"].min(), table["distance_angstrom"].max()) == (0.5, 8.0)


def test_figure_05_has_one_start_a_subset_and_falls_with_lambda(calibrations, tmp_path):
    table = figure_05(calibrations, **outputs(tmp_path, "fig05"), title=TITLE)
    assert list(table["subset"].unique()) == ["MC3D", "SHIFTML-molcrys"]
    start = table[table["configuration"] == "initial"]
    assert start["subset"].tolist() == ["MC3D", "SHIFTML-molcrys"]
    assert start["lambda"].isna().all()
    assert start["cutoff_angstrom"].tolist() == [6.0, 6.0]
    optimised = table[(table["configuration"] == "optimised") & (table["subset"] == "MC3D")]
    assert optimised["lambda"].tolist() == [1e-2, 1e-4, 1e-6]
    assert optimised["pairs_per_atom_mean"].tolist() == [11.0, 31.0, 51.0]
    np.testing.assert_allclose(optimised["force_rmse_mev_per_angstrom_mean"], [250.0, 200.0, 190.0])


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
@pytest.mark.parametrize(
    ("figure", "error"),
    [(figure_05, "force_rmse_mev_per_angstrom"), (figure_09, "energy_rmse_mev_per_atom")],
)
def test_figures_05_and_09_draw_what_the_csv_holds(tmp_path, monkeypatch, figure, error, seeds):
    drawn = drawn_figures(monkeypatch)
    figure(write_calibration_metrics(tmp_path, seeds), **outputs(tmp_path, "fig"), title=TITLE)
    table = pd.read_csv(tmp_path / "fig.csv")
    assert (table["seeds"] == len(seeds)).all()
    for axes, subset in zip(drawn[0].axes, ("MC3D", "SHIFTML-molcrys"), strict=True):
        assert axes.get_title(loc="left") == subset
        for label, configuration in (("optimised", "optimised"), ("start", "initial")):
            rows = table[(table["subset"] == subset) & (table["configuration"] == configuration)]
            x, y, deviation = points(containers(axes)[label])
            np.testing.assert_allclose(x, rows["pairs_per_atom_mean"], rtol=1e-5)
            np.testing.assert_allclose(y, rows[f"{error}_mean"], rtol=1e-5)
            if len(seeds) > 1:
                np.testing.assert_allclose(deviation, rows[f"{error}_std"], rtol=1e-5, atol=1e-9)
            else:
                assert deviation is None
        labels = [text.get_text() for text in axes.texts]
        assert labels == ["$10^{-2}$", "$10^{-4}$", "$10^{-6}$"]


def test_figure_05_shows_uniform_cutoffs_static_models_and_the_choice(tmp_path, monkeypatch):
    """The sweep of the calibrated models only, static models within the range of pairs, a ring around the choice."""
    uniform = [
        ("fcl", np.nan, 1, 4.0, 0.22, 20.0), ("fcl", np.nan, 1, 5.0, 0.20, 40.0), ("fcl", np.nan, 2, 4.0, 9.0, 20.0),
        ("static", 4.0, 1, 4.0, 0.21, 20.0), ("static", 4.0, 2, 4.0, 0.23, 20.0), ("static", 7.0, 1, 7.0, 0.15, 99.0),
        ("trivial", np.nan, np.nan, np.nan, 0.24, 0.0),
    ]  # fmt: skip
    columns = ["model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "force_rmse_ev_per_angstrom",
               "pairs_per_atom"]  # fmt: skip
    pd.DataFrame(uniform, columns=columns).assign(subset="MC3D").to_csv(tmp_path / "uniform.csv", index=False)
    choices = ErrorFiles(tmp_path).choices({1: 1e-4})  # of subsets A and B
    for file, subset in zip(choices, ("MC3D", "SHIFTML-molcrys"), strict=True):
        file.write_text(file.read_text().replace('"subset": "A"', f'"subset": "{subset}"'))
        file.write_text(file.read_text().replace('"subset": "B"', f'"subset": "{subset}"'))
    drawn = drawn_figures(monkeypatch)
    files = write_calibration_metrics(tmp_path)
    extra = {"uniform": [tmp_path / "uniform.csv"], "choices": choices}
    figure_05(files, **outputs(tmp_path, "fig"), title=TITLE, **extra)
    table = pd.read_csv(tmp_path / "fig.csv")
    assert table.groupby("configuration")["chosen"].sum().to_dict() == {
        "initial": 0, "optimised": 2, "static": 0, "trivial": 0, "uniform": 0,
    }  # fmt: skip
    axes = drawn[0].axes[0]
    assert lines(axes)["uniform"].get_ydata().tolist() == [220.0, 200.0]
    x, y, deviation = points(containers(axes)["static"])
    assert (x.tolist(), y.tolist()) == ([20.0], [220.0]) and deviation == pytest.approx(10.0 * np.sqrt(2.0))
    ring = lines(axes)["chosen"]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([31.0], [200.0])
    assert axes.get_title("right") == "trivial: 240"
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert "static models" in legend and "λ chosen by cross-validation" in legend


def test_coinciding_points_share_a_label(tmp_path, monkeypatch):
    files = write_calibration_metrics(tmp_path)
    for file in files:
        if "1e-06" in file.name:  # as many pairs and the same error as at 1e-4
            table = pd.read_csv(file)
            changed = table["configuration"] == "optimised"
            table.loc[changed, ["force_rmse_ev_per_angstrom", "pairs_per_atom"]] = [0.2, 31.0]
            table.to_csv(file, index=False)
    drawn = drawn_figures(monkeypatch)
    figure_05(files, **outputs(tmp_path, "fig"), title=TITLE)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["$10^{-2}$", "$10^{-4}$, $10^{-6}$"]


def test_without_a_path_the_csv_lies_beside_the_png(tmp_path, metrics):
    figure_03(metrics, **outputs(tmp_path / "a", "fig03", csv=False), title=TITLE)
    assert (tmp_path / "a" / "fig03.csv").exists()


@pytest.mark.parametrize("figure", [figure_03, figure_08])
def test_a_single_seed_without_static_models_can_be_drawn(tmp_path, metrics, figure):
    table = figure(metrics[:1], **outputs(tmp_path, "fig"), title=TITLE)
    assert table.filter(like="_std").isna().all(axis=None)


@pytest.mark.parametrize("figure", [figure_03, figure_04, figure_05, figure_08, figure_09, figure_10])
def test_errors_name_file_and_column(tmp_path, figure):
    with pytest.raises(ValueError, match="no file in "):
        figure([], **outputs(tmp_path, "fig"), title=TITLE)
    bad = tmp_path / "bad.csv"
    bad.write_text("seed\n1\n")
    with pytest.raises(ValueError, match=r"bad\.csv is of an older version: it has no column '\w+'"):
        figure([bad], **outputs(tmp_path, "fig"), title=TITLE)
    assert not list(tmp_path.glob("fig*"))


@pytest.mark.parametrize("figure", [figure_08, figure_09])
def test_a_table_without_energies_is_named(tmp_path, figure):
    files = write_metrics(tmp_path) if figure is figure_08 else write_calibration_metrics(tmp_path)
    table = pd.read_csv(files[0]).drop(columns="energy_rmse_ev_per_atom")
    table.to_csv(files[0], index=False)
    with pytest.raises(ValueError, match=f"{files[0].name} is of an .* no column 'energy_rmse_ev_per_atom'"):
        figure(files, **outputs(tmp_path, "fig"), title=TITLE)


def test_a_seed_given_twice_is_an_error(metrics, tmp_path):
    with pytest.raises(ValueError, match="two rows for the same seed"):
        figure_03([*metrics, metrics[0]], **outputs(tmp_path, "fig03"), title=TITLE)


def test_over_seeds_of_one_seed_has_no_spread():
    table = over_seeds(pd.DataFrame({"k": [1, 1, 2], "seed": [1, 2, 1], "v": [1.0, 3.0, 5.0]}), ["k"], ["v"])
    assert table["v_mean"].tolist() == [2.0, 5.0]
    assert table["v_std"].iloc[0] == pytest.approx(np.sqrt(2.0))
    assert np.isnan(table["v_std"].iloc[1])


def test_energy_limits_leave_out_a_wall():
    low, high = energy_limits(pd.Series([-0.1] * 99 + [500.0]), (0.0, 95.0))
    assert low < -0.1
    assert 0.0 < high < 1.0
    assert energy_limits(pd.Series([-500.0] + [0.1] * 99), (2.0, 100.0)) == pytest.approx((-0.008, 0.108))


@pytest.mark.parametrize(
    ("seeds", "note"),
    [([], ""), ([1], ""), ([3, 3], "; mean ± s.d. of 3 seeds"), ([2, 3], "; mean ± s.d. of 2 to 3 seeds")],
)
def test_titles_say_how_many_seeds_error_bars_are_of(seeds, note):
    assert seeds_note(pd.DataFrame({"seeds": seeds})) == note


def test_a_subset_looks_the_same_everywhere():
    paper = [subset_style(name) for name in ("MC3D", "MC2D", "SHIFTML-molcrys", "SHIFTML-molfrags")]
    assert [style["color"] for style in paper] == ["C0", "C1", "C2", "C3"]  # as in Fig. 5 of every study so far
    assert len({style["marker"] for style in paper}) == 4
    own = subset_style("my crystals")
    assert own == subset_style("my crystals") and own != subset_style("my molecules")
    new_figure(3.4, 3.0, "").subplots().plot([0, 1], **subset_style("all"))
