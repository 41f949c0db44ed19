"""Splits by groups: no group in two of them, sizes and proportions as near as groups allow, in any order of frames."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import frame_settings
from fcl.data.build import build_store
from fcl.data.frames import FrameError
from fcl.data.groups import deal_groups, split_groups, wanted_frames
from fcl.data.manifest import DataManifest
from fcl.data.splits import Portion, chosen_frames, frame_arguments
from fcl.data.store import read_store

FACTS = {"name": "toy", "title": "Toy set", "licence": "CC0", "citation": "none", "version": "1"}
COUNTS = {"train": 12, "val": 4, "test": 8}


def by_split(splits, values):
    """Counter of ``values`` for each split."""
    return {split: Counter(v for s, v in zip(splits, values, strict=True) if s == split) for split in set(splits)}


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab")), min_size=8, max_size=60),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_groups_stay_together_and_the_order_of_frames_does_not_matter(frames, seed, shares):
    groups, strata = [f"g{number}" for number, _ in frames], [stratum for _, stratum in frames]
    sizes = {"train": 0.5, "val": 0.2, "test": 0.3} if shares else {"train": 4, "val": 1, "test": 2}
    try:
        splits = deal_groups(groups, strata, sizes, seed)
    except ValueError:
        assert len(set(groups)) < 3 or max(Counter(groups).values()) > 1
        return
    split_of = dict(zip(groups, splits, strict=True))
    assert [split_of[group] for group in groups] == splits  # one split a group
    assert {"train", "val", "test"} <= set(splits)
    order = random.Random(seed).sample(range(len(frames)), len(frames))
    shuffled = deal_groups([groups[k] for k in order], [strata[k] for k in order], sizes, seed)
    assert shuffled == [splits[k] for k in order]


@given(st.lists(st.integers(1, 4), min_size=3, max_size=7), st.data())
@settings(max_examples=80, deadline=None)
def test_sizes_come_near_to_the_best_that_groups_allow(sizes, data):
    """Against all ways of dealing a few groups: one frame more in one split and less in another, at most."""
    total = sum(sizes)
    train = data.draw(st.integers(1, total - 2))
    val = data.draw(st.integers(1, total - train - 1))
    wanted = {"train": train, "val": val, "test": total - train - val}
    groups = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
    names = list(wanted)

    def distance(splits):
        return sum(abs(Counter(splits)[name] - number) for name, number in wanted.items())

    best = min(
        distance([deal[int(group[1:])] for group in groups])
        for deal in itertools.product(names, repeat=len(sizes))
        if len(set(deal)) == 3
    )
    try:
        found = distance(deal_groups(groups, [""] * total, wanted, 0))
    except ValueError:
        assert best > 0
        return
    assert found <= best + 2


def test_counts_and_proportions_are_exact_where_single_frames_allow():
    """As MAD's sample: four subsets, a few groups, two of them across subsets."""
    subsets = ["bulk"] * 440 + ["rattled"] * 400 + ["molecular"] * 110 + ["random"] * 50
    groups = [f"g{k}" for k in range(1000)]
    for k in range(12):
        groups[440 + k] = groups[k]  # a crystal and its rattled copy
    groups[901] = groups[902] = groups[900]
    splits = deal_groups(groups, subsets, {"train": 700, "val": 100, "test": 200}, 1)
    assert Counter(splits) == {"train": 700, "val": 100, "test": 200}
    held = by_split(splits, subsets)
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        for subset, count in Counter(subsets).items():
            assert abs(held[split][subset] - share * count) <= 1
    pairs = Counter(splits[:12])
    assert pairs["train"] >= 7 and pairs["test"] >= 1  # groups are spread, not all in the largest split
    other = deal_groups(groups, subsets, {"train": 700, "val": 100, "test": 200}, 2)
    assert other != splits and Counter(other) == Counter(splits)


def test_what_no_split_asks_for_is_left():
    groups = [f"g{k // 2}" for k in range(20)]
    splits = deal_groups(groups, ["a", "a", "b", "b"] * 5, {"train": 8, "test": 4}, 3)
    assert Counter(splits) == {"train": 8, "test": 4, None: 8}
    everything = deal_groups(groups, [""] * 20, {"train": 0.6, "val": 0.2, "test": 0.2}, 3)
    assert Counter(everything) == {"train": 12, "val": 4, "test": 4}


def test_groups_that_do_not_fit_come_as_near_as_they_can():
    groups = [f"g{k // 5}" for k in range(50)]
    splits = deal_groups(groups, [""] * 50, {"train": 34, "val": 8, "test": 8}, 0)
    assert sorted(Counter(splits).values()) == [5, 10, 35] and Counter(splits)["train"] == 35
    assert None not in splits


