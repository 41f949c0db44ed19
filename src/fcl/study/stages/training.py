"""Stages: pre-training, static models and Flexible Cutoff Learning, which are those of `fcl.training.recipe`.

``study`` is always a `fcl.config.study.Study`; ``checkpoints`` is a folder for checkpoints from which a killed training
resumes, None: no checkpoints.
"""

from __future__ import annotations

from pathlib import Path

from fcl.training import recipe
from fcl.training.recipe import Outputs


def pretrain(
    study, train: Path, val: Path, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """Stage 1: the unmodified MACE at 6 A."""
    recipe.pretrain(study, train, val, seed, Outputs(model, history, manifest), checkpoints)


def train_static(
    study, train: Path, val: Path, cutoff: float, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """A baseline: the unmodified MACE at ``cutoff`` (A)."""
    recipe.train_static(study, train, val, cutoff, seed, Outputs(model, history, manifest), checkpoints)


def train_fcl(
    study, train: Path, val: Path, pretrained: Path, seed: int, model: Path, history: Path, manifest: Path,
    checkpoints: Path | None = None,
) -> None:  # fmt: skip
    """Stage 2: Flexible Cutoff Learning from the pre-trained weights (Algorithm 1)."""
    recipe.train_fcl(study, train, val, pretrained, seed, Outputs(model, history, manifest), checkpoints)
