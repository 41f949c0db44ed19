"""Training state, and its conversion to and from checkpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from fcl.data.batch import Batch
from fcl.training.checkpoints import Checkpoint, CheckpointError
from fcl.training.parallel import ranks
from fcl.training.schedules import EarlyStopping


class TrainingDiverged(FloatingPointError):
    """A loss or a gradient is not finite: in ``step`` (from 0) of an epoch, or in the validation of ``structures``."""

    def __init__(self, message: str, *, step: int | None = None, structures: Sequence[int] = ()):
        super().__init__(message)
        self.step, self.structures = step, structures


@dataclass
class EpochSoFar:
    """A pass over the data up to some step. Sums stay on the device, so that steps do not synchronise with it."""

    device: torch.device
    #: Steps done, and how many of them have been checked to be finite.
    step: int = 0
    checked: int = 0
    #: [2] float64: sums of the batch losses and of the per-atom cutoffs (A).
    sums: torch.Tensor = field(init=False)
    #: Steps before the first with a non-finite loss or gradient; neither that step nor any later one changes weights.
    good: torch.Tensor = field(init=False)

    def __post_init__(self):
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.good = torch.zeros((), dtype=torch.int64, device=self.device)

    def add(self, loss: torch.Tensor, cutoffs: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
        """Add a step with its ``loss`` and gradient ``norm``; returns whether it may change the weights (a bool on the
        device): both are finite, as in all previous steps."""
        usable = torch.isfinite(loss + norm) & (self.good == self.step)
        self.good += usable
        self.sums += torch.where(usable, torch.stack([loss.double(), cutoffs.sum().double()]), 0.0)
        self.step += 1
        return usable

    def check(self) -> None:
        """Raise `TrainingDiverged` if a step was not finite; synchronises with the device."""
        good = int(self.good)
        if good < self.step:
            raise TrainingDiverged(f"the loss or the gradient of step {good + 1} is not finite", step=good)
        self.checked = self.step


class TrainingState:
    """Model, optimiser, schedule, early stopping, random generators, history, best weights, position in the epoch.

    ``generator`` is the random generator of the cutoffs, None if they are not sampled.
    """

    def __init__(
        self, model, optimizer, scheduler, stopping: EarlyStopping, order: torch.Generator,
        generator: torch.Generator | None, device: torch.device,
    ):  # fmt: skip
        self.model, self.optimizer, self.scheduler, self.stopping = model, optimizer, scheduler, stopping
        self.order, self.generator, self.device = order, generator, device
        self.history: list[dict] = []
        self.best = copy.deepcopy(model.state_dict())
        self._began = time.monotonic()
        self.begin_epoch(1)

    def begin_epoch(self, epoch: int) -> None:
        """Move to the first step of ``epoch`` (from 1)."""
        self.epoch, self.so_far = epoch, EpochSoFar(self.device)
        self.epoch_began = self.seconds
        self._order_state = self.order.get_state()  # to draw the same permutation again
        self._before: dict[int, torch.Tensor] = {}

    @property
    def seconds(self) -> float:
        """Training time so far, including that of earlier processes up to their checkpoints."""
        return time.monotonic() - self._began

    def noting(self, draw: Callable[[Batch], torch.Tensor]) -> Callable[[Batch], torch.Tensor]:
        """``draw``, saving the generator's state before each call: batches may be prepared ahead of the steps."""
        if self.generator is None:
            return draw
        upcoming = self.so_far.step

        def noted(batch: Batch) -> torch.Tensor:
            nonlocal upcoming
            for step in [step for step in self._before if step < self.so_far.checked]:
                del self._before[step]
            self._before[upcoming] = self.generator.get_state()
            upcoming += 1
            return draw(batch)

        return noted

    def go_back(self, step: int) -> None:
        """Go back to ``step`` of this epoch, the first that was not finite: no weights have changed since."""
        self.so_far.step = step

    def end_epoch(self, row: dict) -> None:
        """Add ``row`` to the history, keep the weights if they are the best, move to the next epoch."""
        self.history.append(row)
        if row["best"]:
            self.best = copy.deepcopy(self.model.state_dict())
        self.begin_epoch(self.epoch + 1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of a checkpoint by name."""
        tensors = {"sums": self.so_far.sums, "order": self._order_state}
        if self.generator is not None:
            noted = self._before.get(self.so_far.step)
            tensors["cutoffs"] = self.generator.get_state() if noted is None else noted
        for prefix, state in (("model", self.model.state_dict()), ("best", self.best)):
            tensors |= {f"{prefix}.{name}": value for name, value in state.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        return tensors

    def facts(self) -> dict:
        """The rest of a checkpoint as plain JSON."""
        return {
            "epoch": self.epoch,
            "step": self.so_far.step,
            "seconds": self.seconds,
            "epoch_seconds": self.seconds - self.epoch_began,
            "history": self.history,
            "param_groups": self.optimizer.state_dict()["param_groups"],
            "scheduler": {name: value for name, value in self.scheduler.state_dict().items() if _is_plain(value)},
            "early_stopping": {"best": self.stopping.best, "epochs_since_best": self.stopping.epochs_since_best},
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint; `CheckpointError`, with nothing changed, if it is of another model."""
        tensors, facts = checkpoint.tensors, checkpoint.facts
        groups = {prefix: _group(tensors, prefix) for prefix in ("model", "best", "optimizer")}
        self._check(tensors, groups)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in groups["optimizer"].items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        self.model.load_state_dict(groups["model"])
        self.best = {name: value.to(self.device) for name, value in groups["best"].items()}
        self.optimizer.load_state_dict({"state": moments, "param_groups": facts["param_groups"]})
        self.scheduler.load_state_dict({**self.scheduler.state_dict(), **facts["scheduler"]})
        self.stopping.best = facts["early_stopping"]["best"]
        self.stopping.epochs_since_best = facts["early_stopping"]["epochs_since_best"]
        self.order.set_state(tensors["order"])
        if self.generator is not None:
            self.generator.set_state(tensors["cutoffs"])
        self.history = facts["history"]
        self._began = time.monotonic() - facts["seconds"]
        self.begin_epoch(facts["epoch"])
        self.epoch_began = facts["seconds"] - facts["epoch_seconds"]
        self.so_far.step = facts["step"]
        self.so_far.sums.copy_(tensors["sums"])
        self.so_far.good.fill_(facts["step"])

    def restore_from_first(self) -> None:
        """With several processes, take over the state of rank 0, which may come from a checkpoint."""
        group = ranks()
        if group.count == 1:
            return

        def state():
            return {name: value.cpu() for name, value in self.tensors().items()}, self.facts()

        tensors, facts = group.from_first(state)
        if not group.first:
            self.restore(Checkpoint(tensors, facts))

    def _check(self, tensors: dict[str, torch.Tensor], groups: dict[str, dict[str, torch.Tensor]]) -> None:
        """Check names, shapes and dtypes of model, moment and generator tensors; `CheckpointError` on a mismatch."""
        expected = self.model.state_dict()
        parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        for prefix in ("model", "best"):
            if groups[prefix].keys() != expected.keys():
                raise CheckpointError(f"its {prefix} tensors are those of another model")
            for name, value in groups[prefix].items():
                if (value.shape, value.dtype) != (expected[name].shape, expected[name].dtype):
                    raise CheckpointError(
                        f"{prefix}.{name} is {value.dtype} {list(value.shape)}, "
                        f"not {expected[name].dtype} {list(expected[name].shape)}"
                    )
        for name, value in groups["optimizer"].items():
            index, _, key = name.partition(".")
            if int(index) >= len(parameters) or (key != "step" and value.shape != parameters[int(index)].shape):
                raise CheckpointError(f"optimizer.{name} belongs to no parameter")
        generators = {"order": self.order, **({"cutoffs": self.generator} if self.generator is not None else {})}
        for name, generator in generators.items():
            if name not in tensors or tensors[name].shape != generator.get_state().shape:
                raise CheckpointError(f"it has no state for the generator of the {name}")


def _group(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _is_plain(value) -> bool:
    """Whether ``value`` survives a JSON round trip; the rest of a scheduler's state comes from the settings."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
