"""Worker processes: values, failures, time limits, crashes, and their end with the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from active_examples import act, alive, refuse
from fcl.active.pool import WorkerError, run_tasks

pytestmark = pytest.mark.heavy


def run(tmp_path, tasks, seconds=30.0, processes=2, **options):
    outcomes = run_tasks(act, tasks, processes=processes, seconds=seconds, folder=tmp_path / "scratch", **options)
    return {outcome.index: outcome for outcome in outcomes}


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_task_that_fails_or_ends_its_process_costs_only_itself(tmp_path):
    done = run(tmp_path, [("a",), ("raise",), ("crash",), ("exit",), ("b",), ("c",)])
    assert [done[n].value for n in range(6)] == ["a done", None, None, None, "b done", "c done"]
    assert done[1].error == "KeyError: 'it is not there'" and "SIGABRT" in done[2].error
    assert done[3].error == "SystemExit: 3" and done[0].error is None
    assert run(tmp_path, []) == {}


def test_a_task_beyond_its_time_ends_with_the_programs_that_it_has_started(tmp_path):
    done = run(tmp_path, [("hang", str(tmp_path / "pids")), ("a",), ("b",)], seconds=1.5)
    assert "time limit" in done[0].error and done[0].seconds >= 1.5
    assert done[1].value == "a done" and done[2].value == "b done"
    for pid in (tmp_path / "pids").read_text().split():
        wait_for(lambda pid=pid: not alive(pid))


def test_a_worker_that_cannot_be_prepared_is_an_error(tmp_path):
    with pytest.raises(WorkerError, match="ImportError: no such module"):
        run(tmp_path, [("a",)], prepare=(refuse, ()))


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "from pathlib import Path; from active_examples import act; from fcl.active.pool import run_tasks\n"
        "list(run_tasks(act, [('hang', 'pids')], processes=1, seconds=None, folder=Path('.')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    pids = tmp_path / "0" / "pids"
    wait_for(lambda: pids.is_file() and len(pids.read_text().split()) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in pids.read_text().split():
        wait_for(lambda pid=pid: not alive(pid))
