"""Structures of MAD's sizes without MAD: random numbers of atoms on jittered lattices, with random labels.

Sizes follow a log-normal distribution (about 30 atoms in the mean, 300 at most). The number density is set so that an
atom has the 65.4 neighbours at 6 A of Table 3. They serve to measure time and memory and nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from synthetic import synthetic_frame

from fcl.data.frames import Frame

LABEL = "synthetic structures of MAD's sizes (not MAD)"
#: Structures of MAD's splits (training, validation): the paper's 8 : 1 : 1 of 95 595.
TRAIN_STRUCTURES = 76_476
VAL_STRUCTURES = 9_560
LARGEST = 300
DENSITY = 65.4 / (4.0 / 3.0 * math.pi * 6.0**3)  # atoms / A^3
ELEMENTS = np.array([1, 3, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 20, 22, 26, 28, 29, 30, 40, 47, 56, 79])


def mad_like(count: int, seed: int = 0) -> list[Frame]:
    """``count`` periodic structures with random labels (eV, eV/A)."""
    rng = np.random.default_rng(seed)
    return [_structure(rng) for _ in range(count)]


def _structure(rng: np.random.Generator) -> Frame:
    n = int(np.clip(round(rng.lognormal(math.log(20.0), 0.9)), 1, LARGEST))
    kinds = rng.choice(ELEMENTS, size=rng.integers(1, 5), replace=False)
    return synthetic_frame(rng, n, 1.0 / DENSITY, kinds, subset="synthetic")
