"""Time to make one batch: gathered from the graph store, against a neighbour list for each structure and a collation.

Three ways to get the pairs of 50 structures: ``store`` (ours: gather, draw cutoffs, prune); ``vesin and collate``: a
list by vesin for each structure, concatenated and pruned in the same way; ``mace-torch``: its AtomicData for each
structure (matscipy's neighbour list) and the collation of its torch_geometric. Where the cutoff is fixed mace-torch
makes the lists once: ``mace-torch, collation only``.
"""

from __future__ import annotations

import numpy as np
import torch
from measure import EMBEDDED, LABEL, begin, embedded_arrays, finish, interleaved, parser, study
from vesin import NeighborList

from fcl.cutoffs.edges import RadialSelector
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.data.batch import GraphData
from fcl.data.read import read_frames


def vesin_batch(frames, r_max: float, draw) -> dict[str, torch.Tensor]:
    """Half pairs within the drawn cutoffs, atoms and labels of ``frames``: a neighbour list each, concatenated."""
    pairs, shifts, distances, first = [], [], [], 0
    for frame in frames:
        search = NeighborList(cutoff=r_max, full_list=False)
        i, j, shift, distance = search.compute(
            points=frame.positions, box=frame.cell, periodic=frame.pbc, quantities="ijSd"
        )
        pairs.append(np.stack([i, j]).astype(np.int64) + first)
        shifts.append(shift)
        distances.append(distance)
        first += len(frame)

    def joined(arrays, dtype=torch.float32) -> torch.Tensor:
        return torch.as_tensor(np.concatenate(arrays)).to(dtype)

    cutoffs = draw(first)
    pair_index = torch.as_tensor(np.concatenate(pairs, axis=1))
    keep = joined(distances) <= 0.5 * (cutoffs[pair_index[0]] + cutoffs[pair_index[1]])
    return {
        "pair_index": pair_index[:, keep],
        "pair_shifts": joined(shifts)[keep],
        "numbers": joined([frame.numbers for frame in frames], torch.int64),
        "positions": joined([frame.positions for frame in frames]),
        "forces": joined([frame.forces for frame in frames]),
        "cells": torch.as_tensor(np.stack([frame.cell for frame in frames])).to(torch.float32),
        "energy": torch.tensor([frame.energy for frame in frames]),
        "structure": torch.repeat_interleave(torch.tensor([len(frame) for frame in frames])),
    }


def mace_torch(frames, cutoff: float):
    """(make AtomicData of all frames, collate them) with mace-torch's own tools."""
    from mace.data import AtomicData, Configuration
    from mace.tools import AtomicNumberTable, torch_geometric

    table = AtomicNumberTable(list(range(1, 101)))

    def make():
        samples = []
        for frame in frames:
            configuration = Configuration(
                atomic_numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=tuple(frame.pbc),
                properties={"energy": frame.energy, "forces": frame.forces},
                property_weights={"energy": 1.0, "forces": 1.0},
            )  # fmt: skip
            samples.append(AtomicData.from_config(configuration, z_table=table, cutoff=cutoff))
        return samples

    return make, torch_geometric.batch.Batch.from_data_list


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--batch-size", type=int, default=50, help="structures")
    options = arguments.parse_args()
    begin(options)
    cutoffs = study().cutoffs
    every = list(read_frames(EMBEDDED / "train.xyz.gz"))
    data = GraphData(embedded_arrays())
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)[: options.batch_size]
    frames = [every[index] for index in order.tolist()]
    make, collate = mace_torch(frames, cutoffs.r_max)
    samples = make()

    def draw(n_atoms: int) -> torch.Tensor:
        return sample_cutoffs(n_atoms, cutoffs.r_min, cutoffs.r_max, generator)

    def store():
        batch = data.batch(order)
        return data.select_pairs(batch, draw(batch.n_atoms), RadialSelector("arithmetic"))

    seconds = interleaved(
        {
            "store": store,
            "vesin and collate": lambda: vesin_batch(frames, cutoffs.r_max, draw),
            "mace-torch": lambda: collate(make()),
            "mace-torch, collation only": lambda: collate(samples),
        },
        options.repeats,
    )
    base = seconds["store"]["min_s"]
    result = {
        "data": LABEL, "structures": options.batch_size, "seconds": seconds,
        "times_slower_than_store": {name: value["min_s"] / base for name, value in seconds.items()},
    }  # fmt: skip
    finish(options, "data_pipeline", result)
