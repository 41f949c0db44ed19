"""Figure 1: pairs are kept by Eq. 4, and drawn as the table says; the data of the pairs are a real structure's."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Wedge

from fcl.data.neighbors import half_pairs
from fcl.data.read import read_frames
from fcl.study.figures.environment import (
    GAP,
    NARROWEST,
    figure_01,
    neighbours,
    pair_table,
    plane,
    sectors,
    spread_out,
)
from figure_examples import TITLE, drawn_figures, outputs, write_calibration
from project import ROOT

pytestmark = pytest.mark.heavy

CUTOFFS = {"H": 3.8, "C": 4.3, "N": 4.9, "O": 4.8, "S": 6.5}
SETTINGS = {"mixing_rule": "arithmetic", "initial_cutoff": 6.0}


@pytest.fixture(scope="module")
def structure():
    """A molecular crystal of the embedded set with its pairs within 7 A, in the form of ``data/example.json``."""
    from ase.data import chemical_symbols

    frames = read_frames(ROOT / "resources/embedded/train.xyz.gz", "train")
    frame = next(frame for frame in frames if frame.subset == "SHIFTML-molcrys")
    (i, j), shifts, distances = half_pairs(frame.positions, frame.cell, frame.pbc, 7.0)
    pairs = [[*map(int, (a, b, *shift)), float(r)] for a, b, shift, r in zip(i, j, shifts, distances, strict=True)]
    return {
        "name": "an example",
        "subset": frame.subset,
        "split": "train",
        "index": 0,
        "numbers": frame.numbers.tolist(),
        "symbols": [chemical_symbols[number] for number in frame.numbers],
        "positions": frame.positions.tolist(),
        "cell": frame.cell.tolist(),
        "pbc": frame.pbc.tolist(),
        "pairs": pairs,
    }


@pytest.fixture
def files(structure, tmp_path):
    example = tmp_path / "example.json"
    example.write_text(json.dumps(structure))
    return example, write_calibration(tmp_path, "SHIFTML-molcrys", 1e-4, CUTOFFS)


def test_pairs_are_kept_by_eq_4(structure):
    table = pair_table(structure, CUTOFFS, 6.0, "arithmetic")
    assert len(table) == len(structure["pairs"])
    assert 0 < table["kept"].sum() < len(table)
    for row in itertools.islice(table.itertuples(), 0, None, 17):
        first, second = (structure["symbols"][atom] for atom in (row.atom_i, row.atom_j))
        assert (row.element_i, row.element_j) == (first, second)
        cutoff = (CUTOFFS.get(first, 6.0) + CUTOFFS.get(second, 6.0)) / 2
        assert row.pair_cutoff_angstrom == pytest.approx(cutoff)
        assert row.kept == (row.distance_angstrom <= cutoff)


def test_an_element_without_an_optimised_cutoff_has_the_initial_one(structure):
    table = pair_table(structure, {}, 5.5, "geometric")
    assert table["pair_cutoff_angstrom"].to_numpy() == pytest.approx(5.5)
    assert table["kept"].tolist() == (table["distance_angstrom"] <= 5.5).tolist()


def test_each_pair_is_seen_from_both_ends(structure):
    table = pair_table(structure, CUTOFFS, 6.0, "arithmetic")
    around = [neighbours(table, atom) for atom in range(len(structure["symbols"]))]
    assert sum(map(len, around)) == 2 * len(table)
    assert sum(part["kept"].sum() for part in around) == 2 * table["kept"].sum()
    for own, part in zip(structure["symbols"], around, strict=True):
        cutoffs = (part["element"].map(CUTOFFS).fillna(6.0) + CUTOFFS.get(own, 6.0)) / 2
        np.testing.assert_allclose(part["pair_cutoff"], cutoffs)
        assert part["kept"].tolist() == (part["distance"] <= part["pair_cutoff"]).tolist()


def test_sectors_fill_the_circle_by_the_numbers_of_neighbours():
    found = sectors(pd.DataFrame({"element": ["H"] * 80 + ["C"] * 8 + ["O"]}))
    widths = {element: end - begin for element, (begin, end) in found.items()}
    assert widths["H"] > widths["C"] > widths["O"] > NARROWEST
    assert sum(widths.values()) == pytest.approx(360.0 - 3 * GAP)
    assert len(sectors(pd.DataFrame({"element": [f"X{k}" for k in range(40)]}))) == 40


def test_consecutive_neighbours_are_spread_out():
    places = spread_out(7)
    assert places[:3].tolist() == [0.5, 0.25, 0.75] and len(set(places)) == 7
    assert 0.0 < places.min() and places.max() < 1.0 and np.abs(np.diff(places)).min() >= 0.25


def test_the_view_is_a_rotation_onto_the_widest_plane():
    positions = np.array([[0.0, 0, 0], [0, 0, 5], [0, 3, 0], [0.5, 0, 5]])
    view = plane(positions)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) == pytest.approx(1.0)
    spread = np.ptp(positions @ view.T, axis=0)
    assert spread[0] > spread[1] > spread[2]
    np.testing.assert_allclose(plane(positions + 1.0), view, atol=1e-12)


def test_figure_01_draws_what_the_csv_holds(files, structure, tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    returned = figure_01(*files, **outputs(tmp_path, "fig01"), title=TITLE, **SETTINGS)
    table = pd.read_csv(tmp_path / "fig01.csv")
    pd.testing.assert_frame_equal(table, returned, check_dtype=False, rtol=1e-5)
    elements = sorted(set(structure["symbols"]), key=lambda element: CUTOFFS.get(element, 6.0))
    others = sorted(set(elements))
    _, smallest, largest = drawn[0].axes
    for axes, element in ((smallest, elements[0]), (largest, elements[-1])):
        assert axes.get_title(loc="left").endswith(f"{element}, {CUTOFFS.get(element, 6.0):.2f} Å")
        wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
        radii = [(CUTOFFS.get(element, 6.0) + CUTOFFS.get(other, 6.0)) / 2 for other in others]
        assert [wedge.r for wedge in wedges] == pytest.approx(radii)
        labels = [text.get_text() for text in axes.texts]
        assert set(labels) >= {f"{other}\n{r:.1f}" for other, r in zip(others, radii, strict=True)}
        kept, all_of_them = map(int, axes.get_xlabel().split(" neighbours")[0].split(" of "))
        balls = [line for line in axes.lines if line.get_marker() == "o"]
        large, small = ([line for line in balls if line.get_markersize() == size] for size in (4.0, 2.4))
        assert kept == sum(len(line.get_xdata()) for line in large)
        assert all_of_them - kept == sum(len(line.get_xdata()) for line in small) > 0
        for radius, within, beyond in zip(radii, large, small, strict=True):
            assert (np.linalg.norm(within.get_xydata(), axis=1) <= radius).all()
            assert (np.linalg.norm(beyond.get_xydata(), axis=1) > radius).all()


@pytest.mark.parametrize("key", ["symbols", "positions", "pairs"])
def test_an_example_without_a_key_is_named(files, tmp_path, key):
    example, calibration = files
    content = json.loads(example.read_text())
    del content[key]
    example.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"example\.json: key '{key}' is missing"):
        figure_01(example, calibration, **outputs(tmp_path, "fig01"), title=TITLE, **SETTINGS)


def test_an_unknown_mixing_rule_is_named(files, tmp_path):
    with pytest.raises(ValueError, match="'harmonic' is unknown; known are arithmetic, geometric"):
        figure_01(*files, **outputs(tmp_path, "f"), title=TITLE, mixing_rule="harmonic", initial_cutoff=6.0)


def test_a_single_atom_has_no_pairs_but_a_figure(files, tmp_path):
    example, calibration = files
    lone = {"symbols": ["H"], "positions": [[0, 0, 0]], "pairs": []}
    example.write_text(json.dumps({**json.loads(example.read_text()), **lone}))
    assert figure_01(example, calibration, **outputs(tmp_path, "fig01"), title=TITLE, **SETTINGS).empty
