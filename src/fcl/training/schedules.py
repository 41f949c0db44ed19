"""Learning rates and the end of a training: the paper's two schedules and early stopping."""

from __future__ import annotations

from dataclasses import dataclass

import torch


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
