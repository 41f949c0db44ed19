"""Results of record: whether they are made from the files beside them, and what times a clone's files get."""

import json
import os
from pathlib import Path

import pytest

from fcl import record
from fcl.files import sha256_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A figure made from a table that was made from a store that is not there; the table looks newest."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results/toy")
    for name in ("metrics/a.csv", "figures/fig.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "figures/fig.csv").write_text("1")
    table = {"file": "results/toy/metrics/a.csv", "sha256": sha256_file(folder / "metrics/a.csv")}
    store = {"file": "results/toy/stores/test.h5", "sha256": "0"}
    for name, entry in (("metrics/a", store), ("figures/fig", table)):
        (folder / f"{name}.manifest.json").write_text(json.dumps({"inputs": {"x": entry}}))
    os.utime(folder / "figures/fig.png", (1, 1))
    return folder


def times(folder):
    return {path.name: path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


def test_results_that_agree_become_equally_old(study):
    assert list(record.outdated(study)) == []
    record.settle_times([study])
    assert len(set(times(study).values())) == 1


def test_studies_that_use_each_other_become_equally_old(study):
    other = Path("results/other/figures")
    other.mkdir(parents=True)
    (other / "fig.csv").write_text("2")
    record.settle_times(Path("results") / name for name in ("toy", "none", "other"))
    assert len(set(times(Path("results")).values())) == 1
    (other / "fig.csv").write_text("3")  # which toy was made from, and which comes later
    entry = {"file": "results/other/figures/fig.csv", "sha256": "0"}
    (study / "figures/fig.manifest.json").write_text(json.dumps({"inputs": {"x": entry}}))
    record.settle_times(Path("results") / name for name in ("toy", "other"))
    assert (other / "fig.csv").stat().st_mtime > (study / "figures/fig.png").stat().st_mtime


def test_an_input_that_has_changed_becomes_newer(study):
    (study / "metrics/a.csv").write_text("other")
    os.utime(study / "metrics/a.csv", (1, 1))
    assert list(record.outdated(study)) == [(study / "figures/fig.manifest.json", study / "metrics/a.csv")]
    record.settle_times([study])
    found = times(study)
    assert found.pop("a.csv") > max(found.values())
    assert len(set(found.values())) == 1


def test_a_manifest_that_is_none_leaves_the_times(study, capsys):
    (study / "figures/fig.manifest.json").write_text("fig.manifest.json")
    before = times(study)
    with pytest.raises(ValueError, match=r"fig\.manifest\.json: not a run manifest"):
        list(record.outdated(study))
    record.settle_times([study])
    assert times(study) == before
    with pytest.raises(SystemExit):
        record.main([str(study)])
    assert "not a run manifest" in capsys.readouterr().err


def test_the_command(study, tmp_path, capsys):
    record.main([str(study)])
    assert "every result is made from the files beside it" in capsys.readouterr().out
    (study / "metrics/a.csv").write_text("other")
    for folder, words in ((study, "metrics/a.csv is not the file that it was made from"), (tmp_path / "x", "has this")):
        with pytest.raises(SystemExit):
            record.main([str(folder)])
        assert words in capsys.readouterr().err


def test_records_of_snakemake(tmp_path):
    assert record.without_records(tmp_path)
    (tmp_path / ".snakemake/metadata").mkdir(parents=True)  # a dry run leaves the folder
    assert record.without_records(tmp_path)
    (tmp_path / ".snakemake/metadata/eA").write_text("{}")
    assert not record.without_records(tmp_path)


@pytest.mark.parametrize("study", ["mini", "embedded"])
def test_the_committed_results_are_made_from_each_other(study, monkeypatch):
    monkeypatch.chdir(ROOT)
    if not Path("results", study).is_dir():
        pytest.skip(f"the study {study} has not been run here")
    assert [f"{manifest}: {file}" for manifest, file in record.outdated(Path("results", study))] == []
