"""Figures: the statistics that they draw, their files, and that they leave matplotlib as it was."""

import subprocess
import sys
from importlib import resources

import matplotlib
import numpy as np
import pandas as pd
import pytest

from fcl.figures import figure_03, figure_04, figure_05
from fcl.figures.common import over_seeds
from fcl.figures.diatomics import energy_limits
from fcl.figures.tradeoff import power_of_ten

TITLE = "a toy set, not MAD"
PAIRS = ("H-O", "C-C", "C-O")
LAMBDAS = {1e-2: (10.0, 0.25), 1e-4: (30.0, 0.20), 1e-6: (50.0, 0.19)}


@pytest.fixture
def metrics(tmp_path):
    files = []
    for seed in (1, 2, 3):
        fcl = [
            ("fcl", np.nan, seed, cutoff, subset, 0.2 / cutoff + 0.01 * seed + extra, cutoff**3)
            for cutoff in (4.0, 4.5, 5.0)
            for subset, extra in (("all", 0.0), ("MC3D", 5.0))
        ]
        static = [("static", 5.0, seed, cutoff, "all", 0.03 * seed, cutoff**3) for cutoff in (4.0, 5.0)]
        for kind, rows in (("fcl", fcl), ("static", static)):
            columns = [
                "model_kind",
                "training_cutoff_angstrom",
                "seed",
                "cutoff_angstrom",
                "subset",
                "force_rmse_ev_per_angstrom",
                "pairs_per_atom",
            ]
            file = tmp_path / f"{kind}_{seed}.csv"
            pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
            files.append(file)
    return files


@pytest.fixture
def diatomics(tmp_path):
    files = []
    for seed in (1, 2):
        distances = np.linspace(0.5, 8.0, 61)
        tables = [
            pd.DataFrame(
                {
                    "pair": pair,
                    "cutoff_angstrom": cutoff,
                    "seed": seed,
                    "distance_angstrom": distances,
                    "energy_ev": -seed * np.exp(-distances) * (distances < cutoff),
                    "force_ev_per_angstrom": 0.0,
                }
            )
            for pair in PAIRS
            for cutoff in (4.0, 5.0, 6.0, 7.0)
        ]
        files.append(tmp_path / f"diatomics_{seed}.csv")
        pd.concat(tables).to_csv(files[-1], index=False)
    return files


@pytest.fixture
def calibrations(tmp_path):
    files = []
    for subset in ("MC3D", "SHIFTML-molcrys"):
        for value, (pairs, error) in LAMBDAS.items():
            rows = [
                (1, name, value, configuration, 6.0 if configuration == "initial" else "", e, p)
                for name in (subset, "all")
                for configuration, e, p in (("initial", 0.195, 48.0), ("optimised", error, pairs))
            ]
            columns = [
                "seed",
                "subset",
                "lambda",
                "configuration",
                "cutoff_angstrom",
                "force_rmse_ev_per_angstrom",
                "pairs_per_atom",
            ]
            files.append(tmp_path / f"{subset}_{value}.csv")
            pd.DataFrame(rows, columns=columns).to_csv(files[-1], index=False)
    return files


def outputs(folder, name):
    return folder / f"{name}.png", folder / f"{name}.pdf", folder / f"{name}.csv"


def test_figure_03_is_mean_and_sample_deviation_over_seeds(metrics, tmp_path):
    table = figure_03(metrics, *outputs(tmp_path, "fig03"), title=TITLE)
    fcl = table[table["model_kind"] == "fcl"].set_index("cutoff_angstrom")
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


def test_figure_04_draws_one_model_and_reports_the_spread(diatomics, tmp_path):
    table = figure_04(diatomics, *outputs(tmp_path, "fig04"), title=TITLE)
    assert list(table["pair"].unique()) == list(PAIRS)
    assert table["distance_angstrom"].between(3.0, 7.5).all()
    assert set(table["seed"]) == {1}
    np.testing.assert_allclose(table["energy_ev_mean"], 1.5 * table["energy_ev"], rtol=1e-12)
    assert (table["energy_ev"][table["distance_angstrom"] >= table["cutoff_angstrom"]] == 0.0).all()
    other = figure_04(diatomics, *outputs(tmp_path, "other"), title=TITLE, seed=2)
    assert set(other["seed"]) == {2}
    with pytest.raises(ValueError, match="no curve of seed 9"):
        figure_04(diatomics, *outputs(tmp_path, "none"), title=TITLE, seed=9)


