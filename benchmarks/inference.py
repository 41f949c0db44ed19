"""Time of energies and forces against the cutoff: a molecular crystal of about 1000 atoms at 3.9 A and at 6.0 A.

The cost of a model is its pairs: the wall-clock has to fall by nearly as much as their number does.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from measure import EMBEDDED, LABEL, begin, finish, interleaved, parser, study

from fcl.cutoffs.edges import RadialSelector
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.data.batch import GraphData
from fcl.data.frames import Frame
from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames
from fcl.models.files import build_model

SMALL, LARGE = 3.9, 6.0


def crystal(atoms: int) -> Frame:
    """The first molecular crystal of the embedded training split, repeated to about ``atoms`` atoms."""
    frame = next(frame for frame in read_frames(EMBEDDED / "train.xyz.gz") if frame.subset == "SHIFTML-molcrys")
    cell = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    times = [1, 1, 1]
    while len(frame) * np.prod(times) < atoms:
        times[int(np.argmin(times * cell.cell.lengths()))] += 1
    large = cell.repeat(times)
    return Frame(
        numbers=large.numbers.astype(np.int64), positions=large.positions, cell=large.cell.array, pbc=large.pbc,
        energy=0.0, forces=np.zeros((len(large), 3)), subset=frame.subset, split=frame.split,
    )  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--atoms", type=int, default=1000)
    options = arguments.parse_args()
    begin(options)
    protocol = study()
    data = GraphData(arrays_from_frames([crystal(options.atoms)], LARGE))
    programs, pairs = {}, {}
    for backend in ("reference", "fast", "compiled"):
        torch.manual_seed(1)
        model = build_model("fcl", protocol.model, protocol.cutoffs.r_max, backend=backend).eval()
        for cutoff in (SMALL, LARGE):
            whole = data.batch(torch.tensor([0]))
            radii = uniform_cutoffs(whole.numbers, cutoff, data.dtype)
            batch = data.select_pairs(whole, radii, RadialSelector("arithmetic"))
            pairs[cutoff] = batch.pair_index.shape[1]
            programs[f"{backend} {cutoff}"] = lambda model=model, batch=batch, radii=radii: model(batch, radii)
    seconds = interleaved(programs, options.repeats)
    ratio = pairs[LARGE] / pairs[SMALL]
    falls = {
        backend: seconds[f"{backend} {LARGE}"]["min_s"] / seconds[f"{backend} {SMALL}"]["min_s"]
        for backend in ("reference", "fast", "compiled")
    }
    result = {
        "data": LABEL, "atoms": len(data.numbers), "pairs": {str(cutoff): count for cutoff, count in pairs.items()},
        "pair_ratio": ratio, "seconds": seconds, "time_ratio": falls,
        "time_ratio_over_pair_ratio": {backend: fall / ratio for backend, fall in falls.items()},
        "times_faster_than_reference": {
            f"{backend} {cutoff}": seconds[f"reference {cutoff}"]["min_s"] / seconds[f"{backend} {cutoff}"]["min_s"]
            for backend in ("fast", "compiled") for cutoff in (SMALL, LARGE)
        },
    }  # fmt: skip
    finish(options, f"inference, {options.threads} threads", result)
