"""Folds and shares of groups: variants of a parent stay together, and nothing depends on the order of the files."""

import random
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from examples import frame_settings
from fcl.config.data import DataSettings
from fcl.data.build import build_store
from fcl.data.frames import FrameError
from fcl.data.groups import share_of_groups
from fcl.data.manifest import DataManifest
from fcl.data.splits import chosen_frames, frame_arguments
from fcl.data.store import read_store

SPLITS = ("train", "val", "test")
NAMED = {"keys": {"parent": "parent_id"}}


def settings(**data):
    return DataSettings(manifest="m.yaml", **data)


def manifest(**changes):
    splits = {name: {"file": f"{name}.xyz"} for name in SPLITS}
    facts = {"name": "toy", "title": "Toy set", "licence": "CC0", "citation": "none", "version": "1"}
    return DataManifest.model_validate({**facts, **NAMED, "splits": splits, **changes})


def write_split(folder, split, parents, variants=3, order=None):
    """A file of two subsets; ``parents`` of each with ``variants`` each, whose energies name parent and variant."""
    frames = []
    for subset in "ab":
        for parent in range(parents):
            for variant in range(variants):
                labels = f"energy=-{parent}.{variant} subset={subset} split={split} parent_id={subset}-{split}-{parent}"
                frames.append(f"1\n{labels} Properties=species:S:1:pos:R:3:forces:R:3\nH 0 0 0 0 0 0\n")
    path = folder / f"{split}.xyz"
    path.write_text("".join(frames[k] for k in (order or range(len(frames)))))
    return path


@pytest.fixture
def files(tmp_path):
    """16, 2 and 2 parents of each subset."""
    return [write_split(tmp_path, split, parents) for split, parents in zip(SPLITS, (16, 2, 2), strict=True)]


def store(folder, split, files, data, **changes):
    """The graph store of a split, as a study builds it."""
    whole = manifest(**changes)
    arguments = frame_arguments(whole.frame_settings(split, data), 100, None)
    chosen = [folder / name for name in whole.files_of(split, data)]
    build_store(chosen, folder / f"{split}.h5", r_max=4.0, **arguments)
    return read_store(folder / f"{split}.h5")


def frames_of(arrays):
    """(parent, energy) of each structure."""
    return sorted(
        (arrays.parent_names[parent], energy) for parent, energy in zip(arrays.parent, arrays.energy, strict=True)
    )


def test_each_parent_is_tested_in_one_fold_and_trained_on_in_three(tmp_path, files):
    seen = {split: Counter() for split in SPLITS}
    for held_out in range(1, 6):
        data, stores = settings(folds={"number": 5, "held_out": held_out}), {}
        for split in SPLITS:
            stores[split] = store(tmp_path, split, files, data)
            assert np.bincount(stores[split].parent).tolist() == [3] * len(stores[split].parent_names)
            assert np.ptp(np.bincount(stores[split].subset)) == 0  # as many of each subset
            seen[split].update(stores[split].parent_names)
        assert [len(stores[split]) for split in SPLITS] == [72, 24, 24]
        everything = [frame for arrays in stores.values() for frame in frames_of(arrays)]
        assert len(everything) == len(set(everything)) == 120
        if held_out == 1:
            first = stores
        if held_out == 2:  # the fold after the held-out one is for validation
            assert frames_of(first["val"]) == frames_of(stores["test"])
    assert set(seen["test"].values()) == set(seen["val"].values()) == {1} and len(seen["test"]) == 40
    assert set(seen["train"].values()) == {3} and len(seen["train"]) == 40


def test_folds_do_not_depend_on_the_order_of_frames_and_files(tmp_path, files):
    data = settings(folds={"number": 5, "held_out": 3})
    before = frames_of(store(tmp_path, "test", files, data))
    order = random.Random(1).sample(range(96), 96)
    write_split(tmp_path, "train", 16, order=order)
    reverse = {name: {"file": f"{name}.xyz"} for name in SPLITS[::-1]}
    assert frames_of(store(tmp_path, "test", files, data, splits=reverse)) == before
    assert frames_of(store(tmp_path, "test", files, data, split_seed=2)) != before


def test_a_share_of_groups_keeps_all_variants_and_is_part_of_a_larger_one(tmp_path, files):
    whole = store(tmp_path, "train", files, settings())
    half, quarter = (
        store(tmp_path, "train", files, settings(group_fraction={"train": share})) for share in (0.5, 0.25)
    )
    assert [len(arrays) for arrays in (whole, half, quarter)] == [96, 48, 24]
    for arrays in (half, quarter):
        assert np.bincount(arrays.parent).tolist() == [3] * len(arrays.parent_names)
        assert np.ptp(np.bincount(arrays.subset)) == 0
    assert set(frames_of(quarter)) < set(frames_of(half)) < set(frames_of(whole))
    data = settings(group_fraction={"train": 0.25})
    assert frames_of(store(tmp_path, "val", files, data)) == frames_of(store(tmp_path, "val", files, settings()))
    write_split(tmp_path, "train", 16, order=random.Random(2).sample(range(96), 96))
    assert frames_of(store(tmp_path, "train", files, data)) == frames_of(quarter)


