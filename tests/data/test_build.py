"""Building stores: the same for any number of processes, in memory or on disk; splits; reference energies."""

import hashlib

import numpy as np
import pytest

from examples import frame_settings, structures
from fcl.data import build as module
from fcl.data.build import build_store, ordered_map
from fcl.data.frames import FrameError
from fcl.data.pack import SpooledArray
from fcl.data.read import read_frames
from fcl.data.splits import Portion, chosen_frames, frame_arguments
from fcl.data.store import arrays_from_frames, content_hash, read_reference_energies, read_store, write_store
from project import ROOT

EMBEDDED = ROOT / "resources/embedded"
#: Of the embedded stores of format 1 at 7 A, recorded when stores were still built in memory from what ASE had read.
EMBEDDED_HASHES = {
    "val": "42750ab5269f386644551f4e1ec93d717442a8bb8a39934d066f090d5bed50a1",
    "test": "2962981a48b956119a1689393044d142e556bfb14d3e169b1c3cb4760de04062",
}
#: Of the same stores in format 2.
EMBEDDED_HASHES_2 = {
    "val": "119633a6306c27c7527479dfe18a246f8b4d5c72d3a59a6fb774595132f1f834",
    "test": "3f5a35061c5543b6d8178aeb3f57438e2c7f9f86f5ea620242683433ae6f9ef9",
}
FORMAT_1 = (
    "ptr pair_ptr numbers positions forces cells pbc energy subset pair_i pair_j pair_shifts pair_distances".split()
)
COLUMNS = "Properties=species:S:1:pos:R:3:dft_forces:R:3"


def write_own(path, count=20, split=None):
    """Frames under other names; energies are -1.5 eV for each H, -7 for C, -12 for O, and 0.25 a structure."""
    text = ""
    for k in range(count):
        symbols = "HHCO"[: 1 + k % 4]
        energy = 0.25 + sum({"H": -1.5, "C": -7.0, "O": -12.0}[symbol] for symbol in symbols)
        part = f" part={split(k)}" if split else ""
        text += (
            f"{len(symbols)}\nREF_energy={energy} kind=k{k % 2}{part} Properties=species:S:1:pos:R:3:dft_forces:R:3\n"
        )
        text += "".join(f"{symbol} {1.1 * i} {0.01 * k} 0 {k} 0 {i}\n" for i, symbol in enumerate(symbols))
    path.write_text(text)
    return path


OWN_KEYS = {"energy": "REF_energy", "forces": "dft_forces", "subset": "kind", "split": "part"}


def own(folder, split, source, references=None, **manifest):
    arguments = frame_arguments(frame_settings(split, keys=OWN_KEYS, **manifest), 100, None)
    arguments |= {} if references is None else {"references": references}
    target = folder / f"{split}.h5"
    return build_store(source, target, r_max=5.0, **arguments), read_store(target)


def hash_of_format_1(arrays):
    """The content hash that a store of format 1 had: of what was in it."""
    digest = hashlib.sha256(f"fcl-graph-store-1 {arrays.r_max!r} {arrays.subset_names!r}".encode())
    for name in FORMAT_1:
        values = getattr(arrays, name).astype(np.int16) if name == "subset" else getattr(arrays, name)
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_shipped_stores_are_what_they_were(tmp_path, split):
    source = EMBEDDED / f"{split}.xyz.gz"
    summary = build_store(source, tmp_path / "store.h5", r_max=7.0, split=split)
    assert summary["content_sha256"] == EMBEDDED_HASHES_2[split]
    stored = read_store(tmp_path / "store.h5")
    in_memory = arrays_from_frames(list(read_frames(source, split)), 7.0)
    for arrays in (stored, in_memory):
        assert content_hash(arrays) == EMBEDDED_HASHES_2[split]
        assert hash_of_format_1(arrays) == EMBEDDED_HASHES[split]


