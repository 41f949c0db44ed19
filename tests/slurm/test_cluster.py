"""The cluster of `make test-slurm` without starting it: where it refuses, and how the jobs' requests are read."""

import os
import shutil
import socket
import subprocess

import cluster
import pytest
import smoke


@pytest.fixture
def suitable(monkeypatch):
    """A machine that would do: root, Debian, no Slurm."""
    programs = {"apt-get": "/usr/bin/apt-get", "dpkg": "/usr/bin/dpkg"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", programs.get)
    monkeypatch.setattr(cluster, "PORTS", ())
    return programs


def test_a_suitable_machine_is_accepted(suitable):
    cluster.check_machine()


def test_others_are_refused_with_a_reason(suitable, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(cluster, "PORTS", (server.getsockname()[1],))
        with pytest.raises(cluster.Refused, match=r"port \d+, one of Slurm's"):
            cluster.check_machine()
    suitable["scontrol"] = "/usr/bin/scontrol"
    monkeypatch.setattr(cluster, "_run", lambda *command: subprocess.CompletedProcess(command, 0))
    with pytest.raises(cluster.Refused, match="controller is running"):
        cluster.check_machine()
    del suitable["dpkg"]
    with pytest.raises(cluster.Refused, match="Debian"):
        cluster.check_machine()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(cluster.Refused, match="root is needed"):
        cluster.check_machine()


def test_a_refusal_is_one_sentence_and_code_2(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert smoke.main() == 2
    assert capsys.readouterr().err.startswith("error: root is needed")


LINE = (
    "JobId={id} JobName=run UserId=root(0) JobState={state} Comment={comment} Partition={partition} "
    "MinMemoryNode={memory} TimeLimit=02:00:00 {gres}"
)


def job(rule, id=1, state="COMPLETED", partition=None, memory="16000M", gres=None):
    gpu = rule in smoke.GPU_JOBS
    text = LINE.format(
        id=id,
        state=state,
        comment=f"rule_{rule}_wildcards_smoke_1",
        partition=partition or ("gpu" if gpu else "cpu"),
        memory=memory,
        gres=("TresPerJob=gres:gpu:1" if gpu else "") if gres is None else gres,
    )
    return cluster.parse_jobs(f"{text}\n")[0]


def whole_study():
    counts = {**smoke.GPU_JOBS, **smoke.OTHER_JOBS}
    return [job(rule) for rule, count in counts.items() for _ in range(count)]


def test_the_right_requests_are_accepted_and_wrong_ones_named():
    assert smoke.faults_of_requests(whole_study()) == []
    assert "pretrain: 0 completed jobs" in smoke.faults_of_requests(whole_study()[1:])[0]
    for wrong in (
        job("figures", gres="TresPerJob=gres:gpu:1"),
        job("pretrain", gres=""),
        job("pretrain", partition="cpu"),
    ):
        assert any("asked for" in fault for fault in smoke.faults_of_requests([*whole_study(), wrong]))


def test_a_cancelled_job_must_come_back_with_more_memory():
    victim = job("train_fcl", id=8, state="CANCELLED")
    assert smoke.faults_of_retry([victim, job("train_fcl", id=9, memory="32000M")], "8") == []
    for rest in ([], [job("train_fcl", id=9)], [job("train_fcl", id=9, state="FAILED", memory="32000M")]):
        assert smoke.faults_of_retry([victim, *rest], "8")
    assert smoke.faults_of_retry([], None)


def test_missing_figures_are_named(tmp_path):
    assert "results/smoke/figures/fig03.png is missing" in smoke.faults_of_results(tmp_path)