def test_folds_and_shares_go_together(tmp_path, files):
    data = settings(folds={"number": 5, "held_out": 1}, group_fraction={"train": 0.5})
    half = store(tmp_path, "train", files, data)
    all_of_it = store(tmp_path, "train", files, settings(folds={"number": 5, "held_out": 1}))
    assert len(half) == 36 and set(frames_of(half)) < set(frames_of(all_of_it))


def test_only_frames_of_the_split_share_in_a_file_of_several(tmp_path):
    text = "".join(write_split(tmp_path, split, 4).read_text() for split in SPLITS)
    (tmp_path / "all.xyz").write_text(text)
    one = {"splits": {name: {"file": "all.xyz"} for name in SPLITS}}
    half = store(tmp_path, "train", None, settings(group_fraction={"train": 0.5}), **one)
    assert len(half) == 12 and all("-train-" in name for name in half.parent_names)
    folds = settings(folds={"number": 4, "held_out": 1})
    assert len(store(tmp_path, "test", None, folds, **one)) == 18


def test_a_group_in_two_subsets_is_taken_whole_or_not_at_all():
    groups, strata = ["x", "x", "x", "y", "z", "w"], ["a", "a", "b", "a", "b", "b"]
    for share in (0.5, 0.9):
        chosen = share_of_groups(groups, strata, share, 0)
        assert len(set(chosen[:3])) == 1
    assert share_of_groups(groups, strata, 0.5, 0).sum() in (2, 4)  # one of x and y, one of z and w


def test_what_cannot_be_chosen_is_an_error_with_its_key(tmp_path, files):
    with pytest.raises(FrameError, match=r"train\.xyz: .*data\.group_fraction: 0\.01 of 16 groups of a leaves none"):
        store(tmp_path, "train", files, settings(group_fraction={"train": 0.01}))
    with pytest.raises(FrameError, match=r"data\.folds: 40 groups of frames cannot be divided into 50 splits"):
        store(tmp_path, "train", files, settings(folds={"number": 50, "held_out": 1}))
    for key, value in (("folds", {"number": 5, "held_out": 1}), ("group_fraction", {"train": 0.5})):
        message = f"data.{key}: the manifest of toy has neither keys.parent nor group: formula"
        with pytest.raises(ValueError, match=message):
            manifest(keys={}).frame_settings("train", settings(**{key: value}))
    known = {name: {"file": f"{name}.xyz", "frames": 96 if name == "train" else 13} for name in SPLITS}
    with pytest.raises(FrameError, match="the files contain 120 frames, but the data manifest says 122"):
        store(tmp_path, "train", files, settings(folds={"number": 5, "held_out": 1}), splits=known)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"folds": {"number": 2, "held_out": 1}}, "folds.number"),
        ({"folds": {"number": 5, "held_out": 6}}, "there is no fold 6 of number = 5"),
        ({"folds": {"number": 5, "held_out": 0}}, "folds.held_out"),
        ({"folds": {"number": 5}}, "folds.held_out"),
        ({"group_fraction": {"train": 1.5}}, "group_fraction.train"),
        ({"group_fraction": {"train": 0}}, "group_fraction.train"),
    ],
)
def test_impossible_settings_name_their_key(data, words):
    with pytest.raises(ValidationError, match=words):
        settings(**data)


def test_what_a_study_takes_of_its_data():
    assert settings().takes_every_frame
    assert not settings(folds={"number": 5, "held_out": 1}).takes_every_frame
    assert not settings(group_fraction={"train": 0.5}).takes_every_frame
    folds = settings(folds={"number": 5, "held_out": 5}).folds
    assert [folds.of_split(split) for split in SPLITS] == [[2, 3, 4], [1], [5]]


def test_without_them_the_settings_of_a_split_are_as_before():
    """So that stores are not built again."""
    assert manifest().frame_settings("train", settings()) == frame_settings("train", **NAMED)
    assert frame_arguments(frame_settings("train", **NAMED), 100, None)["portion"] is None


def test_unreadable_frames_are_kept_for_their_error(tmp_path, files):
    files[0].write_text(files[0].read_text().replace("energy=-7.1 subset=b", "energy=x Lattice=1 subset=b"))
    arguments = frame_arguments(manifest().frame_settings("train", settings(group_fraction={"train": 0.5})), 100, None)
    chosen = chosen_frames(files[0], arguments["portion"], arguments["rules"])
    assert chosen[48 + 3 * 7 + 1] and chosen.sum() in (48, 49)
