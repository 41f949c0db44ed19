"""Memory of a training step, estimated before the training from what one structure takes."""

from __future__ import annotations

import logging
import os

import torch

from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData
from fcl.data.loader import selected_batches
from fcl.training.loss import asked, batch_loss

logger = logging.getLogger(__name__)

#: Peak memory over what is kept for the derivatives: gradients and temporaries of the backward pass. An assumption, not
#: a measurement.
OVERHEAD = 1.5


def kept_bytes(model, data: GraphData, cutoff: float, index: int, loss) -> tuple[int, int]:
    """Bytes that a training step on structure ``index`` keeps for its derivatives, and its pairs within ``cutoff``.

    Forces are a derivative of the energy, and the step differentiates them once more: both graphs are counted.
    """
    storages: dict[int, int] = {}
    own = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    chunks = [torch.tensor([index])]
    ((batch, cutoffs),) = selected_batches(data, chunks, uniform_rule(cutoff, data.dtype), model.selector)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        batch_loss(model(batch, cutoffs, training=True, **asked(loss)), batch, loss)
    return sum(storages.values()), batch.pair_index.shape[1]


def say_peak(name: str, model, data: GraphData, cutoff: float, settings, loss, max_pairs: int | None) -> float:
    """Log the estimated peak memory (bytes, returned) of the largest batch, with a warning where it is not free.

    ``cutoff`` (A) is the largest of the training, ``settings`` are its own. A batch of ``batch_size`` structures is at
    worst made of the largest; with ``batch_by: pairs`` or ``max_pairs`` its pairs are bounded.
    """
    counts = data.pair_counts.double()
    order = counts.argsort(descending=True)
    size = min(settings.batch_size, len(counts))
    mean, largest = float(counts.mean()) * size, float(counts[order[:size]].sum())
    if settings.batch_by == "pairs":
        largest = mean + float(counts.max())
    if max_pairs is not None:
        mean, largest = (min(pairs, max(max_pairs, float(counts.max()))) for pairs in (mean, largest))
    typical = int(order[len(order) // 2])
    kept, pairs = kept_bytes(model, data, cutoff, typical, loss)
    per_pair = OVERHEAD * kept / max(float(counts[typical]), 1.0)
    trained = sum(value.numel() * value.element_size() for value in model.parameters() if value.requires_grad)
    fixed = 4.0 * trained  # values, gradients and the two moments of AdamW
    peak = fixed + per_pair * largest
    logger.info(
        f"{name}: about {_text(fixed + per_pair * mean)} of memory per step, {_text(peak)} for the largest batch"
        f" ({largest:.0f} pairs, {per_pair / 1000:.1f} kB each); weights and optimiser {_text(fixed)}"
    )
    free = free_bytes(data.device)
    if free is not None and peak > free:
        fitting = max(1, int(0.8 * (free - fixed) / per_pair))
        logger.warning(
            f"{name}: {_text(peak)} may be needed and {_text(free)} are free: set compute.max_pairs to {fitting} or"
            f" less (--max-pairs): the same steps, evaluated in parts; or lower {name}.batch_size"
        )
    return peak


def free_bytes(device: torch.device) -> float | None:
    """Free memory of the device (bytes), None where it is unknown."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def _text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
