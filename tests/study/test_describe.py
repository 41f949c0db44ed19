"""The description of the data: counts by hand, the choice of the example, and pairs that are the store's."""

import itertools
import json

import numpy as np
import pandas
import pytest
from ase import Atoms
from ase.build import molecule

from examples import labelled
from fcl.data.store import arrays_from_frames, write_store
from fcl.study.stages.describe import (
    CUTOFFS,
    describe_data,
    element_rows,
    example_structure,
    neighbor_rows,
    structure_table,
)

MOLCRYS = "SHIFTML-molcrys"


def arrays(*cases, r_max=7.0):
    """Store arrays of (atoms, subset)."""
    return arrays_from_frames([labelled(atoms, seed, subset) for seed, (atoms, subset) in enumerate(cases)], r_max)


@pytest.fixture
def split():
    """An H2 pair, a lone H, methanol twice (once larger), water."""
    wide = Atoms("CH4OH", positions=np.arange(21.0).reshape(7, 3))
    return arrays(
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 3.9]]), "MC3D"),
        (Atoms("H"), "MC3D"),
        (wide, MOLCRYS),
        (molecule("CH3OH"), MOLCRYS),
        (molecule("CH3OH"), MOLCRYS),
        (molecule("H2O"), MOLCRYS),
    )


def test_average_neighbours_have_three_definitions():
    data = arrays((Atoms("H2", positions=[[0, 0, 0], [0, 0, 3.9]]), "MC3D"), (Atoms("H"), "MC3D"), r_max=6.0)
    rows = neighbor_rows(data, "train")
    assert [row["cutoff_angstrom"] for row in rows] == [cutoff for cutoff in CUTOFFS if cutoff <= 6.0]
    near, far = rows[0], rows[1]
    assert (near["structures"], near["atoms"]) == (2, 3)
    assert near["per_atom"] == 0.0  # 3.9 A apart
    assert far["per_connected_atom"] == 1.0
    assert far["per_atom"] == pytest.approx(2 / 3)
    assert far["per_structure"] == pytest.approx(0.5)


def test_elements_are_counted_over_all_and_by_subset(split):
    table = pandas.DataFrame(element_rows(split, "test")).set_index(["subset", "element"])
    assert set(table["split"]) == {"test"}
    assert table.loc[("MC3D", "H"), ["atoms", "structures", "fraction"]].tolist() == [3, 2, 1.0]
    assert table.loc[(MOLCRYS, "O"), "structures"] == 4
    assert table.loc[(MOLCRYS, "C"), "fraction"] == pytest.approx(3 / 22)
    for _, rows in table.groupby("subset"):
        assert rows["fraction"].sum() == pytest.approx(1.0)
    assert table.loc["all", "atoms"].sum() == 25


def test_pairs_beyond_the_range_of_a_store_are_unknown(split):
    short = arrays((Atoms("H2", positions=[[0, 0, 0], [0, 0, 3.9]]), "MC3D"), r_max=5.0)
    assert structure_table(short, "train")["pairs_per_atom_6"].isna().all()
    assert structure_table(split, "train")["pairs_per_atom_6"].notna().all()


def test_the_example_has_most_elements_then_fewest_atoms_then_comes_first(split):
    shown = example_structure(split, "train", ["MC3D"])
    assert (shown["subset"], shown["index"], shown["split"]) == (MOLCRYS, 3, "train")
    assert sorted(shown["symbols"]) == ["C", "H", "H", "H", "H", "O"]
    positions = np.array(shown["positions"])
    assert len(shown["pairs"]) == 15  # all within 7 A
    for i, j, *shift, distance in shown["pairs"]:
        vector = positions[j] - positions[i] + np.array(shift) @ np.array(shown["cell"])
        assert np.linalg.norm(vector) == pytest.approx(distance, abs=1e-5)


def test_without_molecular_crystals_a_calibrated_subset_is_shown():
    data = arrays((Atoms("H"), "A"), (molecule("H2O"), "B"))
    assert example_structure(data, "train", ["none", "B"])["subset"] == "B"
    with pytest.raises(ValueError, match="the data hold A, B"):
        example_structure(data, "train", ["C"])


def test_the_stage_writes_whole_files(split, tmp_path):
    write_store(split, tmp_path / "train.h5", {})
    outputs = {name: tmp_path / file for name, file in (("neighbors", "n.csv"), ("elements", "e.csv"))}
    describe_data(
        *(3 * [tmp_path / "train.h5"]), ["MC3D"], **outputs,
        structures=tmp_path / "s.csv.gz", example=tmp_path / "x.json",
    )  # fmt: skip
    structures = pandas.read_csv(tmp_path / "s.csv.gz")
    assert structures["group"].nunique() == len(structures) == 18  # nothing is known of parents
    assert structures["formula"].tolist()[:3] == ["H2", "H1", "H5C1O1"]
    assert structures["pairs_per_atom_6"].tolist()[:2] == [1.0, 0.0]
    squares = [float((split.forces[a:b].astype(float) ** 2).sum()) for a, b in itertools.pairwise(split.ptr)]
    np.testing.assert_allclose(structures["force_square_sum"][:6], squares, rtol=1e-5)
    neighbors = pandas.read_csv(outputs["neighbors"])
    assert neighbors["split"].tolist() == [name for name in ("train", "val", "test") for _ in CUTOFFS]
    assert set(pandas.read_csv(outputs["elements"])["subset"]) == {"all", "MC3D", MOLCRYS}
    assert json.loads((tmp_path / "x.json").read_text())["r_max_angstrom"] == 7.0
