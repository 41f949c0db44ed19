"""A synthetic file with the sizes and keys of MAD, for benchmarks: random structures with random labels.

python benchmarks/synthetic_mad.py build/synthetic/mad-train.xyz --frames 20000

Of MAD it keeps what costs time: the share of each subset, periodicity, atoms per structure (27 on average, the size of
MAD's training file: 3.2 kB a frame), and densities, hence pairs. Positions and labels mean nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from synthetic import synthetic_frame

from fcl.runs.files import atomic_path

#: subset: (share in MAD, mean atoms, cubic angstrom an atom, periodic directions)
SUBSETS = {
    "MC3D": (33596, 20, 16.0, 3),
    "MC3D-rattled": (30044, 20, 16.0, 3),
    "MC3D-random": (2800, 16, 20.0, 3),
    "MC3D-surface": (5589, 30, 18.0, 2),
    "MC3D-cluster": (9071, 6, 18.0, 0),
    "MC2D": (2676, 14, 18.0, 2),
    "SHIFTML-molcrys": (8578, 90, 9.5, 3),
    "SHIFTML-molfrags": (3241, 25, 14.0, 0),
}
ELEMENTS = {"SHIFTML": "H H H C C C N O S".split(), "MC": "H Li C N O F Na Mg Al Si P S Cl K Ca Ti Fe Ni Cu Zn".split()}
SKEW = 0.1


def text(rng: np.random.Generator, subset: str, split: str) -> str:
    """One random frame of ``subset`` in extended XYZ, as ASE writes it."""
    _, mean, volume, periodic = SUBSETS[subset]
    elements = [atomic_numbers[name] for name in ELEMENTS["SHIFTML" if subset.startswith("SHIFTML") else "MC"]]
    atoms = max(1, rng.poisson(mean))
    frame = synthetic_frame(rng, atoms, volume, elements, periodic=periodic, skew=SKEW, subset=subset, split=split)
    lattice = " ".join(f"{value:.10g}" for value in frame.cell.ravel())
    flags = " ".join("FT"[int(flag)] for flag in frame.pbc)
    head = (
        f'{len(frame)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 '
        f'energy={frame.energy:.10f} subset={subset} split={split} pbc="{flags}"\n'
    )
    rows = zip(frame.numbers, np.hstack([frame.positions, frame.forces]).tolist(), strict=True)
    return head + "".join(
        f"{chemical_symbols[z]:2s} {' '.join(f'{value:15.8f}' for value in values)}\n" for z, values in rows
    )


def write(path: str | Path, frames: int, split: str = "train", seed: int = 0) -> Path:
    """Write ``frames`` frames in MAD's mixture of subsets."""
    rng = np.random.default_rng(seed)
    shares = np.array([share for share, *_ in SUBSETS.values()], dtype=float)
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as stream:
        for subset in rng.choice(list(SUBSETS), frames, p=shares / shares.sum()):
            stream.write(text(rng, subset, split))
    return Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.path, arguments.frames, arguments.split, arguments.seed)
    print(f"{arguments.path}: {arguments.frames} frames, {arguments.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
