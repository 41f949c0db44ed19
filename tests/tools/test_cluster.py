"""The cluster of `make test-slurm` without starting it: where it refuses, and how the jobs' requests are read."""

import os
import shutil
import socket
import subprocess

import pytest

import cluster
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


@pytest.fixture
def resumed(tmp_path):
    """A study whose interrupted training of `train_fcl` (seed 1) went on; history and log of the second job."""
    history = tmp_path / "results/smoke/metrics/history/fcl_seed1.csv"
    log = tmp_path / "results/smoke/logs/train_fcl/seed1.log"
    for path in (history, log):
        path.parent.mkdir(parents=True)
    history.write_text("\n".join(["epoch,seconds", *(f"{epoch},1" for epoch in range(1, 13))]))
    log.write_text("train_fcl: goes on after step 3 of epoch 2, 4 s of training, from results/...\n")
    return history, log


def interruptions(tmp_path, jobs, interrupted):
    """Faults of the one training that the toy study has."""
    return [fault for fault in smoke.faults_of_interruptions(jobs, interrupted, tmp_path) if "pretrain" not in fault]


def test_an_interrupted_training_must_come_back_with_more_memory_and_go_on(tmp_path, resumed):
    victim, again = job("train_fcl", id=8, state="CANCELLED"), job("train_fcl", id=9, memory="32000M")
    assert interruptions(tmp_path, [victim, again], {"train_fcl": "8"}) == []
    for rest in ([], [job("train_fcl", id=9)], [job("train_fcl", id=9, state="FAILED", memory="32000M")]):
        assert interruptions(tmp_path, [victim, *rest], {"train_fcl": "8"})
    assert "is TIMEOUT" in interruptions(tmp_path, [{**victim, "JobState": "TIMEOUT"}, again], {"train_fcl": "8"})[0]
    assert "no job of train_fcl was seen running" in interruptions(tmp_path, [victim, again], {})[0]
    assert any("pretrain" in fault for fault in smoke.faults_of_interruptions([victim, again], {}, tmp_path))


def test_a_training_that_began_anew_or_lost_an_epoch_is_a_fault(tmp_path, resumed):
    history, log = resumed
    jobs = [job("train_fcl", id=8, state="CANCELLED"), job("train_fcl", id=9, memory="32000M")]
    history.write_text("epoch\n1\n2\n2\n")
    assert "epochs [1, 2, 2]" in interruptions(tmp_path, jobs, {"train_fcl": "8"})[0]
    log.write_text("train_fcl: epoch 1/12  train 1.0\n")
    assert "began anew" in interruptions(tmp_path, jobs, {"train_fcl": "8"})[1]


def test_a_training_is_interrupted_only_after_an_epoch(tmp_path, resumed):
    running = job("train_fcl", state="RUNNING")
    assert not smoke.has_trained(tmp_path, running)
    resumed[1].write_text("train_fcl: epoch 1/12  train 1.0\n")
    assert smoke.has_trained(tmp_path, running)
    assert not smoke.has_trained(tmp_path, job("train_fcl", state="PENDING"))
    assert not smoke.has_trained(tmp_path, {**running, "Comment": "rule_train_fcl_wildcards_smoke_2"})  # no log yet


def test_a_job_that_can_never_start_ends_the_test():
    waiting = {**job("build_store", state="PENDING"), "Reason": "Resources"}
    assert smoke.faults_of_waiting([waiting, {**job("pretrain"), "Reason": "None"}]) == []
    assert "waits for ever: PartitionConfig" in smoke.faults_of_waiting([{**waiting, "Reason": "PartitionConfig"}])[0]


def test_missing_figures_are_named(tmp_path):
    assert "results/smoke/figures/fig03.png is missing" in smoke.faults_of_results(tmp_path)