def test_figure_05_has_one_start_a_subset_and_falls_with_lambda(calibrations, tmp_path):
    table = figure_05(calibrations, *outputs(tmp_path, "fig05"), title=TITLE)
    assert list(table["subset"].unique()) == ["MC3D", "SHIFTML-molcrys"]
    start = table[table["configuration"] == "initial"]
    assert start["subset"].tolist() == ["MC3D", "SHIFTML-molcrys"]
    assert start["lambda"].isna().all()
    assert start["cutoff_angstrom"].tolist() == [6.0, 6.0]
    optimised = table[(table["configuration"] == "optimised") & (table["subset"] == "MC3D")]
    assert optimised["lambda"].tolist() == [1e-2, 1e-4, 1e-6]
    assert optimised["pairs_per_atom_mean"].tolist() == [10.0, 30.0, 50.0]
    np.testing.assert_allclose(optimised["force_rmse_mev_per_angstrom_mean"], [250.0, 200.0, 190.0])


def draw_all(folder, metrics, diatomics, calibrations):
    figure_03(metrics, *outputs(folder, "fig03"), title=TITLE)
    figure_04(diatomics, *outputs(folder, "fig04"), title=TITLE)
    figure_05(calibrations, *outputs(folder, "fig05"), title=TITLE)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_figures_drawn_again_are_the_same_files(tmp_path, metrics, diatomics, calibrations):
    before = dict(matplotlib.rcParams)
    drawn = draw_all(tmp_path / "once", metrics, diatomics, calibrations)
    assert drawn == draw_all(tmp_path / "again", metrics, diatomics, calibrations)
    assert dict(matplotlib.rcParams) == before
    assert len(drawn) == 9
    for name, content in drawn.items():
        if name.endswith(".pdf"):
            assert content.startswith(b"%PDF")
            assert b"/FontFile2" in content  # fonts are embedded as TrueType
            assert b"CreationDate" not in content
        elif name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
            width = int.from_bytes(content[16:20], "big")
            assert width in (1020, 2100)  # 3.4 in and 7.0 in at 300 dpi


def test_without_a_path_the_csv_lies_beside_the_png(tmp_path, metrics):
    figure_03(metrics, tmp_path / "a" / "fig03.png", tmp_path / "a" / "fig03.pdf", title=TITLE)
    assert (tmp_path / "a" / "fig03.csv").exists()


def test_a_single_seed_without_static_models_can_be_drawn(tmp_path, metrics):
    table = figure_03(metrics[:1], *outputs(tmp_path, "fig03"), title=TITLE)
    assert table["force_rmse_mev_per_angstrom_std"].isna().all()


@pytest.mark.parametrize("figure", [figure_03, figure_04, figure_05])
def test_errors_name_file_and_column(tmp_path, figure):
    with pytest.raises(ValueError, match="at least one table"):
        figure([], *outputs(tmp_path, "fig"), title=TITLE)
    bad = tmp_path / "bad.csv"
    bad.write_text("seed\n1\n")
    with pytest.raises(ValueError, match=r"bad\.csv: column '\w+' is missing"):
        figure([bad], *outputs(tmp_path, "fig"), title=TITLE)
    assert not list(tmp_path.glob("fig*"))


def test_a_seed_given_twice_is_an_error(metrics, tmp_path):
    with pytest.raises(ValueError, match="two rows for the same seed"):
        figure_03([*metrics, metrics[0]], *outputs(tmp_path, "fig03"), title=TITLE)


def test_over_seeds_of_one_seed_has_no_spread():
    table = over_seeds(pd.DataFrame({"k": [1, 1, 2], "seed": [1, 2, 1], "v": [1.0, 3.0, 5.0]}), ["k"], ["v"])
    assert table["v_mean"].tolist() == [2.0, 5.0]
    assert table["v_std"].iloc[0] == pytest.approx(np.sqrt(2.0))
    assert np.isnan(table["v_std"].iloc[1])


def test_small_helpers():
    assert power_of_ten(1e-4) == "$10^{-4}$"
    assert power_of_ten(3e-4) == r"$3\cdot 10^{-4}$"
    low, high = energy_limits(pd.Series([-0.1] * 99 + [500.0]))
    assert low < -0.1
    assert 0.0 < high < 1.0
    assert resources.files("fcl.figures").joinpath("fcl.mplstyle").is_file()


def test_torch_is_not_imported_and_matplotlib_stays_as_it_was():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
        "import fcl.figures; print('torch' in sys.modules, dict(matplotlib.rcParams) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
