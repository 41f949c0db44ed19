"""What a run manifest says of the machine: the device, its memory, and the commit, with and without a GPU."""

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcl.runs import manifest


def torch_with(available):
    """A stand-in for torch on a machine with or without a GPU."""
    cuda = SimpleNamespace(
        is_available=lambda: available, get_device_name=lambda: "GPU model", max_memory_allocated=lambda: 12345
    )
    return SimpleNamespace(cuda=cuda, get_num_threads=lambda: 3)


@pytest.mark.parametrize(("torch", "expected"), [(torch_with(True), 12345), (torch_with(False), None), (None, None)])
def test_device_and_its_memory(monkeypatch, torch, expected):
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert manifest.peak_gpu_memory_bytes() == expected
    assert (manifest.device_name() == "GPU model") is (expected is not None)


@pytest.mark.parametrize(("torch", "expected"), [(torch_with(False), 3), (None, None)])
def test_threads_of_torch_where_it_is_loaded(monkeypatch, tmp_path, torch, expected):
    monkeypatch.setitem(sys.modules, "torch", torch)
    facts = {"stage": "s", "study": "mini", "digest": "0", "inputs": {}, "settings": {}, "started": 0.0}
    assert manifest.write_manifest(tmp_path / "a.json", **facts)["threads"] == expected


def test_a_processor_of_which_the_system_says_nothing(monkeypatch):
    def unreadable(*_, **__):
        raise OSError

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(Path, "read_text", unreadable)
    assert manifest.device_name() == (platform.processor() or platform.machine())


def test_a_package_that_is_absent(monkeypatch):
    monkeypatch.setattr(manifest, "PACKAGES", ("numpy", "no-such-package"))
    found = manifest.versions()
    assert found["numpy"] and found["no-such-package"] is None


@pytest.mark.parametrize("fault", [OSError, subprocess.TimeoutExpired("git", 20)])
def test_no_commit_without_git(monkeypatch, fault):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(manifest.subprocess, "run", fail)
    assert manifest.git_commit() is None


def test_no_commit_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "src/fcl/runs/manifest.py"))
    assert manifest.git_commit() is None
