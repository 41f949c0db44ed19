"""From an order of structures to batches with their pairs: how many structures make a batch, and what is made ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields

import torch

from fcl.cutoffs.edges import EdgeSelector
from fcl.data.batch import Batch, GraphData


def split_order(
    order: torch.Tensor, batch_size: int, pair_counts: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Cut the structures ``order`` [n] into batches of ``batch_size`` structures, the last one may be smaller.

    With ``pair_counts`` [n_structures in the store] the batches hold a similar number of pairs instead: as many as
    ``batch_size`` structures have in the mean. As many steps make an epoch, and the largest batch is smaller.
    """
    if pair_counts is None:
        return torch.split(order, batch_size)
    pairs = pair_counts.index_select(0, order).double()
    target = max(float(pairs.mean()) * batch_size, 1.0)
    batch = ((pairs.cumsum(0) - 0.5 * pairs) / target).floor()  # each structure goes where its middle falls
    return torch.split(order, torch.unique_consecutive(batch, return_counts=True)[1].tolist())


def selected_batches(
    data: GraphData,
    chunks: Iterable[torch.Tensor],
    rule: Callable[[Batch], torch.Tensor],
    selector: EdgeSelector,
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Batches of the structures of each of ``chunks`` with their pairs, and the per-atom cutoffs [n_atoms] of ``rule``.

    On a CUDA device each batch is made one ahead, on a stream of its own: to count the pairs that are kept the host has
    to wait, and so it waits for the selection only, while the device is busy with the step before.
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
    """Draw from ``made`` on a side stream, one item before it is asked for."""
    main, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(main)  # the store is in place

    def draw():
        with torch.cuda.stream(side):
            return next(made, None)

    ready = draw()
    while ready is not None:
        main.wait_stream(side)
        batch, cutoffs = ready
        for tensor in (cutoffs, *(getattr(batch, field.name) for field in fields(batch))):
            if isinstance(tensor, torch.Tensor):
                tensor.record_stream(main)  # its memory may not be given away before the main stream has read it
        yield ready
        ready = draw()  # the consumer has queued its step by now: this runs beside it
