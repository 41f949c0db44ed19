"""What comes with the package: the model of record, the structures, and that a wheel and a source archive have them."""

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

import fcl
from fcl.models.pretrained import FOLDER, MODELS, SPLITS, model_file, structures
from fcl.runs.files import sha256_file
from fcl.study.records.manifests import read_manifests
from project import ROOT


def test_models_are_those_listed():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(MODELS)
    for name, about in MODELS.items():
        assert "embedded PBEsol set (not MAD)" in about
        assert fcl.load(name).card == json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_record_is_that_of_its_manifests(name):
    card = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert card["weights_sha256"] == sha256_file(FOLDER / f"{name}.safetensors")
    manifest = read_manifests(ROOT / f"record/{name}")["models/fcl_seed1.manifest.json"]
    assert (card["weights_sha256"] == manifest["extra"]["weights_sha256"]) == ("of the record of" in MODELS[name])
    assert (card["settings_digest"] == manifest["settings_digest"]) == ("of the record of" in MODELS[name])


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_file("mini") == FOLDER / "mini.safetensors"
    (tmp_path / "mini").write_bytes(b"")
    assert model_file("mini") == Path("mini")
    with pytest.raises(FileNotFoundError, match=r"maxi: no such model file, nor a shipped model \(embedded, mini\)"):
        fcl.load("maxi")


def test_structures_are_the_embedded_ones():
    for split in SPLITS:
        copy, original = FOLDER / f"{split}.xyz.gz", ROOT / "resources" / "embedded" / f"{split}.xyz.gz"
        assert sha256_file(copy) == sha256_file(original), f"copy {original} to {copy}"
    crystals = structures("test", "SHIFTML-molcrys")
    assert len(structures()) == 48 and len(crystals) == 12
    assert crystals[0].get_forces().shape == (len(crystals[0]), 3) and crystals[0].pbc.all()
    with pytest.raises(ValueError, match="split 'tests' is unknown; there are train, val, test"):
        structures("tests")
    with pytest.raises(ValueError, match="subset 'MC4D' is unknown; there are MC2D"):
        structures("val", "MC4D")


def test_they_are_in_the_wheel_and_in_the_source_archive(distributions):
    wheel, archive = distributions
    with zipfile.ZipFile(wheel) as contents, tarfile.open(archive) as source:
        packed = {"wheel": contents.namelist(), "source archive": source.getnames()}
        protocol = contents.read("fcl/config/protocol.yaml")
    for file in FOLDER.iterdir():
        for kind, names in packed.items():
            assert any(name.endswith(f"fcl/models/shipped_files/{file.name}") for name in names), (kind, file.name)
    assert protocol == (ROOT / "config.yaml").read_bytes()  # a link in the source tree, a copy in the package
