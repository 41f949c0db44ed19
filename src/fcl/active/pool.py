"""Worker processes with a time limit per task: a task that fails, hangs or crashes its process costs only itself.

Each worker is a fresh Python (not a fork) in a session of its own, so that programs it has started end with it. Its
output goes to a file. A worker ends itself when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

#: Time (s) in which a worker must have imported and prepared what it needs.
START_SECONDS = 300.0
#: Time (s) between checks that the parent is there.
WATCH_SECONDS = 0.5

_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fcl.active.pool import work; work(sys.argv[2:])"


class WorkerError(ValueError):
    """A worker could not be prepared: no task can succeed."""


@dataclass(frozen=True)
class Outcome:
    """The end of a task: its ``value``, or the ``error`` that it failed with; wall time in seconds."""

    index: int
    seconds: float
    value: Any = None
    error: str | None = None


def run_tasks(
    function: Callable[..., Any], tasks: Sequence[tuple], *, processes: int, seconds: float | None, folder: Path,
    prepare: tuple[Callable[..., Any], tuple] | None = None, path: Sequence[str] = (),
) -> Iterator[Outcome]:  # fmt: skip
    """Run ``function`` (of an importable module) with each tuple of arguments; outcomes come as they end.

    Args:
        function, tasks: arguments and values have to be picklable, as they go through a pipe.
        processes: workers at a time.
        seconds: time limit per task; None: none.
        folder: each worker works in ``folder/NUMBER`` and writes its output to ``folder/NUMBER.log``.
        prepare: function and arguments, called in each new worker before its first task, not timed.
        path: folders where modules are looked up last.

    Raises `WorkerError` if a worker does not start or ``prepare`` fails.
    """
    folder = Path(folder).resolve()
    places = [*(str(Path(entry).resolve()) for entry in sys.path), *map(str, path)]
    waiting = deque(enumerate(tasks))
    numbers, workers = iter(range(len(tasks) * 2 + processes)), []
    try:
        while waiting or workers:
            while waiting and len(workers) < min(processes, len(tasks)):
                workers.append(_Worker(folder, next(numbers), places, function, prepare))
            pause = min(worker.deadline(seconds) for worker in workers) - time.monotonic()
            ready = wait([worker.pipe for worker in workers], min(max(pause, 0.0), 3600.0))
            for worker in list(workers):
                if worker.pipe in ready:
                    outcome = worker.received()
                elif time.monotonic() >= worker.deadline(seconds):
                    outcome = worker.expired()
                else:
                    continue
                if outcome is not None:
                    yield outcome
                if not worker.alive or not waiting:
                    worker.kill()
                    workers.remove(worker)
                else:
                    worker.give(*waiting.popleft())
    finally:
        for worker in workers:
            worker.kill()


class _Worker:
    """A process, the pipe to it, and the task it has (None while it starts)."""

    def __init__(self, folder: Path, number: int, places: list[str], function, prepare):
        here = folder / f"{number}"
        here.mkdir(parents=True, exist_ok=True)
        mine, its = socket.socketpair()
        self.log = folder / f"{number}.log"
        command = [sys.executable, "-c", _CODE, json.dumps(places), str(its.fileno()), str(os.getpid())]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with self.log.open("w") as log, its:
            self.process = subprocess.Popen(
                command, cwd=here, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[its.fileno()],
                start_new_session=True, env={**threads, **os.environ},
            )  # fmt: skip
        self.pipe = Connection(mine.detach())
        self.alive, self.task, self.began = True, None, time.monotonic()
        with suppress(OSError):
            self.pipe.send((function, prepare))

    def deadline(self, seconds: float | None) -> float:
        limit = START_SECONDS if self.task is None else seconds
        return self.began + (float("inf") if limit is None else limit)

    def give(self, index: int, arguments: tuple) -> None:
        self.task, self.began = index, time.monotonic()
        with suppress(OSError):  # found out by the next look at the pipe
            self.pipe.send(arguments)

    def received(self) -> Outcome | None:
        """What the worker has sent, or how it ended; None for the message that it is ready."""
        took = time.monotonic() - self.began
        try:
            value, error, took = self.pipe.recv()
        except (EOFError, OSError):  # also in the middle of a message
            self.alive, value = False, None
            error = f"the process ended ({_status(self.process.wait())}); see {self.log}"
        return self._outcome(took, value, error)

    def expired(self) -> Outcome | None:
        """The end of a task that took too long, and of its worker."""
        self.alive, took = False, time.monotonic() - self.began
        return self._outcome(took, None, f"no result within the time limit, {took:.1f} s")

    def _outcome(self, took: float, value: Any, error: str | None) -> Outcome | None:
        if self.task is not None:
            return Outcome(self.task, took, value, error)
        if error is not None:
            raise WorkerError(error)
        return None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pipe.close()


def _status(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def work(arguments: Sequence[str]) -> None:
    """A worker: what it is to do comes through the pipe (descriptor, pid of the parent)."""
    descriptor, parent = map(int, arguments)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    pipe = Connection(descriptor)
    function, prepare = pipe.recv()
    pipe.send(_attempt(*prepare) if prepare else (None, None, 0.0))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(_attempt(function, task))


def _attempt(function: Callable[..., Any], arguments: tuple) -> tuple[Any, str | None, float]:
    """Value, error and seconds of a call. A calculator may raise anything, SystemExit included."""
    began = time.perf_counter()
    try:
        return function(*arguments), None, time.perf_counter() - began
    except BaseException as error:
        import traceback

        traceback.print_exc()
        text = " ".join(str(error).split())[:500]
        return None, f"{type(error).__name__}: {text}" if text else type(error).__name__, time.perf_counter() - began


def _watch(parent: int) -> None:
    """End this process and those it has started once the ``parent`` is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.killpg(os.getpgid(0), signal.SIGKILL)
