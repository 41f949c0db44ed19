"""Files are whole or absent; what is written can be read back."""

import hashlib
import json
import os
import stat

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from fcl.runs.files import (
    atomic_path,
    cache_folder,
    file_digest,
    remove_halves,
    sha256_file,
    write_csv,
    write_json,
    write_text,
)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_atomic_path_renames_on_success_and_makes_folders(tmp_path):
    target = tmp_path / "deep" / "down" / "store.h5"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".h5"
        assert not temporary.exists()
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["store.h5"]


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_permissions_of_any_new_file(tmp_path, mask, mode):
    """Also those of a writer that is stricter, as safetensors is: a group shares results on a cluster."""
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        with atomic_path(tmp_path / "a.safetensors", durable=True) as temporary:
            save_file({"a": np.zeros(2)}, temporary)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)] == [mode, mode]


def test_atomic_path_keeps_the_old_file_when_the_writer_fails(tmp_path):
    target = tmp_path / "result.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["result.csv"]


def test_atomic_path_says_when_nothing_was_written(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"result\.csv: nothing was written"),
        atomic_path(tmp_path / "result.csv"),
    ):
        pass
    assert names(tmp_path) == []


def test_write_json_turns_numpy_and_paths_into_json(tmp_path):
    file = tmp_path / "a.json"
    write_json(
        file,
        {
            "x": np.float32(0.5),
            "n": np.int64(3),
            "v": np.arange(3),
            "p": tmp_path,
            "nan": float("nan"),
            1: {2},
        },
    )
    assert file.read_text().endswith("}\n")
    read = json.loads(file.read_text())
    assert read == {"x": 0.5, "n": 3, "v": [0, 1, 2], "p": str(tmp_path), "nan": None, "1": [2]}


def test_write_json_names_the_file_of_what_it_cannot_write(tmp_path):
    with pytest.raises(TypeError, match=r"a\.json.*object"):
        write_json(tmp_path / "a.json", {"x": object()})
    assert names(tmp_path) == []


def test_write_csv_takes_rows_and_frames_and_orders_columns(tmp_path):
    file = tmp_path / "a.csv"
    write_csv(file, [{"b": 1.0 / 3.0, "a": 1}, {"b": 2.0, "a": 2}], ["a", "b"])
    assert file.read_text() == "a,b\n1,0.3333333333\n2,2\n"
    write_csv(file, pd.DataFrame({"a": [1]}))
    assert file.read_text() == "a\n1\n"


def test_write_csv_without_rows_keeps_the_header_and_needs_columns(tmp_path):
    write_csv(tmp_path / "a.csv", [], ["a", "b"])
    assert (tmp_path / "a.csv").read_text() == "a,b\n"
    with pytest.raises(ValueError, match="no columns"):
        write_csv(tmp_path / "b.csv", [])


def test_write_csv_refuses_a_missing_column(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv.*\['b'\]"):
        write_csv(tmp_path / "a.csv", [{"a": 1}], ["a", "b"])


def test_digests(tmp_path):
    file = tmp_path / "big"
    content = bytes(range(256)) * 10_000  # more than one piece
    file.write_bytes(content)
    assert sha256_file(file) == hashlib.sha256(content).hexdigest()
    assert file_digest(file, "md5") == hashlib.md5(content).hexdigest()


def test_write_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "Å\n")
    assert (tmp_path / "a.txt").read_bytes() == "Å\n".encode()


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "figures").mkdir()
    kept = [tmp_path / "figures/fig.pdf", tmp_path / "figures/part.pdf", tmp_path / ".hidden"]
    left = [tmp_path / "figures/.fig.abc.part.pdf", tmp_path / ".lock.abc.part"]
    for path in (*kept, *left):
        path.write_text("x")
    remove_halves(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    remove_halves(tmp_path / "not there")


def test_a_cache_without_a_home_is_of_its_user_alone(tmp_path, monkeypatch):
    """Compiled programs are loaded from there; in a folder for all, somebody else may have put one."""
    for name in ("FCL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def no_home():
        raise RuntimeError("no home")

    monkeypatch.setattr("pathlib.Path.home", no_home)
    folder = cache_folder()
    assert folder == tmp_path / f"fcl-{os.getuid()}" == cache_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    other = cache_folder()
    assert other != folder and other == cache_folder() and stat.S_IMODE(other.stat().st_mode) == 0o700