@pytest.mark.parametrize("limit", [None, 5])
def test_neither_processes_nor_blocks_change_the_store(tmp_path, monkeypatch, limit):
    source, hashes = EMBEDDED / "val.xyz.gz", set()
    for workers, frames in ((1, 1000), (1, 1), (2, 3), (3, 7)):
        monkeypatch.setattr(module, "BLOCK_FRAMES", frames)
        summary = build_store(
            source, tmp_path / "s.h5", r_max=7.0, split="val", workers=workers, max_frames_per_subset=limit
        )
        assert summary["structures"] == (48 if limit is None else 20)
        hashes.add(summary["content_sha256"])
    assert len(hashes) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_bad_frame_is_told_whatever_the_processes_do(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 2)
    text = write_own(tmp_path / "own.xyz").read_text()
    bad = text.replace("H 0.0 0.05 0", "H nan 0.05 0").replace("REF_energy=-1.25 kind=k0", "REF_energy=nan kind=k0")
    (tmp_path / "own.xyz").write_text(bad[:-30])
    rules = frame_arguments(frame_settings("train", keys=OWN_KEYS), 100, None)["rules"]
    with pytest.raises(FrameError, match=r"own\.xyz: frame 0: REF_energy: not finite"):
        build_store(tmp_path / "own.xyz", tmp_path / "s.h5", r_max=5.0, rules=rules, workers=workers)
    assert not (tmp_path / "s.h5").exists()


def test_what_the_limit_leaves_out_may_be_anything_but_a_bad_label(tmp_path):
    """A frame beyond the limit is validated, but its neighbours are nobody's concern."""
    text = write_own(tmp_path / "own.xyz", 6).read_text()
    doubled = text.replace("H 1.1 0.05 0", "H 0.0 0.05 0")
    assert doubled != text
    (tmp_path / "own.xyz").write_text(doubled)
    rules = frame_arguments(frame_settings("train", keys=OWN_KEYS), 100, None)["rules"]
    options = {"r_max": 5.0, "rules": rules}
    for workers in (1, 2):
        summary = build_store(
            tmp_path / "own.xyz", tmp_path / "s.h5", max_frames_per_subset=2, workers=workers, **options
        )
        assert summary["frames_per_subset"] == {"k0": 2, "k1": 2}
    with pytest.raises(FrameError, match="frame 5: positions: atoms 0 and 1"):
        build_store(tmp_path / "own.xyz", tmp_path / "s.h5", max_frames_per_subset=3, **options)


def test_fractions_divide_a_file_without_overlap(tmp_path):
    source = write_own(tmp_path / "own.xyz", 30)
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    splits = {name: {"file": "own.xyz", "fraction": share} for name, share in fractions.items()}
    taken = []
    for split, share in fractions.items():
        chosen = chosen_frames(source, Portion(split, fractions, 1))
        assert chosen.sum() == share * 30
        summary, arrays = own(tmp_path, split, source, splits=splits, split_seed=1)
        assert summary["structures"] == chosen.sum()
        np.testing.assert_array_equal(arrays.forces[arrays.ptr[:-1], 0], np.flatnonzero(chosen))  # k, in file order
        taken += np.flatnonzero(chosen).tolist()
    assert sorted(taken) == list(range(30))
    other = chosen_frames(source, Portion("train", fractions, 2))
    assert sorted(np.flatnonzero(other)) != sorted(taken[:18])
    # frozen: another version of a library must not deal the frames anew
    assert np.flatnonzero(chosen_frames(source, Portion("val", fractions, 1))).tolist() == [4, 7, 12, 17, 28, 29]


def test_a_key_divides_a_file(tmp_path):
    source = write_own(tmp_path / "own.xyz", 20, split=lambda k: ("train", "train", "val", "test")[k % 4])
    splits = {name: {"file": "own.xyz"} for name in ("train", "val", "test")}
    sizes = {split: own(tmp_path, split, source, splits=splits)[0]["structures"] for split in splits}
    assert sizes == {"train": 10, "val": 5, "test": 5}


