"""Frames, the graph store and batches."""

import gzip
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from examples import ARITHMETIC
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.data.batch import GraphData, ranges
from fcl.data.build import build_store
from fcl.data.frames import FrameError, FrameRules, formula
from fcl.data.pack import integer_type
from fcl.data.read import read_frames
from fcl.data.reference_energies import reference_energies
from fcl.data.store import ARRAYS, arrays_from_frames, content_hash, joined_subset, read_store

HEADER = 'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3 '
GOOD = "2\n" + HEADER + 'energy=-1.5 subset=MC3D split=train pbc="T T T"\nC 0 0 0 0.1 0 0\nO 1.2 0 0 -0.1 0 0\n'


def test_read_frames_gives_labels_and_names(tmp_path):
    path = tmp_path / "train.xyz.gz"
    path.write_bytes(gzip.compress((GOOD + GOOD.replace("MC3D", "MC2D").replace("T T T", "T T F")).encode()))
    first, second = read_frames(path, "train")
    assert first.energy == -1.5 and first.subset == "MC3D" and first.split == "train"
    np.testing.assert_array_equal(first.numbers, [6, 8])
    np.testing.assert_allclose(first.forces, [[0.1, 0, 0], [-0.1, 0, 0]])
    assert second.subset == "MC2D" and second.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("energy=-1.5 ", ""), "energy"),
        (("energy=-1.5", "energy=nan"), "energy"),
        ((":forces:R:3", ":other:R:3"), "forces"),
        (("0.1 0 0\nO", "nan 0 0\nO"), "forces"),
        (("split=train", "split=test"), "split"),
        (('Lattice="6 0 0 0 6 0 0 0 6"', 'Lattice="6 0 0 6 0 0 0 0 6"'), "Lattice"),
        (("O 1.2 0 0 -0.1 0 0\n", ""), "frame"),
    ],
)
def test_a_bad_frame_is_named(tmp_path, change, key):
    path = tmp_path / "bad.xyz"
    path.write_text(GOOD + GOOD.replace(*change))
    with pytest.raises(FrameError, match=rf"bad\.xyz: frame 1: {key}") as caught:
        list(read_frames(path, "train"))
    assert caught.value.frame == 1 and caught.value.key == key


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        list(read_frames(tmp_path / "none.xyz"))
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(FrameError, match="no frame"):
        list(read_frames(tmp_path / "empty.xyz"))


def test_store_round_trip(tmp_path, frames):
    path, store = tmp_path / "train.xyz", tmp_path / "train.h5"
    path.write_text(GOOD * 2 + GOOD.replace("MC3D", "MC2D"))
    summary = build_store(path, store, r_max=7.0, split="train")
    arrays = read_store(store)
    assert (summary["structures"], summary["atoms"], len(arrays)) == (3, 6, 3)
    assert arrays.subset_names == ("MC2D", "MC3D") and arrays.r_max == 7.0
    assert content_hash(arrays) == summary["content_sha256"]
    assert arrays.pair_i.dtype.itemsize == 1 and arrays.pair_shifts.dtype == np.int8
    assert arrays.pair_distances.dtype == np.float32 and arrays.positions.dtype == np.float64
    limited = build_store(path, store, r_max=7.0, split="train", max_frames_per_subset=1)
    assert limited["frames_per_subset"] == {"MC3D": 1, "MC2D": 1}
    assert not [p for p in tmp_path.iterdir() if p.name not in ("train.xyz", "train.h5")]


STRESS = 'stress="1 2 3 2 4 5 3 5 6" '


