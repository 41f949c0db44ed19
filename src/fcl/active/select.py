"""Which of many candidate structures are labelled: farthest points, without near-duplicates of known ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Descriptor:
    """Structures as points: mean and standard deviation of the features over their atoms.

    Features are in units of their standard deviation over the training atoms, ``known`` [n, n_features]. Both parts are
    intensive: a structure and its supercell are the same point. The distance of two points is a root mean square over
    the features.
    """

    def __init__(self, known: np.ndarray):
        self.mean, deviation = known.mean(axis=0), known.std(axis=0)
        self.used = deviation > 1e-9 * max(float(deviation.max(initial=0.0)), 1e-300)
        self.deviation = deviation[self.used]

    def of(self, features: np.ndarray) -> np.ndarray:
        """[2 n_used] of a structure with ``features`` [n_atoms, n_features]."""
        scaled = (features - self.mean)[:, self.used] / self.deviation
        both = np.concatenate([scaled.mean(axis=0), scaled.std(axis=0)])
        return both / max(np.sqrt(len(self.deviation)), 1.0)


def farthest_points(candidates: np.ndarray, known: np.ndarray, number: int, duplicates: float) -> list[int]:
    """Indices of at most ``number`` of ``candidates`` [n, d], each the farthest from ``known`` [m, d] and those before.

    Ends when none is farther than ``duplicates`` from all of them. Ties go to the first.
    """
    if not len(candidates):
        return []
    nearest = np.full(len(candidates), np.inf)
    for point in known:
        nearest = np.minimum(nearest, np.linalg.norm(candidates - point, axis=1))
    chosen: list[int] = []
    while len(chosen) < number:
        index = int(nearest.argmax())
        if not nearest[index] > duplicates:
            break
        chosen.append(index)
        nearest = np.minimum(nearest, np.linalg.norm(candidates - candidates[index], axis=1))
    return chosen


def drawn(candidates: Sequence, number: int, random: np.random.Generator) -> list:
    """``number`` of the candidates (all, if there are fewer), drawn at random, in their order."""
    chosen = random.permutation(len(candidates))[:number]
    return [candidates[index] for index in sorted(chosen)]
