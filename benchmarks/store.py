"""Building the graph store: time against ASE's neighbour lists, and bytes a pair on disk and in memory.

The plain layout that it is compared with keeps both directions of a pair: two int64 indices and three float32 shifts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ase import Atoms
from ase.neighborlist import neighbor_list
from measure import EMBEDDED, LABEL, begin, finish, interleaved, parser, study

from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames, content_hash, read_store, write_store

PLAIN_BYTES = 2 * (2 * 8 + 3 * 4)

if __name__ == "__main__":
    options = parser(__doc__).parse_args()
    begin(options)
    r_max = study().cutoffs.r_max
    frames = list(read_frames(EMBEDDED / "train.xyz.gz"))
    atoms = [Atoms(numbers=f.numbers, positions=f.positions, cell=f.cell, pbc=f.pbc) for f in frames]
    arrays = arrays_from_frames(frames, r_max)
    pairs = int(arrays.pair_ptr[-1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        seconds = interleaved(
            {
                "neighbour lists": lambda: arrays_from_frames(frames, r_max),
                "write": lambda: write_store(arrays, path, {"content_sha256": content_hash(arrays)}),
                "read": lambda: read_store(path),
                "ASE's neighbour lists": lambda: [neighbor_list("ijSd", each, r_max) for each in atoms],
            },
            max(options.repeats // 5, 2),
            warm_up=1,
        )
        size = path.stat().st_size
    in_memory = sum(getattr(arrays, f"pair_{name}").nbytes for name in ("i", "j", "shifts", "distances"))
    result = {
        "data": LABEL, "structures": len(arrays), "atoms": int(arrays.ptr[-1]), "pairs": pairs, "seconds": seconds,
        "structures_per_second": len(arrays) / seconds["neighbour lists"]["min_s"],
        "times_faster_than_ase": seconds["ASE's neighbour lists"]["min_s"] / seconds["neighbour lists"]["min_s"],
        "bytes_per_pair": {
            "file, all arrays": size / pairs, "memory, pair arrays": in_memory / pairs, "plain": PLAIN_BYTES,
        },
    }  # fmt: skip
    finish(options, "store", result)
