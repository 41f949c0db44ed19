"""Training: AdamW, the two schedules of the paper, best weights by validation (Section 3, "Training details")."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from fcl.cutoffs.rules import CutoffRule, cutoff_rule, element_rule, uniform_rule
from fcl.cutoffs.sampling import cutoff_sampler
from fcl.data.batch import Batch, GraphData
from fcl.data.loader import split_order
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate
from fcl.training.checkpoints import Checkpoints
from fcl.training.loss import SplitLoss, asked, batch_loss, mean_loss, stress_weight
from fcl.training.monitor import Supervisor, stop_requests
from fcl.training.parallel import ranks
from fcl.training.parameters import adamw
from fcl.training.schedules import EarlyStopping, multi_step_scheduler, plateau_scheduler
from fcl.training.state import EpochSoFar, TrainingDiverged, TrainingState

logger = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch", "learning_rate", "train_loss", "mean_cutoff_angstrom", "val_loss", "val_energy_mae_ev_per_atom",
    "val_force_mae_ev_per_angstrom", "seconds", "best",
)  # fmt: skip

#: A uniform cutoff, or cutoffs by chemical symbol (A).
Fixed = float | Mapping[str, float]
#: The column that a loss with stress adds.
STRESS_COLUMN = "val_stress_mae_ev_per_cubic_angstrom"


def history_columns(loss) -> tuple[str, ...]:
    """Columns of the history of a training with ``loss``."""
    return (*HISTORY_COLUMNS, STRESS_COLUMN) if stress_weight(loss) else HISTORY_COLUMNS


#: Batch size by number of structures (the paper), or by (approximate) number of pairs.
BATCH_BY = ("structures", "pairs")


#: On a GPU, steps between checks for non-finite values, each of which synchronises with the device.
STEPS_BETWEEN_CHECKS = 50


def seed_streams(seed: int, count: int) -> list[int]:
    """Independent 63-bit seeds for the parts of a run (weights, order of structures, cutoffs) from a single seed."""
    return [int(value) >> 1 for value in np.random.SeedSequence(seed).generate_state(count, dtype=np.uint64)]


def validate(
    model, data: GraphData, cutoffs: Sequence[Fixed], loss, before_batch: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Loss and mean absolute errors over a whole split, averaged over the ``cutoffs``.

    ``before_batch`` is called before each batch. Raises `TrainingDiverged`, with the structures, if the loss is not
    finite.
    """

    def watched(rule: CutoffRule) -> CutoffRule:
        def cutoffs_of(batch: Batch) -> torch.Tensor:
            before_batch()
            return rule(batch)

        return cutoffs_of

    splits = [SplitLoss() for _ in cutoffs]
    errors = [
        evaluate(model.eval(), data, watched(rule), EVALUATION_BATCH_SIZE, None, split.add, **asked(loss))
        for rule, split in zip((cutoff_rule(one, data.dtype, data.device) for one in cutoffs), splits, strict=True)
    ]
    value = mean_loss(splits, loss)
    if not np.isfinite(value):
        bad = [error.indices[~np.isfinite(error.energy + error.force_absolute)] for error in errors]
        raise TrainingDiverged("the validation loss is not finite", structures=np.unique(np.concatenate(bad)).tolist())
    metrics = [error.metrics() for error in errors]
    stress = {STRESS_COLUMN: float(np.mean([split.stress_mean() for split in splits]))} if stress_weight(loss) else {}
    return {
        "val_loss": value,
        "val_energy_mae_ev_per_atom": float(np.mean([m["energy_mae_ev_per_atom"] for m in metrics])),
        "val_force_mae_ev_per_angstrom": float(np.mean([m["force_mae_ev_per_angstrom"] for m in metrics])),
        **stress,
    }


@dataclass(frozen=True)
class Recipe:
    """Training recipe of a stage: sampling of cutoffs, validation cutoffs and learning rate schedule.

    ``generator`` is the random generator of the cutoffs, None if they are not sampled; its state is restored when a
    killed training resumes.
    """

    name: str
    draw_cutoffs: CutoffRule
    validation_cutoffs: tuple[Fixed, ...]
    make_scheduler: Callable
    early_stopping_patience: int | None = None
    generator: torch.Generator | None = None


