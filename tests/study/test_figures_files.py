"""Files of all figures: the same bytes each time, sizes for a column or a page, embedded fonts, and no side effects."""

import importlib
import pkgutil
import subprocess
import sys
from importlib import resources

import matplotlib
import pytest

import fcl.study.figures
from fcl.study.figures.common import panel_title, power_of_ten
from figure_examples import (
    CALIBRATION,
    TITLE,
    outputs,
    wall_clock_rows,
    write_calibration,
    write_calibration_metrics,
    write_diatomics,
    write_histories,
    write_metrics,
)
from observable_examples import TOLERANCES, files_of, nve, rdf, statics

pytestmark = pytest.mark.heavy

#: Every figure of the package by its name.
FIGURES = {
    name: function
    for module in pkgutil.iter_modules(fcl.study.figures.__path__)
    for name, function in vars(importlib.import_module(f"fcl.study.figures.{module.name}")).items()
    if name.startswith("figure_") and callable(function)
}
EXAMPLE = """{"name": "water", "subset": "MC3D", "symbols": ["O", "H", "H"], "cell": [[9, 0, 0], [0, 9, 0], [0, 0, 9]],
"positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]],
"pairs": [[0, 1, 0, 0, 0, 0.96], [0, 2, 0, 0, 0, 0.96], [1, 2, 0, 0, 0, 1.52], [1, 1, 1, 0, 0, 9.0]]}"""


def draw_all(tables, folder):
    """Every figure from the same tables; the files by name."""
    example = tables / "example.json"
    example.write_text(EXAMPLE)
    cutoffs = write_calibration(tables, "MC3D", 1e-4, {"H": 4.0, "O": 5.0}, not_calibrated=["O"])
    inputs = {
        "figure_03": write_metrics(tables),
        "figure_04": write_diatomics(tables),
        "figure_05": write_calibration_metrics(tables),
        "figure_06": [cutoffs],
        "figure_07": [cutoffs],
        "figure_08": write_metrics(tables),
        "figure_09": write_calibration_metrics(tables),
        "figure_10": write_diatomics(tables),
    }
    for name, files in inputs.items():
        options = CALIBRATION if name in ("figure_06", "figure_07") else {}
        FIGURES[name](files, **outputs(folder, name), title=TITLE, **options)
    settings = {"mixing_rule": "arithmetic", "initial_cutoff": 6.0}
    FIGURES["figure_01"](example, cutoffs, **outputs(folder, "figure_01"), title=TITLE, **settings)
    FIGURES["figure_02"](**outputs(folder, "figure_02", csv=False), r_min=3.5, r_max=7.0, initial_cutoff=6.0)
    FIGURES["figure_training"](write_histories(tables), **outputs(folder, "figure_training", csv=False), title=TITLE)
    FIGURES["figure_observables"](
        *files_of(tables, statics(), nve(), rdf()), **outputs(folder, "figure_observables"),
        title=TITLE, at_lambda=1e-4, uniform_cutoff=6.0, tolerances=TOLERANCES,
    )  # fmt: skip
    wall_clock_rows().to_csv(tables / "wall_clock.csv", index=False)
    FIGURES["figure_wall_clock"](tables / "wall_clock.csv", **outputs(folder, "figure_wall_clock"), title=TITLE)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_figures_drawn_again_are_the_same_files(tmp_path):
    before = dict(matplotlib.rcParams)
    drawn = draw_all(tmp_path, tmp_path / "once")
    assert drawn == draw_all(tmp_path, tmp_path / "again")
    assert dict(matplotlib.rcParams) == before
    names = [f"{figure}.{suffix}" for figure in FIGURES for suffix in ("png", "pdf", "csv")]
    without = {"figure_02.csv", "figure_training.csv"}  # a schematic; the histories as they are
    assert sorted(drawn) == sorted(set(names) - without)
    for name, content in drawn.items():
        if name.endswith(".pdf"):
            assert content.startswith(b"%PDF")
            assert b"/FontFile2" in content  # fonts are embedded as TrueType
            assert b"CreationDate" not in content
        elif name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
            width = int.from_bytes(content[16:20], "big")
            assert width in (680, 1400)  # 3.4 in and 7.0 in at 200 dpi


def test_torch_is_not_imported_and_matplotlib_stays_as_it_was():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
        "import importlib, pkgutil, fcl.study.figures as figures\n"
        "for module in pkgutil.iter_modules(figures.__path__):\n"
        "    importlib.import_module(f'fcl.study.figures.{module.name}')\n"
        "print('torch' in sys.modules, dict(matplotlib.rcParams) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_all_ten_figures_and_those_beyond_the_paper_are_there():
    further = ["figure_observables", "figure_training", "figure_wall_clock"]
    assert sorted(FIGURES) == [*(f"figure_{number:02d}" for number in range(1, 11)), *further]
    assert resources.files("fcl.study.figures").joinpath("fcl.mplstyle").is_file()


@pytest.mark.parametrize(("value", "text"), [(1e-4, "$10^{-4}$"), (3e-4, r"$3\cdot 10^{-4}$")])
def test_powers_of_ten(value, text):
    assert power_of_ten(value) == text


def test_panel_titles():
    assert [panel_title(index, "H–O") for index in (0, 3)] == ["(a) H–O", "(d) H–O"]
