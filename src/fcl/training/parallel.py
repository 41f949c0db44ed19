"""One training in several processes of one machine, each with a share of every batch (``compute.processes``).

The process that is asked to train is rank 0. It starts the others, and alone validates, logs, and writes checkpoints
and results. Every rank holds the data and draws the order of the structures and the cutoffs of *whole* batches from
the same random streams as a single process, then evaluates its share (`Ranks.share`): the cutoffs of an atom do not
depend on the number of processes. Losses and gradients are sums over the ranks of shares of the loss of the whole batch
(`fcl.training.loss.batch_loss`), equal to those of a single process but for rounding; a checkpoint may therefore be
resumed with another number of processes.

Gradients are added up by a single ``torch.distributed.all_reduce`` per step (NCCL on GPUs, gloo on CPUs).
``DistributedDataParallel`` is not used: it averages over ranks instead of weighting them by structures and atoms, and
its hooks run once per backward pass, of which ``compute.max_pairs`` makes several per step.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as distributed

from fcl.cutoffs.edges import EdgeSelector
from fcl.data.batch import Batch, GraphData
from fcl.data.loader import divided_batches, parts_of
from fcl.runs.device import torch_device
from fcl.runs.gpu_lock import VARIABLE, visible_devices
from fcl.training.loss import labelled_stresses

logger = logging.getLogger(__name__)

#: Ranks wait for rank 0 as long as it validates.
TIMEOUT = timedelta(hours=6)
#: Time (s) in which a rank that has lost another one may end by itself, with an error of its own.
PATIENCE = 30.0


#: Structures, atoms and structures with a stress of a batch.
Size = tuple[int, int, torch.Tensor | int]


class ProcessLost(RuntimeError):
    """A process of a training ended before the others."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of a training: its ``rank`` (from 0) of ``count``."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process validates, logs and writes."""
        return self.rank == 0

    def share(self, chunk: torch.Tensor, pair_counts: torch.Tensor) -> slice:
        """The structures of the batch ``chunk`` [n] that this rank evaluates: a contiguous run of them, maybe empty.

        A structure belongs to rank floor(count x midpoint / pairs), where its midpoint is the number of stored pairs
        of the structures before it plus half its own; ``pair_counts`` [n_structures in the store].
        """
        pairs = pair_counts.index_select(0, chunk).double() + 1.0  # structures without pairs count, too
        midpoint = pairs.cumsum(0) - 0.5 * pairs
        owner = (midpoint * (self.count / float(pairs.sum()))).floor()
        return slice(int((owner < self.rank).sum()), int((owner <= self.rank).sum()))

    def batches(
        self, data: GraphData, chunks: Sequence[torch.Tensor], rule: Callable[[Batch], torch.Tensor],
        selector: EdgeSelector, max_pairs: int | None,
    ) -> Iterator[tuple[list[tuple[Batch, torch.Tensor]], Size | None, torch.Tensor]]:  # fmt: skip
        """Per batch: the parts that this rank evaluates, the size of the whole, and its cutoffs (A).

        The second is None where a single part is the whole batch. See `fcl.data.loader.divided_batches`.
        """
        if self.count == 1:
            for parts in divided_batches(data, chunks, rule, selector, max_pairs):
                whole = None if len(parts) == 1 else _size([batch for batch, _ in parts])
                yield parts, whole, torch.cat([cutoffs for _, cutoffs in parts])
            return
        for chunk in chunks:
            batch = data.batch(chunk)
            cutoffs, share = rule(batch), self.share(chunk, data.pair_counts)
            atoms = data.atom_counts.index_select(0, chunk).cumsum(0).tolist()
            first, last = (atoms[end - 1] if end else 0 for end in (share.start, share.stop))
            own, parts = chunk[share], []
            if len(own):
                pieces = [own] if max_pairs is None else parts_of(own, data.pair_counts, max_pairs)
                parts = [data.batch(piece) for piece in pieces]
                mine = torch.split(cutoffs[first:last], [part.n_atoms for part in parts])
                parts = [(data.select_pairs(part, a, selector), a) for part, a in zip(parts, mine, strict=True)]
            yield parts, _size([batch]), cutoffs

    def with_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        """Those of ``parameters`` that have a gradient on any rank: the others must not be moved by weight decay."""
        if self.count == 1:
            return list(parameters)
        found = torch.tensor([value.grad is not None for value in parameters], device=parameters[0].device).int()
        self._reduce(found, distributed.ReduceOp.MAX)
        return [value for value, has in zip(parameters, found.tolist(), strict=True) if has]

    def add_up(self, parameters: Sequence[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Replace the gradients of ``parameters`` by their sums over the ranks; returns the sum of ``loss``."""
        if self.count == 1:
            return loss
        values = [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]
        flat = torch.cat([*(value.reshape(-1) for value in values), loss.reshape(1).to(values[0].dtype)])
        self._reduce(flat, distributed.ReduceOp.SUM)
        own = torch.split(flat, [*(value.numel() for value in values), 1])
        for value, gradient in zip(parameters, own, strict=False):
            value.grad = gradient.view_as(value)
        return own[-1][0]

    def from_first(self, make: Callable[[], object]) -> object:
        """What ``make`` returns on rank 0, on every rank; other ranks do not call it. Tensors have to be on the CPU."""
        if self.count == 1:
            return make()
        values = [make() if self.first else None]
        with self._named():
            distributed.broadcast_object_list(values, src=0)
        return values[0]

    def _reduce(self, values: torch.Tensor, operation) -> None:
        with self._named():
            distributed.all_reduce(values, operation)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """An error of the communication as `ProcessLost`, which names the processes that ended."""
        try:
            yield
        except RuntimeError as error:
            raise ProcessLost(_group.fault(error)) from error