def static_recipe(name: str, cutoff: float, dtype: torch.dtype) -> Recipe:
    """A fixed cutoff (A) in training and validation, with milestones."""
    return Recipe(name, uniform_rule(cutoff, dtype), (cutoff,), multi_step_scheduler)


def special_recipe(name: str, settings, cutoffs: Mapping[str, float], dtype: torch.dtype, device) -> Recipe:
    """Fixed ``cutoffs`` (A) by chemical symbol in training and validation; plateau schedule, early stopping."""
    rule = element_rule(cutoffs, dtype, device)
    return Recipe(name, rule, (cutoffs,), plateau_scheduler, settings.early_stopping_patience)


def fcl_recipe(name: str, settings, cutoffs, generator: torch.Generator, dtype: torch.dtype) -> Recipe:
    """Algorithm 1: cutoffs resampled at each step from U(r_min, r_max); plateau schedule, early stopping."""
    return Recipe(
        name,
        cutoff_sampler(cutoffs, generator, dtype),
        tuple(settings.validation_cutoffs),
        plateau_scheduler,
        settings.early_stopping_patience,
        generator,
    )


def fit(
    model,
    train: GraphData,
    val: GraphData,
    settings,
    loss,
    recipe: Recipe,
    *,
    order_seed: int,
    batch_by: str = "structures",
    checkpoints: Checkpoints | None = None,
    max_pairs: int | None = None,
) -> list[dict]:
    """Train ``model`` in place; it ends with the weights of the epoch with the lowest validation loss.

    ``settings`` is the stage's section of the config (epochs, batch_size, learning_rate, weight_decay,
    gradient_clip_norm and those of the schedule); ``loss`` is `LossSettings`. ``batch_by`` "pairs" balances batches by
    pairs (`fcl.data.loader.split_order`); ``max_pairs`` evaluates large ones in parts (`divided_batches`), with the
    same result but for rounding. Returns one row per epoch with `history_columns`; ``mean_cutoff_angstrom`` is
    the mean cutoff over all atoms of the epoch.

    With ``checkpoints`` (entered), a killed training resumes, and gives the same weights and history as an
    uninterrupted run, bit for bit on the CPU; SIGTERM and SIGINT then save the state and end the process. Raises
    `TrainingDiverged` if a loss or a gradient is not finite; the weights are then unaffected by it. Raises `ValueError`
    if a structure has no energy, or none has the stress that the loss needs.
    """
    if batch_by not in BATCH_BY:
        raise ValueError(f"batch_by {batch_by!r} is unknown; known are {', '.join(BATCH_BY)}")
    for name, data in (("training", train), ("validation", val)):
        data.require_energies(f"{recipe.name}: {name} data")
        data.require_forces(f"{recipe.name}: {name} data")
    if stress_weight(loss):
        say_stresses(recipe.name, train, val)
    optimizer = adamw(model, settings)
    order = torch.Generator().manual_seed(order_seed)
    stopping = EarlyStopping(recipe.early_stopping_patience)
    scheduler = recipe.make_scheduler(optimizer, settings)
    state = TrainingState(model, optimizer, scheduler, stopping, order, recipe.generator, train.device)
    with stop_requests(checkpoints is not None) as stop:
        supervisor = Supervisor(recipe.name, state, settings.epochs, checkpoints, stop)
        supervisor.resume()
        state.restore_from_first()
        while state.epoch <= settings.epochs and not stopping.exhausted:
            learning_rate = optimizer.param_groups[0]["lr"]
            permutation = torch.randperm(len(train), generator=order)
            chunks = split_order(permutation, settings.batch_size, train.pair_counts if batch_by == "pairs" else None)
            supervisor.begin_epoch(len(chunks))
            noted = replace(recipe, draw_cutoffs=state.noting(recipe.draw_cutoffs))
            try:
                train_loss, mean_cutoff = train_epoch(
                    model,
                    train,
                    chunks,
                    optimizer,
                    settings,
                    loss,
                    noted,
                    state.so_far,
                    supervisor.after_step,
                    max_pairs,
                )
                # Validation changes no weights: a training stopped during validation resumes before it.
                validation = ranks().from_first(
                    lambda: validate(model, val, recipe.validation_cutoffs, loss, supervisor.end_if_asked)
                )
            except TrainingDiverged as error:
                raise supervisor.diverged(error, train, chunks, val) from None
            row = {
                "epoch": state.epoch,
                "learning_rate": learning_rate,
                "train_loss": train_loss,
                "mean_cutoff_angstrom": mean_cutoff,
                **validation,
            }
            row["best"] = stopping.update(row["val_loss"])
            if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                scheduler.step(row["val_loss"])
            else:
                scheduler.step()
            row["seconds"] = round(state.seconds - state.epoch_began, 3)
            state.end_epoch({name: row[name] for name in history_columns(loss)})
            supervisor.after_epoch(row)
    model.load_state_dict(state.best)
    model.eval()
    return state.history


