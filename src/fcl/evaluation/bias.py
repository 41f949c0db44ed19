"""Bias of forces: whether predictions are systematically too small."""

from __future__ import annotations

import numpy as np


def force_slope(predicted: np.ndarray, true: np.ndarray) -> float:
    """Least-squares slope through the origin of ``predicted`` against ``true`` force components, both [n, 3] (eV/A).

    sum(predicted true) / sum(true^2): 1 without bias, below 1 for forces biased towards zero. Noise in the predictions
    does not change it. Raises `ValueError` if all true forces are zero or the shapes differ.
    """
    predicted, true = np.asarray(predicted, dtype=float), np.asarray(true, dtype=float)
    if predicted.shape != true.shape:
        raise ValueError(f"forces of shapes {predicted.shape} and {true.shape}")
    norm = float((true**2).sum())
    if norm == 0.0:
        raise ValueError("all true forces are zero: they have no slope")
    return float((predicted * true).sum()) / norm


def slope_by_size(predicted: np.ndarray, true: np.ndarray, parts: int = 4) -> list[tuple[float, float]]:
    """RMS of the true forces (eV/A) and `force_slope`, in ``parts`` of equally many atoms by size of the true force.

    ``predicted``, ``true`` [n, 3]. Raises `ValueError` as `force_slope`.
    """
    order = np.argsort(np.linalg.norm(true, axis=1), kind="stable")
    chosen = [part for part in np.array_split(order, parts) if len(part)]
    return [
        (float(np.sqrt((true[part] ** 2).sum(axis=1).mean())), force_slope(predicted[part], true[part]))
        for part in chosen
    ]
