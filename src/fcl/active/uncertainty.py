"""Uncertainty of forces: extrapolation grade of the last layer, committee of seeds, committee of cutoffs.

Site energies are linear in the features of the last layer, E_i = w . f_i. D-optimality chooses as many training atoms
as there are features, those whose rows A span the largest volume (MaxVol); the grade of an atom is max_j |(f A^-1)_j|,
the largest weight in writing f as a combination of them: above 1 the model extrapolates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcl.simulation.calculator import FCLCalculator

#: Rows eps * I are added to the training atoms, in units of the RMS of each feature, so that features that have not
#: varied have a small reference instead of none.
RIDGE = 1e-3


class Features:
    """Last-layer features of structures by the model of a calculator, at its cutoffs."""

    def __init__(self, calculator: FCLCalculator):
        from fcl.data.verlet import VerletList

        self.model, self.choice = calculator.model, calculator.cutoffs
        parameter = next(self.model.parameters())
        self.neighbors = VerletList(self.model.selector, 0.0, parameter.dtype, parameter.device)

    def of(self, atoms) -> np.ndarray:
        """[n_atoms, n_features]."""
        import torch

        from fcl.models.interface import pair_vectors

        arrays = (atoms.numbers, atoms.positions, atoms.cell.array, np.asarray(atoms.pbc))
        batch, cutoffs = self.neighbors.batch(*arrays, self.choice.of(atoms.numbers))
        with torch.no_grad():
            features = self.model.last_layer_features(batch.numbers, batch.pair_index, pair_vectors(batch), cutoffs)
        return features.double().cpu().numpy()


def maxvol(rows: np.ndarray, tolerance: float = 1e-3, swaps: int = 10_000) -> np.ndarray:
    """Indices [r] of rows of ``rows`` [n, r] (n >= r, rank r) with a locally maximal |det|.

    No single exchange enlarges it by more than 1 + ``tolerance``. Starts from QR with pivoting.
    """
    from scipy.linalg import qr

    r = rows.shape[1]
    chosen = qr(rows.T, mode="r", pivoting=True)[1][:r].copy()
    weights = np.linalg.solve(rows[chosen].T, rows.T).T  # [n, r]: each row as a combination of the chosen ones
    for _ in range(swaps):
        i, j = np.unravel_index(np.abs(weights).argmax(), weights.shape)
        if abs(weights[i, j]) <= 1.0 + tolerance:
            break
        change = weights[i].copy()
        change[j] -= 1.0
        weights -= np.outer(weights[:, j] / weights[i, j], change)
        chosen[j] = i
    return chosen


class Grade:
    """Extrapolation grade, with an active set per element.

    ``scale`` [n_features], RMS of each feature in the training data; ``inverse``: A^-1 [n_features, n_features] of the
    scaled features by atomic number.
    """

    def __init__(self, scale: np.ndarray, inverse: Mapping[int, np.ndarray]):
        self.scale, self.inverse = np.asarray(scale), {int(z): np.asarray(a) for z, a in inverse.items()}

    @classmethod
    def fitted(cls, features: np.ndarray, numbers: np.ndarray) -> Grade:
        """From the training atoms: ``features`` [n, n_features], atomic ``numbers`` [n]."""
        scale = np.sqrt((features**2).mean(axis=0))
        scale[scale == 0.0] = 1.0
        inverse = {}
        for z in np.unique(numbers):
            rows = np.vstack([features[numbers == z] / scale, RIDGE * np.eye(len(scale))])
            inverse[int(z)] = np.linalg.inv(rows[maxvol(rows)])
        return cls(scale, inverse)

    def of(self, features: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Grades [n] of atoms with ``features`` [n, n_features]; infinite for elements that were not trained."""
        grades = np.full(len(numbers), np.inf)
        for z, inverse in self.inverse.items():
            mine = numbers == z
            grades[mine] = np.abs(features[mine] / self.scale @ inverse).max(axis=1, initial=0.0)
        return grades

    def record(self) -> dict[str, Any]:
        """As plain JSON, for `Grade.restored`."""
        return {"scale": self.scale.tolist(), "inverse": {str(z): a.tolist() for z, a in self.inverse.items()}}

    @classmethod
    def restored(cls, record: Mapping[str, Any]) -> Grade:
        return cls(record["scale"], {int(z): a for z, a in record["inverse"].items()})


def disagreement(forces: np.ndarray) -> np.ndarray:
    """[n_atoms] from ``forces`` [n_members, n_atoms, 3] (eV/A): root of the summed variances of the components."""
    return np.sqrt(forces.var(axis=0).sum(axis=-1))


#: An uncertainty of a structure: the largest of its atoms.
Measure = Callable[[Any], float]


def measures(
    models: Sequence[Path], cutoff: float, cutoffs: Sequence[float], grade: Grade | None
) -> dict[str, Measure]:
    """All measures that there are by name, functions of ASE atoms.

    ``models``: files of the members; ``cutoff`` (A) of the first one in dynamics; ``cutoffs`` (A) of the committee of
    cutoffs, of the first model; ``grade`` at ``cutoff``.
    """
    first = FCLCalculator(models[0], cutoff, device="cpu", skin=0.0)
    by_cutoff = [FCLCalculator(first.model, value, skin=0.0) for value in cutoffs]
    found: dict[str, Measure] = {"cutoffs": lambda atoms: _largest(by_cutoff, atoms)}
    if len(models) > 1:
        by_seed = [first, *(FCLCalculator(model, cutoff, device="cpu", skin=0.0) for model in models[1:])]
        found["committee"] = lambda atoms: _largest(by_seed, atoms)
    if grade is not None:
        features = Features(first)
        found["grade"] = lambda atoms: float(grade.of(features.of(atoms), atoms.numbers).max())
    return found


def _largest(calculators: Sequence[FCLCalculator], atoms) -> float:
    bare = atoms.copy()
    return float(disagreement(np.array([calculator.get_forces(bare) for calculator in calculators])).max())


def judged(scores: np.ndarray, errors: np.ndarray, worst: float = 0.05) -> dict[str, float]:
    """How well ``scores`` [n] of structures tell their true ``errors`` [n].

    ``rank_correlation``: Spearman's; ``worst_found``: share of the ``worst`` structures (a fraction, one at least) that
    are also among as many of the largest scores, ``worst`` being what chance finds. NaN for fewer than 3.
    """
    from scipy.stats import spearmanr

    if len(scores) < 3:
        return {"structures": len(scores), "rank_correlation": float("nan"), "worst_found": float("nan")}
    number = max(1, round(worst * len(scores)))
    found = set(np.argsort(-errors, kind="stable")[:number]) & set(np.argsort(-scores, kind="stable")[:number])
    constant = np.ptp(scores) == 0.0 or np.ptp(errors) == 0.0
    correlation = float("nan") if constant else float(spearmanr(scores, errors).statistic)
    return {"structures": len(scores), "rank_correlation": correlation, "worst_found": len(found) / number}