def test_what_a_store_holds_besides_the_old_labels(tmp_path):
    keys = {"parent": "mother", "fidelity_key": "theory"}
    bare = GOOD.replace("energy=-1.5 ", "")
    frames = [
        GOOD.replace("split=", "mother=m2 theory=r2SCAN " + STRESS + "split="),
        bare.replace("split=", "mother=m1 split="),
        GOOD.replace("energy=-1.5", "energy=nan stress=" + '"' + "nan " * 9 + '"').replace(
            "split=", "mother=m1 split="
        ),
        GOOD,
    ]
    path = tmp_path / "train.xyz"
    path.write_text("".join(frames))
    rules = FrameRules(**keys, fidelity="PBE", energy_optional=True)
    summary = build_store(path, tmp_path / "s.h5", r_max=4.0, split="train", rules=rules)
    arrays = read_store(tmp_path / "s.h5")
    in_memory = arrays_from_frames(list(read_frames(path, rules=rules)), 4.0)
    assert summary["content_sha256"] == content_hash(arrays) == content_hash(in_memory)
    assert arrays.energy_mask.tolist() == [True, False, False, True] == (~np.isnan(arrays.energy)).tolist()
    assert arrays.stress_mask.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(arrays.stress[0], [[1, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert np.isnan(arrays.stress[1:]).all()
    assert arrays.parent_names == ("m1", "m2") and arrays.parent.tolist() == [1, 0, 0, -1]
    assert arrays.fidelity_names == ("PBE", "r2SCAN") and arrays.fidelity.tolist() == [1, 0, 0, 0]
    assert arrays.frame.tolist() == [0, 1, 2, 3]
    counts = ("structures_without_energy", "structures_with_stress", "parents")
    assert [summary[name] for name in counts] == [2, 1, 3]
    data = GraphData(arrays)
    assert data.without_energy == 2 and data.groups().tolist() == [1, 0, 0, 2]
    assert data.batch(torch.tensor([2, 0])).energy_mask.tolist() == [False, True]
    with pytest.raises(ValueError, match="pretrain: training data: 2 of 4 structures have no energy.*leave them out"):
        data.require_energies("pretrain: training data")
    data.require_energies("calibration", torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="1 of 2 structures"):
        data.require_energies("calibration", torch.tensor([0, 1]))


def test_whole_energies_cost_no_mask(graphs):
    assert graphs.energy_mask.all() and graphs.batch(torch.tensor([0, 1])).energy_mask is None
    graphs.require_energies("training")
    assert graphs.groups().tolist() == list(range(len(graphs)))  # no parents: each structure by itself


def test_a_frame_of_a_file_knows_its_place(tmp_path):
    path = tmp_path / "train.xyz"
    path.write_text(GOOD * 2 + GOOD.replace("split=train", "split=val") + GOOD)
    rules = FrameRules(split="train", splits=("train", "val"), select=True)
    build_store(path, tmp_path / "s.h5", r_max=4.0, split="train", rules=rules)
    assert read_store(tmp_path / "s.h5").frame.tolist() == [0, 1, 3]


def test_a_fit_of_references_leaves_out_what_has_no_energy():
    energies = [3.0, float("nan"), 5.0]
    numbers, ptr = np.array([1, 1, 6, 6, 1, 6]), np.array([0, 2, 3, 6])
    arrays = {"numbers": numbers, "ptr": ptr, "energy": np.array(energies), "energy_mask": ~np.isnan(energies)}
    fitted = reference_energies("fit", arrays, None)
    assert 2 * fitted["H"] == pytest.approx(3.0) and fitted["H"] + 2 * fitted["C"] == pytest.approx(5.0)


def test_a_pair_takes_few_bytes(tmp_path):
    """The store of MAD's training split (1.2e8 half pairs at 7 A) must stay below 1 GB: below 8 bytes a pair."""
    from ase.build import bulk

    from examples import labelled
    from fcl.data.store import write_store

    rng = np.random.default_rng(0)
    crystal = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 1)
    many = []
    for seed in range(10):
        atoms = crystal.copy()
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        many.append(labelled(atoms, seed))
    arrays = arrays_from_frames(many, 7.0)
    write_store(arrays, tmp_path / "s.h5", {})
    with h5py.File(tmp_path / "s.h5") as file:
        stored = sum(file[name].id.get_storage_size() for name in file if name.startswith("pair_"))
    assert stored / arrays.pair_ptr[-1] < 8.0


def test_store_refuses_other_files_and_duplicates(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such graph store"):
        read_store(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"text\.h5"):
        read_store(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="not a graph store"):
        read_store(tmp_path / "other.h5")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["format"] = "fcl-graph-store-1"
    with pytest.raises(ValueError, match=r"old\.h5.*format fcl-graph-store-2; it is fcl-graph-store-1.*build it again"):
        read_store(tmp_path / "old.h5")
    path = tmp_path / "double.xyz"
    path.write_text(GOOD.replace("O 1.2 0 0", "O 0.02 0 0"))
    with pytest.raises(ValueError, match=r"double\.xyz: frame 0: positions: atoms 0 and 1 are 0\.02 A apart"):
        build_store(path, tmp_path / "d.h5", r_max=5.0)
    assert not (tmp_path / "d.h5").exists()


def test_integer_types_are_checked():
    assert integer_type(-1, 100, "x") == np.int8
    assert integer_type(0, 200, "x") == np.uint8
    assert integer_type(0, 70, "x") == np.int8
    assert integer_type(-3, 200, "x") == np.int16
    with pytest.raises(OverflowError, match="atom index: values -1 to 70000 do not fit in 16 bits"):
        integer_type(-1, 70_000, "atom index")


def test_formulas_tell_compositions_and_sizes_apart():
    assert formula(np.array([6, 1, 8, 1, 1, 1])) == formula(np.array([1, 1, 1, 1, 6, 8])) == "H4C1O1"
    assert formula(np.array([6, 8])) != formula(np.array([6, 6, 8, 8]))


def test_ranges():
    result = ranges(torch.tensor([5, 0, 9]), torch.tensor([2, 0, 3]))
    assert result.tolist() == [5, 6, 9, 10, 11]
    assert ranges(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)).tolist() == []


def test_batches_in_any_order(graphs, frames):
    batch = graphs.batch(torch.tensor([3, 0, 3, 6]))
    assert batch.n_structures == 4 and batch.atoms_per_structure.tolist() == [len(frames[k]) for k in (3, 0, 3, 6)]
    for place, k in enumerate((3, 0, 3, 6)):
        own = batch.structure == place
        np.testing.assert_allclose(batch.positions[own].numpy(), frames[k].positions)
        np.testing.assert_allclose(batch.forces[own].numpy(), frames[k].forces)
        assert float(batch.energy[place]) == frames[k].energy


def test_unknown_subset(graphs):
    with pytest.raises(ValueError, match="'MC3D' is not in the data; there are default"):
        graphs.members("MC3D")
    assert len(graphs.members("default")) == len(graphs)


def test_float32_batches_keep_the_pairs(frames):
    arrays = arrays_from_frames(frames, 7.0)
    counts = []
    for dtype in (torch.float32, torch.float64):
        data = GraphData(arrays, dtype)
        batch = data.batch(torch.arange(len(data)))
        counts.append(
            data.select_pairs(batch, uniform_cutoffs(batch.numbers, 5.0, dtype), ARITHMETIC).pair_index.shape[1]
        )
    assert counts[0] == counts[1]


def test_the_structures_of_a_subset_in_several_stores(crystals):
    """As if they had been in one file; parents keep their names, so groups extend over the stores."""
    rules = FrameRules(parent="parent")
    splits = [list(read_frames(crystals.with_name(f"{name}.xyz.gz"), rules=rules))[::3] for name in ("val", "test")]
    splits[1] += splits[0][:6]  # variants in both
    splits[1].append(replace(splits[1][0], parent=None))
    joined = joined_subset([arrays_from_frames(frames, 7.0) for frames in splits], "MC3D")
    together = arrays_from_frames([frame for frames in splits for frame in frames if frame.subset == "MC3D"], 7.0)
    assert joined.names == together.names and len(joined) == len(together) > 8
    for name in set(ARRAYS) - {"frame"}:
        np.testing.assert_array_equal(getattr(joined, name), getattr(together, name))
    assert joined.groups().tolist() == together.groups().tolist() and len(set(joined.groups())) < len(joined)
    with pytest.raises(ValueError, match="'nothing' is not in the data"):
        joined_subset([together], "nothing")
    with pytest.raises(ValueError, match=r"different r_max: 7.0 A, 6.0 A"):
        joined_subset([together, arrays_from_frames(splits[0], 6.0)], "MC3D")
