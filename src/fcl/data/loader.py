"""Batches of structures with their pairs: batch sizes, parts of batches, and prefetching on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields

import torch

from fcl.cutoffs.edges import EdgeSelector
from fcl.data.batch import Batch, GraphData


def split_order(
    order: torch.Tensor, batch_size: int, pair_counts: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Split ``order`` [n] (indices of structures) into batches of ``batch_size``; the last one may be smaller.

    With ``pair_counts`` [n_structures in the store], batches have similar numbers of pairs instead, on average those of
    ``batch_size`` structures. The number of steps per epoch is the same, and the largest batch is smaller.
    """
    if pair_counts is None:
        return torch.split(order, batch_size)
    pairs = pair_counts.index_select(0, order).double()
    target = max(float(pairs.mean()) * batch_size, 1.0)
    batch = ((pairs.cumsum(0) - 0.5 * pairs) / target).floor()  # assigned by the midpoint of each structure
    return torch.split(order, torch.unique_consecutive(batch, return_counts=True)[1].tolist())


def parts_of(chunk: torch.Tensor, pair_counts: torch.Tensor, max_pairs: int) -> tuple[torch.Tensor, ...]:
    """``chunk`` [n] (indices of structures) in parts, in order, of at most ``max_pairs`` stored pairs each.

    A structure with more is a part of its own. ``pair_counts`` [n_structures in the store].
    """
    sizes, filled = [], max_pairs + 1
    for pairs in pair_counts.index_select(0, chunk).tolist():
        if filled + pairs > max_pairs:
            sizes.append(0)
            filled = 0
        sizes[-1] += 1
        filled += pairs
    return torch.split(chunk, sizes)


def divided_batches(
    data: GraphData,
    chunks: Iterable[torch.Tensor],
    rule: Callable[[Batch], torch.Tensor],
    selector: EdgeSelector,
    max_pairs: int | None,
) -> Iterator[list[tuple[Batch, torch.Tensor]]]:
    """`selected_batches`, each as a list of its parts (`parts_of`); None: as one.

    The cutoffs of a whole batch are drawn at once: they do not depend on ``max_pairs``.
    """
    if max_pairs is None:
        yield from ([whole] for whole in selected_batches(data, chunks, rule, selector))
        return
    for chunk in chunks:
        cutoffs = rule(data.batch(chunk))
        parts = [data.batch(part) for part in parts_of(chunk, data.pair_counts, max_pairs)]
        own = torch.split(cutoffs, [part.n_atoms for part in parts])
        yield [(data.select_pairs(part, a, selector), a) for part, a in zip(parts, own, strict=True)]


def selected_batches(
    data: GraphData,
    chunks: Iterable[torch.Tensor],
    rule: Callable[[Batch], torch.Tensor],
    selector: EdgeSelector,
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Batches of the structures in each of ``chunks`` with their pairs, and per-atom cutoffs [n_atoms] from ``rule``.

    On a CUDA device, batches are prefetched on a separate stream: the host has to wait for the number of selected
    pairs, and thus waits for the selection only, while the device is busy with the previous step.
    """

    def make(chunk: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        batch = data.batch(chunk)
        cutoffs = rule(batch)
        return data.select_pairs(batch, cutoffs, selector), cutoffs

    made = map(make, chunks)
    yield from made if data.device.type != "cuda" else _one_ahead(made, data.device)


def _one_ahead(
    made: Iterator[tuple[Batch, torch.Tensor]], device: torch.device
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Iterate over ``made`` on a side stream, one item ahead."""
    main, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(main)  # the store has been copied to the device

    def draw():
        with torch.cuda.stream(side):
            return next(made, None)

    ready = draw()
    while ready is not None:
        main.wait_stream(side)
        batch, cutoffs = ready
        for tensor in (cutoffs, *(getattr(batch, field.name) for field in fields(batch))):
            if isinstance(tensor, torch.Tensor):
                tensor.record_stream(main)  # its memory must not be reused before the main stream has read it
        yield ready
        ready = draw()  # runs concurrently with the consumer's step, which is queued by now