def _size(batches: Sequence[Batch]) -> Size:
    """Structures, atoms and structures with a stress of all ``batches``."""
    stresses = sum(labelled_stresses(batch) for batch in batches)
    return sum(batch.n_structures for batch in batches), sum(batch.n_atoms for batch in batches), stresses


class _Group:
    """The processes that rank 0 started; other ranks have started none."""

    def __init__(self, workers: Sequence[subprocess.Popen] = ()):
        self.workers, self.closing = list(workers), threading.Event()

    def watch(self) -> None:
        """End this process, with a message, if a worker ends and the communication does not notice (NCCL)."""
        for rank, worker in enumerate(self.workers, start=1):
            threading.Thread(target=self._await, args=(rank, worker), daemon=True).start()

    def _await(self, rank: int, worker: subprocess.Popen) -> None:
        status = worker.wait()
        if status and not self.closing.wait(PATIENCE):
            logger.error(f"{self._ended(rank, status)}: the training ends; the same job goes on from its checkpoint")
            os._exit(1)

    def fault(self, error: Exception) -> str:
        """Why the communication failed."""
        for worker in self.workers:
            try:
                worker.wait(2.0)
            except subprocess.TimeoutExpired:
                continue
        ended = [
            self._ended(rank, worker.returncode)
            for rank, worker in enumerate(self.workers, start=1)
            if worker.returncode
        ]
        return f"{'; '.join(ended) or 'a process of the training was lost'} ({str(error).splitlines()[0]})"

    def _ended(self, rank: int, status: int) -> str:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"process {rank} of 0 to {len(self.workers)} {how}"

    def close(self) -> None:
        """End the workers: they wait for rank 0 if it ended early."""
        self.closing.set()
        for worker in self.workers:
            worker.kill()
            worker.wait()
            worker.stdin.close()


_ranks, _group = Ranks(), _Group()


def ranks() -> Ranks:
    """This process among those of the running training."""
    return _ranks


def in_processes(training: Callable) -> Callable:
    """A training of `fcl.training.recipe`, ``training(settings, ...)``, in ``settings.compute.processes`` processes."""

    @functools.wraps(training)
    def run(settings, *arguments, **named):
        count = settings.compute.processes
        if count == 1 or _ranks.count > 1:
            return training(settings, *arguments, **named)
        with _started(training.__name__, settings, arguments, named):
            return training(settings, *arguments, **named)

    return run


@contextmanager
def _started(name: str, settings, arguments: tuple, named: dict) -> Iterator[None]:
    """Start the other processes with the same call, and join them as rank 0."""
    global _ranks, _group
    count, device = settings.compute.processes, torch_device(settings.compute.device)
    devices = visible_devices() if device.type == "cuda" else ()
    if device.type == "cuda" and len(devices) < count:
        raise ValueError(f"compute.processes: {count} need as many GPUs, one each; {len(devices)} are visible")
    store = distributed.TCPStore("127.0.0.1", 0, count, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
    backend = "nccl" if device.type == "cuda" else "gloo"
    workers: list[subprocess.Popen] = []
    try:
        for rank in range(1, count):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            if devices:
                environment[VARIABLE] = devices[rank]
            worker = subprocess.Popen(
                [sys.executable, "-m", "fcl.training.parallel"], stdin=subprocess.PIPE, env=environment
            )
            workers.append(worker)
            task = (Ranks(rank, count), store.port, backend, name, settings, arguments, named)
            pickle.dump(task, worker.stdin)  # read by a process of our own; it stays open as long as this one lives
            worker.stdin.flush()
        _ranks, _group = Ranks(0, count), _Group(workers)
        _group.watch()
        distributed.init_process_group(backend, store=store, rank=0, world_size=count, timeout=TIMEOUT)
        logger.info(f"{name}: {count} processes ({backend})")
        yield
    finally:
        group = _group if _group.workers else _Group(workers)
        group.close()
        _ranks, _group = Ranks(), _Group()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _end_with(pipe) -> None:
    """End this process when rank 0 ends, for whatever reason."""
    pipe.read()
    os._exit(1)


def _work() -> None:
    """A rank other than 0: one training, of which it writes nothing."""
    from fcl.training import parallel, recipe

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # rank 0 decides
    logging.getLogger("fcl").setLevel(logging.CRITICAL)
    own, port, backend, name, settings, arguments, named = pickle.load(sys.stdin.buffer)  # noqa: S301, from rank 0
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    store = distributed.TCPStore("127.0.0.1", port, own.count, is_master=False, timeout=TIMEOUT)
    parallel._ranks = own
    distributed.init_process_group(backend, store=store, rank=own.rank, world_size=own.count, timeout=TIMEOUT)
    getattr(recipe, name)(settings, *arguments, **named)


if __name__ == "__main__":
    _work()
