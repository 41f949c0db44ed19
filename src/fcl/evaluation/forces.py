"""How large the forces of a set of structures are, and what zero forces would score on others of its kind.

A force RMSE says something only beside that of zero forces. Where few structures carry most of the squared force, the
latter depends on which of them a test set happens to hold. Two answers: by resampling the structures at hand, and by a
model of the tail: below the 90% quantile the structures at hand, above it a generalised Pareto distribution
(peaks over threshold; J. Pickands, Ann. Stat. 3, 119 (1975)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcl.evaluation.statistics import RESAMPLES, resampled

#: A structure whose largest force component (eV/A) is below this is one without forces: labels have five decimals.
ZERO_FORCE = 1e-4
QUANTILES = (0.5, 0.9, 0.99)
INTERVAL = (2.5, 97.5)
TAIL_STARTS = 0.9  # quantile
MIN_TAIL = 20  # structures above the threshold: fewer determine no shape
REFITS = 200


def force_distribution(square: np.ndarray, largest: np.ndarray, atoms: np.ndarray, groups: np.ndarray) -> dict:
    """RMS of all force components (eV/A) with its 95% interval, and how it is made up.

    square [n]: sum over the 3 ``atoms`` [n] components of their squares ((eV/A)^2); largest [n]: largest component
    (eV/A); groups [n]: equal for structures that are not independent (these are resampled).
    """
    rms = np.sqrt(square / (3 * atoms))
    sums, components = resampled(groups, square, 3.0 * atoms, resamples=RESAMPLES)
    low, high = np.percentile(np.sqrt(sums / components), INTERVAL)
    top = np.sort(square)[::-1][: max(1, round(0.05 * len(square)))]
    return {
        "force_rms": float(np.sqrt(square.sum() / (3 * atoms.sum()))),
        "force_rms_low": float(low),
        "force_rms_high": float(high),
        "without_forces": int((largest < ZERO_FORCE).sum()),
        **{f"structure_rms_q{round(100 * q)}": float(np.quantile(rms, q)) for q in QUANTILES},
        "structure_rms_max": float(rms.max()),
        "share_of_largest_5_percent": float(top.sum() / square.sum()) if square.sum() > 0.0 else 0.0,
    }


def zero_force_errors(square: np.ndarray, atoms: np.ndarray, sizes: Sequence[int], seed: int = 0) -> dict[int, tuple]:
    """(2.5%, 97.5%) of the RMSE (eV/A) of zero forces on ``sizes`` structures drawn without replacement."""
    rng = np.random.default_rng(seed)
    found = {}
    for size in sizes:
        draws = [rng.permutation(len(square))[:size] for _ in range(RESAMPLES)]
        rmse = [np.sqrt(square[draw].sum() / (3 * atoms[draw].sum())) for draw in draws]
        found[size] = tuple(np.percentile(rmse, INTERVAL).tolist())
    return found


def tail_shape(square: np.ndarray, atoms: np.ndarray) -> tuple[float, float, float] | None:
    """(threshold, shape, scale) of the generalised Pareto tail of ``square`` / (3 mean ``atoms``), in (eV/A)^2.

    Maximum likelihood. None if fewer than `MIN_TAIL` structures lie above the threshold. A shape of 1/2 or more is a
    tail whose variance, of 1 or more one whose mean, does not exist.
    """
    from scipy.stats import genpareto

    values = square / (3 * atoms.mean())
    threshold = float(np.quantile(values, TAIL_STARTS))
    above = values[values > threshold] - threshold
    if len(above) < MIN_TAIL:
        return None
    shape, _, scale = genpareto.fit(above, floc=0.0)
    return threshold, float(shape), float(scale)


def tail_prediction(
    square: np.ndarray, atoms: np.ndarray, size: int, bound: float, *, refits: int = REFITS, seed: int = 0
) -> dict | None:
    """What the tail model says of the RMSE (eV/A) of zero forces on ``size`` further structures.

    ``tail_shape`` with its 95% interval, ``rmse_low`` and ``rmse_high`` (95%), and ``above``: probability that the RMSE
    is above ``bound`` (eV/A). Structures are resampled (``refits`` times), the tail is fitted again and ``size``
    structures are drawn from it, so that the uncertainty of the fit is included. None if there are too few structures
    for a fit.
    """
    from scipy.stats import genpareto

    fitted = tail_shape(square, atoms)
    if fitted is None:
        return None
    rng = np.random.default_rng(seed)
    shapes, rmse = [], []
    while len(rmse) < refits:
        drawn = rng.integers(len(square), size=len(square))
        found = tail_shape(square[drawn], atoms[drawn])
        if found is None:
            continue
        threshold, shape, scale = found
        values = square[drawn] / (3 * atoms[drawn].mean())
        in_tail = rng.binomial(size, float((values > threshold).mean()))
        body = rng.choice(values[values <= threshold], size - in_tail)
        tail = threshold + genpareto.rvs(shape, scale=scale, size=in_tail, random_state=rng)
        shapes.append(shape)
        rmse.append(np.sqrt((body.sum() + tail.sum()) / size))
    (shape_low, shape_high), (low, high) = (np.percentile(values, INTERVAL).tolist() for values in (shapes, rmse))
    return {
        "tail_shape": fitted[1], "tail_shape_low": shape_low, "tail_shape_high": shape_high,
        "rmse_low": low, "rmse_high": high, "above": float((np.array(rmse) > bound).mean()),
    }  # fmt: skip
