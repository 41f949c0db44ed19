"""The two learning rate schedules of the paper, and early stopping."""

from __future__ import annotations

from dataclasses import dataclass

import torch


def multi_step_scheduler(optimizer: torch.optim.Optimizer, settings):
    """Pre-training and static baselines: multiplies the rate by ``gamma`` at each of ``milestones`` (epochs)."""
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, list(settings.milestones), settings.gamma)


def plateau_scheduler(optimizer: torch.optim.Optimizer, settings):
    """FCL: multiplies the rate by ``plateau_factor`` after more than ``plateau_patience`` epochs without a better loss.

    Better means by a relative 1e-4, the PyTorch default; for early stopping and best weights, any improvement counts.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=settings.plateau_factor,
        patience=settings.plateau_patience,
        min_lr=settings.min_learning_rate,
    )


@dataclass
class EarlyStopping:
    """Early stopping after ``patience`` epochs without a better validation loss (None: never)."""

    patience: int | None
    best: float = float("inf")
    epochs_since_best: int = 0

    def update(self, value: float) -> bool:
        """Update with the loss of an epoch; True if it is the best so far."""
        better = value < self.best
        self.best = value if better else self.best
        self.epochs_since_best = 0 if better else self.epochs_since_best + 1
        return better

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.epochs_since_best >= self.patience