def test_the_deal_is_frozen():
    """Another version of a library, or of this one, must not deal the frames anew."""
    groups = [f"g{k // 2}" if k < 8 else f"g{k}" for k in range(16)]
    splits = deal_groups(groups, ["a", "b"] * 8, {"train": 8, "val": 3, "test": 5}, 7)
    assert "".join(split[1] for split in splits) == FROZEN


FROZEN = "eeaarrrrreeerrar"


@pytest.mark.parametrize(
    ("groups", "sizes", "message"),
    [
        ("abcd", {"train": 3, "test": 2}, "the splits need 5, but there are 4"),
        ("abcd", {"train": 0.9, "test": 0.1}, "0.1 of 4 frames leave none for the split 'test'"),
        ("aabb", {"train": 2, "val": 1, "test": 1}, "2 groups of frames cannot be divided into 3 splits"),
        (
            "aaaaab",
            {"train": 1, "val": 1},
            "no group is left for the split 'val': the largest of 2 groups has 5 of 6",
        ),
        ("aaaab", {"train": 3, "val": 1, "test": 1}, "cannot be divided"),
    ],
)
def test_impossible_requests(groups, sizes, message):
    with pytest.raises(ValueError, match=message):
        deal_groups(groups, [""] * len(groups), sizes, 0)


def test_shares_are_rounded_to_the_whole():
    assert wanted_frames({"train": 0.7, "val": 0.1, "test": 0.2}, 1000) == {"train": 700, "val": 100, "test": 200}
    assert sum(wanted_frames({"train": 1 / 3, "val": 1 / 3, "test": 1 / 3}, 1001).values()) == 1001


def write_frames(path, order=None, group=lambda k: f"id-{k // 3}"):
    """24 frames of two subsets; three in a row share an id and a formula."""
    frames = []
    for k in range(24):
        hydrogens = 1 + k // 3
        rows = "".join(f"H {1.5 * i} {0.01 * k} 0 {k} 0 {i}\n" for i in range(hydrogens))
        own = f" parent_id={group(k)}" if group else ""
        header = f"energy=-{k}.5 subset={'ab'[k // 12]}{own} Properties=species:S:1:pos:R:3:forces:R:3"
        frames.append(f"{hydrogens}\n{header}\n{rows}")
    path.write_text("".join(frames[k] for k in (order or range(24))))
    return path


def divided(**changes):
    splits = {name: {"file": "own.xyz", "count": count} for name, count in COUNTS.items()}
    return {"splits": splits, "split_by": "groups", "stratify": "subset", "split_seed": 1, **changes}


def stores(folder, source, **manifest):
    found = {}
    for split in COUNTS:
        arguments = frame_arguments(frame_settings(split, **manifest), 100, None)
        summary = build_store(source, folder / f"{split}.h5", r_max=4.0, **arguments)
        found[split] = read_store(folder / f"{split}.h5")
        assert len(found[split]) == summary["structures"]
    return found


@pytest.mark.parametrize("by", [{"group": "formula"}, {"keys": {"parent": "parent_id"}}])
def test_a_file_is_divided_by_its_parents(tmp_path, by):
    order = random.Random(4).sample(range(24), 24)
    energies = []
    for number, sequence in enumerate((None, order)):
        found = stores(tmp_path, write_frames(tmp_path / f"{number}.xyz", sequence), **divided(**by))
        parents = [set(arrays.parent_names) for arrays in found.values()]
        assert len(set.union(*parents)) == sum(map(len, parents)) == 8
        for split, arrays in found.items():
            assert abs(len(arrays) - COUNTS[split]) <= 1
            assert np.bincount(arrays.parent).tolist() == [3] * len(arrays.parent_names)
            np.testing.assert_array_equal(arrays.frame, np.sort(arrays.frame))
        assert np.bincount(found["train"].subset).tolist() == [6, 6]
        energies.append({split: sorted(arrays.energy) for split, arrays in found.items()})
    assert energies[0] == energies[1]  # whatever the order of the file
    name = "H1" if "group" in by else "id-0"
    assert sum(name in arrays.parent_names for arrays in found.values()) == 1


def test_counts_without_groups(tmp_path):
    source = write_frames(tmp_path / "own.xyz")
    chosen = [chosen_frames(source, Portion(split, COUNTS, 1)) for split in COUNTS]
    assert [int(mask.sum()) for mask in chosen] == [12, 4, 8] and (sum(chosen) == 1).all()
    found = stores(tmp_path, source, **divided(split_by="frames", group=None))
    assert {split: np.bincount(arrays.subset).tolist() for split, arrays in found.items()} == {
        "train": [6, 6], "val": [2, 2], "test": [4, 4],
    }  # fmt: skip
    assert all((arrays.parent == -1).all() and arrays.parent_names == () for arrays in found.values())


