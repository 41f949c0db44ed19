"""Training monitor: progress log, periodic checkpoints, clean stop on SIGTERM and SIGINT."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fcl.training.checkpoints import Checkpoints
from fcl.training.state import TrainingDiverged, TrainingState

if TYPE_CHECKING:
    from torch import Tensor

    from fcl.data.batch import GraphData

logger = logging.getLogger(__name__)

#: Time (s) between lines within an epoch; epochs shorter than the second value have no line of their own.
LINE_SECONDS, SHORT_SECONDS = 30.0, 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingInterrupted(SystemExit):
    """A signal stopped the training after its state was saved; the exit status is 128 + signal, a failure."""


class StopRequest:
    """The signal that requested the stop, or None."""

    signal: signal.Signals | None = None


@contextmanager
def stop_requests(wanted: bool = True) -> Iterator[StopRequest]:
    """Catch SIGTERM (time limit, scancel) and SIGINT (Ctrl-C) instead of ending at once.

    Only if ``wanted``, and only in the main thread, the only one in which Python can set signal handlers.
    """
    request = StopRequest()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number, _frame):
        request.signal = signal.Signals(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Supervisor:
    """Training monitor, called after each step and each epoch of a training with ``state``.

    ``epochs`` is the (maximum) number of epochs. Without ``checkpoints`` it only logs progress.
    """

    def __init__(
        self, name: str, state: TrainingState, epochs: int, checkpoints: Checkpoints | None, stop: StopRequest
    ):
        self.name, self.state, self.epochs = name, state, epochs
        self.checkpoints, self.stop = checkpoints, stop
        self._began = self._last_line = self._last_save = self._last_step = time.monotonic()
        self._steps, self._steps_here = 1, 0
        self._pairs, self._training_seconds = 0, 0.0

    def resume(self) -> None:
        """Resume from the last valid checkpoint, if there is one, and log it."""
        path = self.checkpoints.resume(self.state.restore) if self.checkpoints else None
        if path:
            epoch, step = self.state.epoch, self.state.so_far.step
            place = f"after step {step} of epoch {epoch}" if step else f"after epoch {epoch - 1}"
            logger.info(f"{self.name}: goes on {place}, {duration(self.state.seconds)} of training, from {path}")

    def begin_epoch(self, steps: int) -> None:
        """Call at the start of an epoch of ``steps`` steps, or when it is resumed."""
        self._steps, self._last_step = steps, time.monotonic()

    def after_step(self, pairs: int) -> None:
        """Call after a step on ``pairs`` pairs."""
        now = time.monotonic()
        self._steps_here += 1
        self._pairs += pairs
        self._training_seconds += now - self._last_step
        self._last_step = now
        if self.stop.signal is not None:
            self.end()
        if self.checkpoints and now - self._last_save >= self.checkpoints.seconds:
            self.save()
        if now - self._last_line >= LINE_SECONDS:
            so_far = self.state.so_far
            so_far.check()
            mean = float(so_far.sums[0]) / so_far.step
            rate = self.state.optimizer.param_groups[0]["lr"]
            step = f"step {so_far.step}/{self._steps}"
            self._say(f"epoch {self.state.epoch}/{self.epochs}, {step}  train {mean:.4f}  lr {rate:.2g}")

    def after_epoch(self, row: dict) -> None:
        """Call after an epoch, with the state at the next one; ``row`` is the epoch's row of the history."""
        stopping = self.state.stopping
        last = row["epoch"] == self.epochs or stopping.exhausted
        now = time.monotonic()
        if row["epoch"] == 1 or last or now - self._last_line >= SHORT_SECONDS:
            self._say(
                f"epoch {row['epoch']}/{self.epochs}  train {row['train_loss']:.4f}  validation {row['val_loss']:.4f}"
                f" (best {stopping.best:.4f})  forces {row['val_force_mae_ev_per_angstrom'] * 1000:.1f} meV/A"
                f"  lr {row['learning_rate']:.2g}"
            )
        if stopping.exhausted:
            logger.info(f"{self.name}: stopped early, {stopping.patience} epochs without a better validation loss")
        if self.checkpoints and (last or now - self._last_save >= self.checkpoints.seconds):
            self.save()  # the last one too: results can then be rewritten without training
        if not last:
            self.end_if_asked()

    def end_if_asked(self) -> None:
        """Save and end the process if a signal requested it."""
        if self.stop.signal is not None:
            self.end()

    def end(self) -> None:
        """Save and raise `TrainingInterrupted`."""
        self.save()
        place = f"after step {self.state.so_far.step} of epoch {self.state.epoch}"
        logger.info(f"{self.name}: {self.stop.signal.name}: ends {place}; the same job goes on from there")
        raise TrainingInterrupted(128 + self.stop.signal)

    def diverged(self, error: TrainingDiverged, train: GraphData, chunks: Sequence[Tensor], val: GraphData):
        """Save the last finite state; returns the error to raise, which names the structures of the batch."""
        split, data, structures = "val", val, error.structures
        if error.step is not None:
            self.state.go_back(error.step)
            split, data, structures = "train", train, sorted(chunks[error.step].tolist())
        self.save()
        by_subset: dict[str, list[str]] = {}
        for index in structures:
            by_subset.setdefault(data.subset_names[int(data.subset[index])], []).append(str(index))
        named = "; ".join(f"{subset} {', '.join(indices)}" for subset, indices in sorted(by_subset.items()))
        return TrainingDiverged(
            f"{self.name}: epoch {self.state.epoch}: {error}."
            f" Structures (from 0) of the {split} store: {named or 'none'}."
            " To run the same again leads to the same: look at these structures, or lower the learning rate",
            step=error.step,
            structures=structures,
        )

    def save(self) -> None:
        """Write a checkpoint, but never of a state after a non-finite loss."""
        if self.checkpoints is None:
            return
        state = self.state
        state.so_far.check()
        self.checkpoints.save(state.epoch, state.so_far.step, state.tensors(), state.facts())
        self._last_save = time.monotonic()

    def _say(self, text: str) -> None:
        """Log a line ending with the speed since the last line, elapsed time and remaining time."""
        speed = self._pairs / max(self._training_seconds, 1e-9)
        self._last_line, self._pairs, self._training_seconds = time.monotonic(), 0, 0.0
        left = (self.epochs - self.state.epoch + 1) * self._steps - self.state.so_far.step
        remaining = (self._last_line - self._began) / max(self._steps_here, 1) * left
        if self.state.stopping.exhausted or not left:
            rest = "done"
        else:
            at_most = "at most " if self.state.stopping.patience is not None else ""
            rest = f"{at_most}{duration(remaining)} left"
        logger.info(f"{self.name}: {text}  {speed:.3g} pairs/s  {duration(self.state.seconds)}, {rest}")


def duration(seconds: float) -> str:
    """Human-readable time: 42 s, 7 min 05 s, 3 h 20 min, 2 d 04 h."""
    whole = round(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // part:02d} {smaller}"
    return f"{whole} s"
