"""Make the structures of this example: small copper-gold clusters and crystals with energies and forces of ASE's EMT.

python examples/own-data/make_structures.py          writes structures.xyz beside this file

Keys and names are not those of MAD, as those of your own data will not be: `REF_energy`, `dft_forces`, `config_type`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

COUNT = 40


def structures() -> list[Atoms]:
    rng = np.random.default_rng(1)
    frames = []
    for k in range(COUNT):
        if k % 2:
            atoms = bulk("Cu", "fcc", a=rng.uniform(3.6, 4.1), cubic=True)
            kind = "crystal"
        else:
            atoms = Atoms("Cu4", positions=2.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))
            kind = "cluster"
        atoms.numbers[rng.random(len(atoms)) < 0.4] = 79
        atoms.rattle(0.08, rng=rng)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.arrays["dft_forces"] = np.round(forces, 6)
        atoms.info = {"REF_energy": round(float(energy), 6), "config_type": kind}
        frames.append(atoms)
    return frames


if __name__ == "__main__":
    write(Path(__file__).with_name("structures.xyz"), structures(), format="extxyz")
