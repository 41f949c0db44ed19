"""Slow servers, wrong lengths, full disks, two processes at once, proxies."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest

from archive import CONTENT, FILE_PATH, SHA256, fetch, files_of, manifest
from fcl.data.download import DownloadError

WHOLE = {"size": len(CONTENT), "checksum": SHA256}


@pytest.mark.parametrize("fault", ["stall", "mute"])
def test_a_server_that_stalls_is_left_and_asked_again(tmp_path, archive, fault):
    archive.faults = [fault]
    fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "train.xyz", timeout=0.3)
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert len(archive.requests) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [("stall", r"transfer was interrupted .*[Tt]imed out"), ("mute", r"no response: .*[Tt]imed out")],
)
def test_a_server_that_always_stalls_ends_in_an_error(tmp_path, archive, fault, message):
    archive.faults = [fault] * 9
    archive.ranges = False
    with pytest.raises(DownloadError, match=message):
        fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "out/train.xyz", timeout=0.2, retries=1)
    assert not (tmp_path / "out/train.xyz").exists()


@pytest.mark.parametrize("fault", ["less", "break", "endless"])
def test_a_wrong_content_length_is_found_out(tmp_path, archive, fault):
    archive.faults = [fault]
    fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    archive.faults, archive.ranges = [fault] * 9, False
    if fault != "endless":
        with pytest.raises(DownloadError, match=r"short: \d+ of 512000 bytes|the transfer was interrupted"):
            fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "out/train.xyz", retries=1)
        assert not (tmp_path / "out/train.xyz").exists()


def test_the_wrong_part_of_the_file_is_found_out(tmp_path, archive):
    archive.faults = ["break", "range"]
    fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert [asked is not None for _, asked in archive.requests] == [False, True, False]


def test_a_disk_that_is_too_small_is_told_before_the_transfer(tmp_path, archive, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(DownloadError, match=r"out/train\.xyz: 1 MB to download, but 0 MB free on this disk"):
        fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "out/train.xyz")
    assert archive.requests == [] and files_of(tmp_path / "out") == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is needed")
def test_a_disk_that_fills_up_is_told_and_not_tried_again(tmp_path, archive):
    (tmp_path / ".train.xyz.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"\.train\.xyz\.part: no space left .*make room"):
        fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "train.xyz")
    assert len(archive.requests) == 1 and not (tmp_path / "train.xyz").exists()


def test_two_processes_at_once_fetch_a_file_once(tmp_path, archive):
    archive.delay = 1.0
    path = manifest(tmp_path, url=archive.url, **WHOLE)
    code = "import sys; from fcl.data.download import fetch_split; fetch_split(sys.argv[1], 'train', sys.argv[2])"
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "out/train.xyz")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert [asked for asked, _ in archive.requests] == [FILE_PATH]
    assert (tmp_path / "out/train.xyz").read_bytes() == CONTENT
    assert files_of(tmp_path / "out") == ["train.xyz", "train.xyz.verified.json"]


def test_a_proxy_is_honoured(tmp_path, archive, monkeypatch):
    """The archive does not exist: the server on the loopback address answers as its proxy."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{archive.server_port}")
    url = f"http://archive.invalid{FILE_PATH}?download=1"
    fetch(manifest(tmp_path, url=url), tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert len(archive.requests) == 2  # the listing and the file


def test_progress_tells_rate_and_remaining_time(tmp_path, archive, capsys, monkeypatch):
    monkeypatch.setattr("fcl.data.download.PROGRESS_SECONDS", 0.0)
    fetch(manifest(tmp_path, url=archive.url, **WHOLE), tmp_path / "train.xyz")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert all(line.startswith("train.xyz: 0.") and "MB/s" in line and line.endswith("s left") for line in lines)
