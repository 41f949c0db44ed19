"""Training: L1 losses, AdamW, the paper's two schedules, best-by-validation weights (Section 3, "Training details")."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fcl.cutoffs import cutoff_sampler
from fcl.data.batch import Batch, GraphData
from fcl.data.loader import selected_batches, split_order
from fcl.evaluation import EVALUATION_BATCH_SIZE, CutoffRule, Errors, evaluate, uniform_rule
from fcl.progress import say

HISTORY_COLUMNS = (
    "epoch", "learning_rate", "train_loss", "mean_cutoff_angstrom", "val_loss", "val_energy_mae_ev_per_atom",
    "val_force_mae_ev_per_angstrom", "seconds", "best",
)  # fmt: skip

#: What is alike in the batches of an epoch: the number of structures (the paper), or about the number of pairs.
BATCH_BY = ("structures", "pairs")


class TrainingDiverged(FloatingPointError):
    """The loss is not finite."""


def seed_streams(seed: int, count: int) -> list[int]:
    """Independent 63-bit seeds for the parts of a run (weights, order of structures, cutoffs) from one seed."""
    return [int(value) >> 1 for value in np.random.SeedSequence(seed).generate_state(count, dtype=np.uint64)]


def batch_loss(output: dict[str, torch.Tensor], batch: Batch, loss) -> torch.Tensor:
    """energy_weight mean_s |dE_s| / n_s + force_weight mean_{i, xyz} |dF| (eV and eV/A; L1, Section 3)."""
    energy = ((output["energy"] - batch.energy).abs() / batch.atoms_per_structure).mean()
    forces = (output["forces"] - batch.forces).abs().mean()
    return loss.energy_weight * energy + loss.force_weight * forces


def validation_loss(errors: list[Errors], loss) -> dict[str, float]:
    """The same loss over a whole split, averaged over the cutoffs at which it was evaluated."""
    metrics = [error.metrics() for error in errors]
    energy = float(np.mean([m["energy_mae_ev_per_atom"] for m in metrics]))
    forces = float(np.mean([m["force_mae_ev_per_angstrom"] for m in metrics]))
    return {
        "val_loss": loss.energy_weight * energy + loss.force_weight * forces,
        "val_energy_mae_ev_per_atom": energy,
        "val_force_mae_ev_per_angstrom": forces,
    }


def multi_step_scheduler(optimizer: torch.optim.Optimizer, settings):
    """Pre-training and static baselines: the rate times ``gamma`` at each of ``milestones`` (epochs)."""
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, list(settings.milestones), settings.gamma)


def plateau_scheduler(optimizer: torch.optim.Optimizer, settings):
    """FCL: the rate times ``plateau_factor`` after more than ``plateau_patience`` epochs without a better loss.

    Better means by 1e-4 relative, PyTorch's default; early stopping and the best weights count every improvement.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=settings.plateau_factor,
        patience=settings.plateau_patience,
        min_lr=settings.min_learning_rate,
    )


@dataclass
class EarlyStopping:
    """Remembers the best validation loss; ``patience`` epochs without a better one end the training (None: never)."""

    patience: int | None
    best: float = float("inf")
    epochs_since_best: int = 0

    def update(self, value: float) -> bool:
        """Take the loss of an epoch; True when it is the best so far."""
        better = value < self.best
        self.best = value if better else self.best
        self.epochs_since_best = 0 if better else self.epochs_since_best + 1
        return better

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.epochs_since_best >= self.patience


@dataclass(frozen=True)
class Plan:
    """What distinguishes a stage: how cutoffs are drawn, at which cutoffs (A) it validates, and its schedule."""

    name: str
    draw_cutoffs: CutoffRule
    validation_cutoffs: tuple[float, ...]
    make_scheduler: Callable
    early_stopping_patience: int | None = None


def static_plan(name: str, cutoff: float, dtype: torch.dtype) -> Plan:
    """A fixed cutoff (A) in training and validation with milestones."""
    return Plan(name, uniform_rule(cutoff, dtype), (cutoff,), multi_step_scheduler)


def fcl_plan(name: str, settings, cutoffs, generator: torch.Generator, dtype: torch.dtype) -> Plan:
    """Algorithm 1: cutoffs of all atoms anew at each step from U(r_min, r_max); plateau schedule, early stopping."""
    return Plan(
        name,
        cutoff_sampler(cutoffs, generator, dtype),
        tuple(settings.validation_cutoffs),
        plateau_scheduler,
        settings.early_stopping_patience,
    )