def test_reference_energies_given_or_fitted(tmp_path):
    source = write_own(tmp_path / "own.xyz", 24)
    given = {"H": -1.5, "C": -7.0, "O": -12.0, "N": -9.0}
    summary, arrays = own(tmp_path, "train", source, reference_energies=given)
    np.testing.assert_allclose(arrays.energy, 0.25, atol=1e-12)
    assert summary["reference_energies_ev"] == given == read_reference_energies(tmp_path / "train.h5")
    summary, arrays = own(tmp_path, "train", source, reference_energies="fit")
    fitted = summary["reference_energies_ev"]
    assert list(fitted) == ["H", "C", "O"]
    for z in (1, 6, 8):
        number = np.add.reduceat((arrays.numbers == z).astype(float), arrays.ptr[:-1])
        assert abs(number @ arrays.energy) < 1e-10  # the residual of least squares holds nothing of any element
    # another split takes the fitted values over
    _, test = own(tmp_path, "test", source, references=fitted)
    np.testing.assert_allclose(test.energy, arrays.energy, atol=1e-12)
    assert read_reference_energies(tmp_path / "test.h5") == pytest.approx(fitted)


def test_calculator_results_of_any_format(tmp_path):
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.io import Trajectory

    with Trajectory(tmp_path / "own.traj", "w") as trajectory:
        for distance in (2.2, 2.5, 3.0):
            atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, distance]], calculator=EMT())
            trajectory.write(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    for workers in (1, 2):
        summary = build_store(tmp_path / "own.traj", tmp_path / "s.h5", r_max=5.0, workers=workers)
        assert (summary["structures"], summary["pairs"]) == (3, 3)


def test_a_spooled_array_is_read_back_in_slices_of_any_type(tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.integers(-5, 100, (n, 3)) for n in (4, 0, 7)]
    spooled = SpooledArray(tmp_path / "a")
    for part in parts:
        spooled.append(part)
    whole, narrow = np.concatenate(parts), spooled.astype(np.dtype(np.int8))
    assert spooled.shape == narrow.shape == (11, 3) and (spooled.dtype, narrow.dtype) == (np.int64, np.int8)
    np.testing.assert_array_equal(spooled[:], whole)
    np.testing.assert_array_equal(narrow[5:9], whole[5:9])
    assert narrow[5:9].dtype == np.int8 and len(narrow[9:3]) == 0


def double(value):
    if value == 5:
        raise ValueError("five")
    return 2 * value


@pytest.mark.parametrize("workers", [1, 2])
def test_an_ordered_map_keeps_the_order_and_reads_little_ahead(workers):
    taken = []
    results = ordered_map(double, (taken.append(k) or k for k in range(5)), workers)
    assert next(results) == 0 and len(taken) <= 2 * workers + 1
    assert list(results) == [2, 4, 6, 8]
    results = ordered_map(double, range(8), workers)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_all_kinds_of_structures_come_back(tmp_path):
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = structures()
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.ones((len(atoms), 3)))
    write(tmp_path / "all.xyz", frames, format="extxyz")
    summary = build_store(tmp_path / "all.xyz", tmp_path / "s.h5", r_max=7.0)
    assert summary["content_sha256"] == content_hash(arrays_from_frames(list(read_frames(tmp_path / "all.xyz")), 7.0))
    assert summary["structures"] == len(frames)


def test_a_store_of_mads_size_is_below_a_gigabyte(tmp_path):
    """Structures of MAD's mean size and of a crystal's density, 76 476 times."""
    from throughput import SYNTHETIC_ATOMS, SYNTHETIC_VOLUME, synthetic_frame

    rng = np.random.default_rng(0)
    frames = [synthetic_frame(rng, SYNTHETIC_ATOMS, SYNTHETIC_VOLUME, range(1, 84)) for _ in range(60)]
    arrays = arrays_from_frames(frames, 7.0)
    write_store(arrays, tmp_path / "s.h5", {})
    pairs = int(arrays.pair_ptr[-1])
    assert pairs / 60 > 1000  # about as many as in MAD: 1.2e8 half pairs in 76 476 structures
    assert (tmp_path / "s.h5").stat().st_size / 60 * 76476 < 1e9