def test_a_frame_without_its_group_is_named(tmp_path):
    source = write_frames(tmp_path / "own.xyz", group=lambda k: "x" if k != 5 else "")
    source.write_text(source.read_text().replace(" parent_id= ", " "))
    with pytest.raises(
        FrameError, match=r"own\.xyz: frame 5: parent_id: missing, but needed as group.*contains energy"
    ):
        stores(tmp_path, source, **divided(keys={"parent": "parent_id"}))


def test_a_division_that_cannot_be_is_told_with_the_file(tmp_path):
    splits = {name: {"file": "own.xyz", "count": count} for name, count in (("train", 20), ("val", 4), ("test", 8))}
    with pytest.raises(FrameError, match=r"own\.xyz.*the splits need 32, but there are 24"):
        stores(tmp_path, write_frames(tmp_path / "own.xyz"), **divided(group="formula", splits=splits))


def test_a_frame_that_cannot_be_read_is_left_out_of_one_split(tmp_path):
    source = write_frames(tmp_path / "own.xyz")
    source.write_text(source.read_text().replace("energy=-7.5", "energy=x Lattice=1"))
    left_out = 0
    for split in COUNTS:
        arguments = frame_arguments(frame_settings(split, **divided(group="formula")), 100, None)
        left_out += build_store(source, tmp_path / "s.h5", r_max=4.0, strict=False, **arguments)["frames_left_out"]
    assert left_out == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split_by": "groups"}, "split_by: groups needs keys.parent or group: formula"),
        ({"group": "parent"}, "group: parent needs keys.parent"),
        ({"group": "formula", "keys": {"parent": "id"}}, "two ways to name the parents"),
        ({"stratify": "subset", "splits": {"train": {"file": "a"}}}, "stratify: divides one file"),
        ({"splits": {"train": {"file": "a", "count": 3}, "test": {"file": "a"}}}, "splits.test.count: is missing"),
        ({"splits": {"train": {"file": "a", "count": 3}, "test": {"file": "b", "count": 3}}}, "name several"),
        ({"splits": {"train": {"file": "a", "count": 3, "fraction": 0.5}}}, "either a fraction or a count"),
        ({"splits": {"train": {"file": "a", "count": 0}}}, "splits.train.count"),
        ({"files": {"b.xyz": {}}}, "files.b.xyz: no split names this file"),
        ({"files": {"a": {"size": 3}}, "splits": {"train": {"file": "a", "size": 4}}}, "splits.train.size: is given"),
        ({"files": {"a": {"sise": 3}}, "splits": {"train": {"file": "a"}}}, "sise"),
        (
            {"splits": {"train": {"file": "a", "size": 4}, "test": {"file": "a"}}},
            "splits.test: a has another url, size",
        ),
        ({"optional_labels": ["forces"]}, "optional_labels"),
        ({"stratify": "parent"}, "stratify"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(change, message):
    splits = {"train": {"file": "a", "count": 3}, "test": {"file": "a", "count": 2}}
    with pytest.raises(ValueError, match=message):
        DataManifest.model_validate({**FACTS, "splits": splits, **change})


def test_splits_by_groups():
    """No group in two parts; sizes as given where groups allow it; the seed decides."""
    parts = split_groups(range(13), (2, 1, 1), 5)
    assert sorted(np.concatenate(parts).tolist()) == list(range(13)) and [len(part) for part in parts] == [6, 4, 3]
    assert all(np.array_equal(a, b) for a, b in zip(parts, split_groups(range(13), (2, 1, 1), 5), strict=True))
    assert not np.array_equal(parts[0], split_groups(range(13), (2, 1, 1), 6)[0])
    groups = np.repeat(np.arange(12), 3)
    for seed in range(5):
        thirds = split_groups(groups.tolist(), (1, 1, 1), seed)
        assert [len(part) for part in thirds] == [12, 12, 12]
        assert len({group for part in thirds for group in set(groups[part])}) == sum(
            len(set(groups[part])) for part in thirds
        )
    assert [len(part) for part in split_groups(range(4), (98, 1, 1), 0)] == [2, 1, 1]
    with pytest.raises(ValueError, match="structures of 2 groups cannot be split into 3 parts"):
        split_groups([0, 0, 1, 1], (2, 1, 1), 0)
