"""The samples of MAD: their manifests, files brought by hand or downloaded, and stores from a file that looks alike."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from archive import Archive, files_of
from fcl.data.build import build_store
from fcl.data.download import DATA_DIR, DownloadError, fetch_split, local_file
from fcl.data.manifest import load_data_manifest
from fcl.data.splits import frame_arguments
from fcl.data.store import read_store
from project import ROOT

SAMPLE, BENCH = (ROOT / f"resources/{name}/manifest.yaml" for name in ("mad-sample", "mad-bench-70"))
SUBSETS = {"MC3D": 22, "MC3D-rattled": 20, "SHIFTML-molcrys": 5, "MC3D-random": 3}
OPTIONS = {"timeout": 5.0, "retries": 0, "backoff": 0.01}


def look_alike(path):
    """50 frames written as those of the sample are: the same keys in the same order, stress of nine numbers."""
    rng = np.random.default_rng(5)
    text = ""
    for number, subset in enumerate(name for name, count in SUBSETS.items() for _ in range(count)):
        symbols = ["C"] * (1 + number % 20) + ["O"] * (1 + number // 20 % 2)  # two crystals and two rattled ones alike
        stress = rng.normal(size=(3, 3))
        stress = " ".join(str(value) for value in (stress + stress.T).ravel())
        edge = 2.5 * len(symbols)
        text += f'{len(symbols)}\nLattice="{edge} 0.0 0.0 0.0 4.0 0.0 0.0 0.0 4.0" '
        text += f"Properties=species:S:1:pos:R:3:forces:R:3 subset={subset} split=val "
        text += f'energy={rng.normal()} stress="{stress}" pbc="T T T"\n'
        for place, symbol in enumerate(symbols):
            values = (2.5 * place, *rng.normal(scale=0.1, size=2), *rng.normal(size=3))
            text += f"{symbol:2}" + "".join(f" {value:16.8f}" for value in values) + "\n"
    path.write_text(text)
    return path


def manifest_like(folder, file, **source):
    """The sample's manifest for another file: 35 / 5 / 10 of its frames."""
    data = yaml.safe_load(SAMPLE.read_text())
    content = file.read_bytes()
    pinned = {"size": len(content), "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}", **source}
    data["files"] = {"mad-val-1000.xyz": pinned}
    sizes = zip(data["splits"], (35, 5, 10), strict=True)
    data["splits"] = {split: {"file": "mad-val-1000.xyz", "count": count} for split, count in sizes}
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def stores_of(manifest, source, folder):
    loaded, found = load_data_manifest(manifest), {}
    for split in loaded.splits:
        arguments = frame_arguments(loaded.frame_settings(split), 100, None)
        build_store(source, folder / f"{split}.h5", r_max=5.0, **arguments)
        found[split] = read_store(folder / f"{split}.h5")
    return found


def check_division(found):
    """No parent in two splits, no frame twice; returns frames by subset for each split."""
    parents = [set(arrays.parent_names) for arrays in found.values()]
    frames = np.concatenate([arrays.frame for arrays in found.values()])
    assert len(set.union(*parents)) == sum(map(len, parents))
    assert len(set(frames.tolist())) == len(frames)
    return {
        split: dict(zip(arrays.subset_names, np.bincount(arrays.subset).tolist(), strict=True))
        for split, arrays in found.items()
    }


def test_a_file_like_the_sample_is_divided_like_the_sample(tmp_path):
    source = look_alike(tmp_path / "small.xyz")
    found = stores_of(manifest_like(tmp_path, source), source, tmp_path)
    counts = check_division(found)
    assert [len(arrays) for arrays in found.values()] == [35, 5, 10]
    assert counts["test"] == {"MC3D": 4, "MC3D-random": 1, "MC3D-rattled": 4, "SHIFTML-molcrys": 1}
    for arrays in found.values():
        assert arrays.stress_mask.all() and arrays.energy_mask.all() and arrays.fidelity_names == ("PBEsol",)
        np.testing.assert_array_equal(arrays.stress, arrays.stress.transpose(0, 2, 1))
    shared = sum(int((np.bincount(arrays.parent) > 1).sum()) for arrays in found.values())
    assert shared == 50 - sum(len(arrays.parent_names) for arrays in found.values()) == 10


def test_the_manifests_of_the_samples():
    sample, bench = load_data_manifest(SAMPLE), load_data_manifest(BENCH)
    assert (sample.name, bench.name) == ("mad-sample", "mad-bench-70")
    assert [entry.count for entry in sample.splits.values()] == [700, 100, 200]
    for manifest, ending in ((sample, "/small.xyz"), (bench, "/mad-bench-mad-reduced.xyz")):
        assert manifest.citation and manifest.description and not Path(manifest.splits["test"].file).is_absolute()
        for entry in manifest.splits.values():
            assert entry.url.startswith("https://raw.githubusercontent.com/") and entry.url.endswith(ending)
            assert manifest.version.split()[1] in entry.url and entry.checksum and entry.size
            assert sum(entry.subsets.values()) == entry.frames
            assert not (ROOT / "resources" / manifest.name / entry.file).exists()  # nothing of the data is committed
    assert sample.licence == "CC-BY-4.0" and not sample.as_published
    assert bench.keys.subset == "dataset" and list(bench.splits) == ["test"]