def fit(
    model,
    train: GraphData,
    val: GraphData,
    settings,
    loss,
    plan: Plan,
    *,
    order_seed: int,
    batch_by: str = "structures",
) -> list[dict]:
    """Train ``model`` in place; at the end it holds the weights of the epoch with the lowest validation loss.

    ``settings`` is the stage's section of the config (epochs, batch_size, learning_rate, weight_decay,
    gradient_clip_norm and the schedule's values); ``loss`` is `LossSettings`. ``batch_by`` "pairs" fills batches evenly
    (`fcl.data.loader.split_order`). Returns one row an epoch with `HISTORY_COLUMNS`; ``mean_cutoff_angstrom`` is the
    mean of the cutoffs that the atoms had in that epoch. Raises `TrainingDiverged` when a loss is not finite.
    """
    if batch_by not in BATCH_BY:
        raise ValueError(f"batch_by {batch_by!r} is unknown; known are {', '.join(BATCH_BY)}")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    scheduler = plan.make_scheduler(optimizer, settings)
    stopping = EarlyStopping(plan.early_stopping_patience)
    order = torch.Generator().manual_seed(order_seed)
    history: list[dict] = []
    best_state = copy.deepcopy(model.state_dict())
    started = last_said = time.monotonic()
    for epoch in range(1, settings.epochs + 1):
        epoch_started = time.monotonic()
        learning_rate = optimizer.param_groups[0]["lr"]
        permutation = torch.randperm(len(train), generator=order)
        chunks = split_order(permutation, settings.batch_size, train.pair_counts if batch_by == "pairs" else None)
        train_loss, mean_cutoff = train_epoch(model, train, chunks, optimizer, settings, loss, plan, epoch)
        errors = [
            evaluate(model.eval(), val, uniform_rule(cutoff, val.dtype), EVALUATION_BATCH_SIZE)
            for cutoff in plan.validation_cutoffs
        ]
        row = {
            "epoch": epoch,
            "learning_rate": learning_rate,
            "train_loss": train_loss,
            "mean_cutoff_angstrom": mean_cutoff,
            **validation_loss(errors, loss),
        }
        if not np.isfinite(row["val_loss"]):
            raise TrainingDiverged(f"{plan.name}: the validation loss of epoch {epoch} is not finite")
        row["best"] = stopping.update(row["val_loss"])
        if row["best"]:
            best_state = copy.deepcopy(model.state_dict())
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(row["val_loss"])
        else:
            scheduler.step()
        row["seconds"] = round(time.monotonic() - epoch_started, 3)
        history.append({name: row[name] for name in HISTORY_COLUMNS})
        if epoch in (1, settings.epochs) or time.monotonic() - last_said > 20 or stopping.exhausted:
            last_said = time.monotonic()
            say(
                f"{plan.name}: epoch {epoch}/{settings.epochs}  train {train_loss:.4f}"
                f"  validation {row['val_loss']:.4f}"
                f" (best {stopping.best:.4f})  forces {row['val_force_mae_ev_per_angstrom'] * 1000:.1f} meV/A"
                f"  lr {learning_rate:.2g}  {last_said - started:.0f} s"
            )
        if stopping.exhausted:
            say(f"{plan.name}: stopped early, {stopping.patience} epochs without a better validation loss")
            break
    model.load_state_dict(best_state)
    model.eval()
    return history


def train_epoch(model, train, chunks, optimizer, settings, loss, plan, epoch) -> tuple[float, float]:
    """One pass over the data; the mean of the batch losses and the mean cutoff of the atoms (A).

    Sums stay on the device and are read once at the end: a step waits for nothing that a GPU computes.
    """
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total_loss = torch.zeros((), dtype=torch.float64, device=train.device)
    total_cutoff, atoms = torch.zeros_like(total_loss), 0
    for batch, cutoffs in selected_batches(train, chunks, plan.draw_cutoffs, model.mixing):
        value = batch_loss(model(batch, cutoffs, training=True), batch, loss)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if settings.gradient_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip_norm)
        optimizer.step()
        total_loss += value.detach()
        total_cutoff += cutoffs.sum()
        atoms += batch.n_atoms
    mean, mean_cutoff = (torch.stack([total_loss / len(chunks), total_cutoff / atoms])).tolist()
    if not np.isfinite(mean):
        raise TrainingDiverged(f"{plan.name}: the training loss of epoch {epoch} is not finite ({mean})")
    return mean, mean_cutoff
