"""Time of one training step: reference, eager and compiled paths, and mace-torch's own model.

A step is forward, L1 loss, backward, gradient clipping and AdamW on one batch of 50 structures of the embedded set in
float32. FCL draws cutoffs from U(3.5, 7.0) A; the static model has 6.0 A. `data` is the making of such a batch.
"""

from __future__ import annotations

import torch
from measure import LABEL, begin, embedded_arrays, finish, interleaved, parser, peak_memory_mb, study

from fcl.cutoffs.edges import RadialSelector
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.data.batch import GraphData
from fcl.models.files import build_model, default_dtype
from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments
from fcl.training.loss import batch_loss

BACKENDS = ("reference", "fast", "compiled")


def training_step(model, settings, loss, compute):
    """One step of the optimiser; ``compute()`` gives the model's output and the batch with the labels."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)

    def step() -> float:
        value = batch_loss(*compute(), loss)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.gradient_clip_norm)
        optimizer.step()
        return float(value.detach())

    return step


def mace_inputs(batch) -> dict[str, torch.Tensor]:
    """The directed edges and one-hot vectors that mace-torch takes."""
    shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, batch.cells.index_select(0, batch.pair_structure))
    return {
        "positions": batch.positions.clone(),
        "node_attrs": torch.nn.functional.one_hot(batch.numbers - 1, 100).to(batch.positions.dtype),
        "edge_index": torch.cat([batch.pair_index, batch.pair_index.flip(0)], dim=1),
        "shifts": torch.cat([shifts, -shifts]),
        "unit_shifts": torch.cat([batch.pair_shifts, -batch.pair_shifts]),
        "cell": batch.cells.reshape(-1, 3),
        "batch": batch.structure,
        "ptr": batch.ptr,
    }


def measure(kind: str, data: GraphData, protocol, batch_size: int, repeats: int) -> dict:
    """Seconds, ratios and peak memory of the steps of one kind of model."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)[:batch_size]

    def draw(batch):
        if kind == "static":
            return uniform_cutoffs(batch.numbers, protocol.pretrain.cutoff, data.dtype)
        return sample_cutoffs(batch.n_atoms, protocol.cutoffs.r_min, protocol.cutoffs.r_max, generator, data.dtype)

    def make():
        batch = data.batch(order)
        cutoffs = draw(batch)
        return data.select_pairs(batch, cutoffs, RadialSelector("arithmetic")), cutoffs

    batch, cutoffs = make()
    neighbors = 2 * batch.pair_index.shape[1] / batch.n_atoms
    r_max = protocol.pretrain.cutoff if kind == "static" else protocol.cutoffs.r_max
    settings = protocol.static if kind == "static" else protocol.fcl
    steps, losses = {"data": make}, {}

    def add(name, model, compute):
        steps[name] = training_step(model, settings, protocol.loss, lambda: (compute(model), batch))
        losses[name] = float(batch_loss(compute(model), batch, protocol.loss).detach())

    for backend in BACKENDS:
        torch.manual_seed(1)
        model = build_model(kind, protocol.model, r_max, neighbors, backend=backend)
        add(backend, model, lambda model: model(batch, cutoffs, training=True))
    if kind == "static":
        with default_dtype(torch.float32):
            theirs = ScaleShiftMACE(**backbone_arguments(protocol.model, r_max, neighbors))
        torch.manual_seed(1)
        theirs.load_state_dict(build_model(kind, protocol.model, r_max, neighbors).state_dict())
        add("mace-torch", theirs, lambda model: model(mace_inputs(batch), training=True))
    memory = {name: peak_memory_mb(step) for name, step in steps.items()}
    seconds = interleaved(steps, repeats)
    base = seconds["reference"]["min_s"]
    compiled = seconds["compiled"]["min_s"]
    return {
        "structures": batch.n_structures, "atoms": batch.n_atoms, "pairs": batch.pair_index.shape[1],
        "seconds": seconds, "peak_memory_mb": memory, "loss_at_the_start": losses,
        "times_faster_than_reference": {name: base / value["min_s"] for name, value in seconds.items()},
        "times_faster_than_mace_torch": {
            name: seconds["mace-torch"]["min_s"] / value["min_s"] for name, value in seconds.items()
        } if "mace-torch" in seconds else None,
        "data_share_of_compiled_step": seconds["data"]["min_s"] / compiled,
    }  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--batch-size", type=int, default=50, help="structures")
    options = arguments.parse_args()
    begin(options)
    graphs, protocol = GraphData(embedded_arrays()), study()
    kinds = {kind: measure(kind, graphs, protocol, options.batch_size, options.repeats) for kind in ("static", "fcl")}
    finish(options, f"train_step, {options.threads} threads", {"data": LABEL, **kinds})