@pytest.mark.parametrize("name", ["mad-val-1000.xyz", "small.xyz", "another name"])
@pytest.mark.parametrize("by", ["local_dir", "environment"])
def test_a_file_brought_by_hand_is_known_by_its_name_or_its_checksum(tmp_path, archive, monkeypatch, name, by):
    folder = tmp_path / "brought"
    folder.mkdir()
    source = look_alike(folder / name)
    (folder / "decoy.xyz").write_bytes(b"?" + source.read_bytes()[1:])  # of the same size
    manifest = manifest_like(tmp_path, source, url=archive.url)
    if by == "environment":
        monkeypatch.setenv(DATA_DIR, str(folder))
    output = tmp_path / "out/mad-val-1000.xyz"
    record = fetch_split(manifest, "val", output, local_dir=folder if by == "local_dir" else None, **OPTIONS)
    assert output.read_bytes() == source.read_bytes() and archive.requests == []
    assert record["verified_by"] == "manifest" and record["source"].endswith(name)


def test_what_the_folder_of_the_environment_lacks_is_downloaded(tmp_path, archive, monkeypatch):
    source = look_alike(tmp_path / "published.xyz")
    archive.content = source.read_bytes()
    monkeypatch.setenv(DATA_DIR, str(tmp_path / "nowhere"))
    manifest = manifest_like(tmp_path, source, url=archive.url)
    record = fetch_split(manifest, "train", tmp_path / "out/mad-val-1000.xyz", **OPTIONS)
    assert record["source"] == archive.url and len(archive.requests) == 1


def test_a_wrong_checksum_is_refused_wherever_the_file_is_from(tmp_path, archive, monkeypatch):
    source = look_alike(tmp_path / "published.xyz")
    manifest = manifest_like(tmp_path, source, url=archive.url)
    wrong = source.read_bytes().replace(b"MC3D-random", b"MC3D_random")
    archive.content = wrong
    output = tmp_path / "out/mad-val-1000.xyz"
    with pytest.raises(DownloadError, match=r"altered: its sha256.*was not written"):
        fetch_split(manifest, "train", output, **OPTIONS)
    folder = tmp_path / "brought"
    folder.mkdir()
    (folder / "mad-val-1000.xyz").write_bytes(wrong)
    for options in ({"local_dir": folder}, {}):
        monkeypatch.setenv(DATA_DIR, str(folder))
        with pytest.raises(DownloadError, match=r"brought/mad-val-1000\.xyz: altered.*published at http://127"):
            fetch_split(manifest, "train", output, **OPTIONS, **options)
    assert files_of(tmp_path / "out") in ([], [".mad-val-1000.xyz.part"])


def test_without_file_or_network_the_error_says_where_it_is_and_how_to_bring_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(DATA_DIR, raising=False)
    with Archive() as server:
        url = server.url  # of a server that is gone
    manifest = manifest_like(tmp_path, look_alike(tmp_path / "a.xyz"), url=url)
    with pytest.raises(DownloadError) as caught:
        fetch_split(manifest, "train", tmp_path / "out/mad-val-1000.xyz", **OPTIONS)
    for part in (url, "mad-val-1000.xyz", "sha256:", "data.local_dir", DATA_DIR):
        assert part in str(caught.value)
    with pytest.raises(DownloadError, match=r"no such file.*as local_dir.*published at " + url.split("?")[0]):
        fetch_split(manifest, "train", tmp_path / "out/mad-val-1000.xyz", local_dir=tmp_path / "none", **OPTIONS)


@pytest.mark.parametrize("path", [SAMPLE, BENCH])
def test_the_genuine_files(tmp_path, path):
    """Read where FCL_DATA_DIR names a folder that holds them."""
    manifest = load_data_manifest(path)
    split, entry = next(iter(manifest.splits.items()))
    if not os.environ.get(DATA_DIR) or local_file(entry, os.environ[DATA_DIR]) is None:
        pytest.skip(f"{DATA_DIR} names no folder with {entry.file}")
    fetch_split(path, split, tmp_path / entry.file, **OPTIONS)
    found = stores_of(path, tmp_path / entry.file, tmp_path)
    counts = check_division(found)
    assert counts == {name: dict(sorted(entry.subsets.items())) for name, entry in manifest.splits.items()}
    if manifest.name == "mad-sample":
        groups = np.concatenate([np.bincount(arrays.parent) for arrays in found.values()])
        assert (int((groups > 1).sum()), int(groups[groups > 1].sum())) == (14, 29)
        assert sum(int(arrays.ptr[-1]) for arrays in found.values()) == 29213
        assert all(arrays.stress_mask.all() for arrays in found.values())
