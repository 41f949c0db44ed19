"""One GPU for each job: which devices there are, and that no two processes ever hold the same one."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest

from fcl.runs import gpu_lock as devices
from fcl.study.adapter import library_function
from project import ROOT

NVIDIA_SMI = """\
GPU 0: NVIDIA A100 (UUID: GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f)
GPU 1: NVIDIA A100 (UUID: GPU-0f3b1e55-0000-0000-0000-000000000001)
  MIG 1g.5gb      Device  0: (UUID: MIG-aaaa)
  MIG 1g.5gb      Device  1: (UUID: MIG-bbbb)
"""
CLAIM = """
from fcl.runs.log import log_to_standard_error
log_to_standard_error()
import os, sys, time
from pathlib import Path
from fcl.runs import gpu_lock as devices
devices.POLL_SECONDS = 0.05
device = devices.claim_device(folder=Path(sys.argv[1]))
began = time.monotonic()
print(device, os.environ["CUDA_VISIBLE_DEVICES"], "torch" in sys.modules, flush=True)
time.sleep(float(sys.argv[2]))
print(began, time.monotonic(), flush=True)
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("-1", ()),
        ("3", ("3",)),
        ("0, 2", ("0", "2")),
        ("0,-1,1", ("0",)),
        ("NoDevFiles", ()),
        ("GPU-5c,MIG-aa", ("GPU-5c", "MIG-aa")),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.visible_devices() == expected


def put_nvidia_smi(folder, text, code=0):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
    program.chmod(0o755)


def test_without_the_variable_the_driver_is_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    put_nvidia_smi(tmp_path, NVIDIA_SMI)
    assert devices.visible_devices() == ("GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f", "MIG-aaaa", "MIG-bbbb")
    put_nvidia_smi(tmp_path, "NVIDIA-SMI has failed\n", code=9)
    assert devices.visible_devices() == ()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert devices.visible_devices() == ()


@pytest.mark.parametrize("value", ["", "0", "GPU-5c"])
def test_nothing_is_done_where_there_is_no_choice(monkeypatch, tmp_path, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.claim_device(folder=tmp_path / "locks") is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == value
    assert not (tmp_path / "locks").exists()


def claim(folder, seconds, visible="0,1"):
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder), str(seconds)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": visible},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_at_the_same_time_never_share_a_device(tmp_path):
    jobs = [claim(tmp_path, 0.4) for _ in range(5)]
    spans, waited = {}, 0
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        device, variable, torch_is_loaded, begin, end = out.split()
        assert device == variable
        assert torch_is_loaded == "False"
        spans.setdefault(device, []).append((float(begin), float(end)))
        waited += "all 2 GPUs are taken" in err
    assert set(spans) == {"0", "1"}
    for device in spans:
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(spans[device])))
    assert waited >= 1


def test_a_killed_process_frees_its_device(tmp_path):
    first = claim(tmp_path, 60)
    assert first.stdout.readline().split()[0] == "0"
    second = claim(tmp_path, 60)
    assert second.stdout.readline().split()[0] == "1"
    first.send_signal(signal.SIGKILL)
    first.wait()
    third = claim(tmp_path, 0)
    assert third.communicate(timeout=30)[0].split()[0] == "0"
    second.kill()
    second.wait()
    for job in (first, second):
        job.stdout.close()
        job.stderr.close()


@pytest.mark.parametrize(
    ("resources", "device", "expected"),
    [({"gpu": 1}, "auto", "0"), ({"gpu": 1}, "cpu", "0,1"), ({"gpu": 1}, "cuda:1", "0,1"), ({}, "auto", "0,1")],
)
def test_jobs_with_the_tag_take_a_device(monkeypatch, tmp_path, resources, device, expected):
    import yaml

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["protocol"]["compute"]["device"] = device
    job = SimpleNamespace(
        log=[str(tmp_path / "log")], resources=resources, config=config, wildcards=SimpleNamespace(study="smoke")
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(devices, "lock_folder", lambda: tmp_path / "locks")
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # redirected by the call; put back afterwards
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert library_function(job, "time:sleep") is time.sleep
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
    assert ("GPU 0, one of 2" in (tmp_path / "log").read_text()) == (expected == "0")
