"""Where files of a workflow are found when it runs elsewhere."""

import pytest

from fcl.study.places import Places


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a workflow; the working directory is another one, ``here``."""
    for name in ("flow", "here", "user"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "flow"


def test_own_files(root, monkeypatch):
    assert Places(root).own("resources/claims.csv") == f"{root}/resources/claims.csv"
    monkeypatch.chdir(root)
    assert Places(root).own("resources/claims.csv") == "resources/claims.csv"  # no result depends on the place


def test_manifests(root, monkeypatch):
    here, user = root.parent / "here", root.parent / "user"
    places = Places(root, [root / "config.yaml", user / "config.yaml"])
    with pytest.raises(FileNotFoundError, match=f"m.yaml: no such file in {here}, {root}, {user}"):
        places.manifest("m.yaml")
    (user / "m.yaml").touch()
    assert places.manifest("m.yaml") == f"{user}/m.yaml" == places.manifest(f"{user}/m.yaml")
    (here / "m.yaml").symlink_to(user / "m.yaml")
    assert places.manifest("m.yaml") == "m.yaml"  # the same file
    (root / "m.yaml").touch()
    with pytest.raises(ValueError, match="m.yaml: is ambiguous: .*here/m.yaml, .*flow/m.yaml; give an absolute path"):
        places.manifest("m.yaml")
    monkeypatch.chdir(user)
    (here / "m.yaml").unlink()
    (root / "m.yaml").unlink()
    config = {
        "protocol": {"data": {"manifest": "none.yaml"}},
        "studies": {"a": {"data": {"manifest": "m.yaml"}}, "b": {}},
    }
    monkeypatch.chdir(here)
    assert places.resolved(config)["studies"] == {"a": {"data": {"manifest": f"{user}/m.yaml"}}, "b": {}}
    assert places.resolved(config)["protocol"] == config["protocol"]


def test_numbers(root):
    places = Places(root)
    assert places.numbers(False) == "results" and places.numbers(True) == f"{root}/record"
    (root.parent / "here/record").mkdir()
    assert places.numbers(True) == places.record() == "record"