def train_epoch(
    model,
    train: GraphData,
    chunks: Sequence[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    settings,
    loss,
    recipe: Recipe,
    so_far: EpochSoFar | None = None,
    after_step: Callable[[int], None] = lambda pairs: None,
    max_pairs: int | None = None,
) -> tuple[float, float]:
    """One pass over the data; returns the mean of the batch losses and the mean cutoff per atom (A).

    ``so_far`` is the part of the epoch that is already done, ``after_step`` is called with the number of pairs of each
    batch. With ``max_pairs`` batches are evaluated in parts (`divided_batches`), whose gradients are added up. Sums
    stay on the device until the end, so that steps do not synchronise with a GPU. Raises `TrainingDiverged` if a loss
    or a gradient is not finite; on a GPU some steps later, but no step from that one on is applied.
    """
    model.train()
    so_far = so_far or EpochSoFar(train.device)
    between_checks = 1 if train.device.type == "cpu" else STEPS_BETWEEN_CHECKS
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    limit = float("inf") if settings.gradient_clip_norm is None else settings.gradient_clip_norm
    group, moved = ranks(), None
    batches = group.batches(train, chunks[so_far.step :], recipe.draw_cutoffs, model.selector, max_pairs)
    for parts, whole, drawn in batches:
        optimizer.zero_grad(set_to_none=True)
        value = torch.zeros((), dtype=train.dtype, device=train.device)
        for batch, cutoffs in parts:
            share = batch_loss(model(batch, cutoffs, training=True, **asked(loss)), batch, loss, whole)
            share.backward()
            value = value + share.detach()
        moved = group.with_gradients(parameters) if moved is None else moved
        value = group.add_up(moved, value)
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        # As used by gradient scalers: where this is 1, the fused kernel skips the update, without synchronisation.
        optimizer.found_inf = 1.0 - so_far.add(value, drawn, norm).float()
        optimizer.step()
        if so_far.step % between_checks == 0:
            so_far.check()
        after_step(sum(batch.pair_index.shape[1] for batch, _ in parts))
    so_far.check()
    atoms = int(train.atom_counts.index_select(0, torch.cat(tuple(chunks))).sum())
    return tuple((so_far.sums / torch.tensor([len(chunks), atoms], dtype=torch.float64, device=train.device)).tolist())


def say_stresses(name: str, train: GraphData, val: GraphData) -> None:
    """Log how many structures have a stress; `ValueError` if none of ``train`` has."""
    counts = {"training": train, "validation": val}
    found = ", ".join(f"{data.with_stress} of {len(data)} {part} structures" for part, data in counts.items())
    if not train.with_stress:
        raise ValueError(f"{name}: loss.stress_weight is not zero, but none of {len(train)} structures has a stress")
    logger.info(f"{name}: {found} have a stress; the others have no part in that term of the loss")
    if not val.with_stress:
        logger.warning(f"{name}: no validation structure has a stress: the best epoch is chosen without it")
