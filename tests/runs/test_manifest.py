"""A run manifest says from what and how a result was made, and nothing about the machine's folders."""

import json
import platform
import socket
import subprocess
import sys
import time

import pytest

from fcl.runs.files import sha256_file
from fcl.runs.manifest import git_commit, portable_path, write_manifest


def test_manifest_records_inputs_versions_and_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "data" / "train.xyz"
    source.parent.mkdir()
    source.write_text("1\n\nH 0 0 0\n")
    target = tmp_path / "out" / "train.manifest.json"
    returned = write_manifest(
        target,
        stage="build_store",
        study="mini",
        digest="abcdef0123",
        inputs={"source": source},
        settings={"cutoffs": {"r_max": 7.0}},
        seed=3,
        started=time.time() - 2.0,
        extra={"frames": 1},
    )
    record = json.loads(target.read_text())
    assert record == returned
    assert record["inputs"]["source"] == {
        "file": "data/train.xyz",
        "bytes": source.stat().st_size,
        "sha256": sha256_file(source),
    }
    assert (record["stage"], record["study"], record["seed"]) == ("build_store", "mini", 3)
    assert record["settings_digest"] == "abcdef0123"
    assert record["settings"] == {"cutoffs": {"r_max": 7.0}}
    assert record["extra"] == {"frames": 1}
    assert record["versions"]["python"] == platform.python_version()
    assert all(record["versions"][name] for name in ("torch", "numpy", "mace-torch", "e3nn", "ase"))
    assert 2.0 <= record["seconds"] < 60.0
    assert record["peak_memory_bytes"] > 1e6
    assert record["finished_utc"].endswith("+00:00")


def test_manifest_tells_neither_host_nor_folders(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    outside = tmp_path / "elsewhere.xyz"
    outside.write_text("x")
    write_manifest(
        "a.json", stage="s", study="mini", digest="0", inputs={"x": outside}, settings={}, started=time.time()
    )
    text = (work / "a.json").read_text()
    assert str(tmp_path) not in text
    assert f'"{socket.gethostname()}"' not in text
    assert portable_path(outside) == "elsewhere.xyz"
    assert portable_path(work / "b" / "c.csv") == "b/c.csv"


def test_manifest_names_a_missing_input(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'store'.*absent\.h5"):
        write_manifest(
            tmp_path / "a.json",
            stage="s",
            study="mini",
            digest="0",
            inputs={"store": tmp_path / "absent.h5"},
            settings={},
            started=time.time(),
        )
    assert not (tmp_path / "a.json").exists()


def test_commit_is_none_or_a_sha():
    commit = git_commit()
    assert commit is None or (len(commit["sha"]) == 40 and commit["modified"] in (True, False, None))


def test_nothing_heavy_is_imported(tmp_path):
    code = """
import sys, time
from fcl.runs.manifest import write_manifest
write_manifest(sys.argv[1], stage="s", study="mini", digest="0", inputs={}, settings={}, started=time.time())
print([name for name in ("torch", "e3nn", "mace", "ase", "pandas") if name in sys.modules])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
