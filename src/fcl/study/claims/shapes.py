"""Criteria of the claims about shapes. They were written before the paper's study was run; docs/claims.md states them.

For a qualitative statement of the paper, the criterion is a list of conditions and the value is the fraction of them
that hold; the claim is reproduced if all hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims.measured import Measured, over_seeds, ratio, share
from fcl.study.results import Results

#: Distance (A) beyond the potential wells of H-O, C-C and C-O (bonds of 1.0 to 1.5 A).
BEYOND_WELL = 3.0
#: Turning points with a smaller amplitude (eV) are ignored: a tenth of the differences described in the paper.
NOISE_FLOOR = 0.001
#: Minimum number of turning points of an oscillating curve: one is a well or barrier, two a maximum and a minimum.
OSCILLATES = 2
STATIC_CUTOFFS = (4.0, 5.0, 6.0, 7.0)
LIGHT = ("H", "C", "N", "O", "F")
SUBSETS = ("MC3D", "MC2D", "SHIFTML-molcrys", "SHIFTML-molfrags")


def turning_points(energy: np.ndarray, floor: float = NOISE_FLOOR) -> int:
    """Number of sign changes of dE/dr along ``energy`` [n] (eV), with each rise or fall exceeding ``floor``.

    A turning point counts once the curve has moved back from the extremum by more than ``floor``.
    """
    turns, direction = 0, 0
    low = high = extreme = float(energy[0])
    for value in np.asarray(energy, dtype=float)[1:]:
        if direction == 0:
            low, high = min(low, value), max(high, value)
            if value - low > floor or high - value > floor:
                direction, extreme = (1 if value - low > floor else -1), value
        elif direction * (value - extreme) >= 0.0:
            extreme = value
        elif abs(value - extreme) > floor:
            turns, direction, extreme = turns + 1, -direction, value
    return turns


def _curves(results: Results, cutoffs: Sequence[float]) -> dict[tuple[str, float, int], tuple[np.ndarray, np.ndarray]]:
    """(pair, cutoff, seed) -> distances and energies beyond the well; `NotEvaluated` if one is missing or too short."""
    table = results.curves
    table = table[table["distance_angstrom"] >= BEYOND_WELL - 1e-9]
    found = {}
    for (pair, seed), rows in table.groupby(["pair", "seed"], sort=True):
        for cutoff in cutoffs:
            curve = rows[np.isclose(rows["cutoff_angstrom"], cutoff)].sort_values("distance_angstrom")
            if curve.empty or curve["distance_angstrom"].max() < cutoff - 0.1:
                raise NotEvaluated(f"no diatomic curve of {pair} at {cutoff:.1f} A, or it ends before the cutoff")
            found[pair, cutoff, int(seed)] = (
                curve["distance_angstrom"].to_numpy(),
                curve["energy_ev"].to_numpy(),
            )
    return found


def turns_by_seed(results: Results, cutoff: float | None = None) -> dict[int, float]:
    """Turning points of a curve between 3 A and ``cutoff`` (A; None: the largest one of the curves), averaged over the
    atom pairs, by seed."""
    cutoff = float(results.curves["cutoff_angstrom"].max()) if cutoff is None else cutoff
    turns: dict[int, list[int]] = {}
    for (_, _, seed), (distances, energy) in _curves(results, (cutoff,)).items():
        turns.setdefault(seed, []).append(turning_points(energy[distances <= cutoff + 1e-9]))
    return {seed: float(np.mean(values)) for seed, values in turns.items()}


def oscillation(results: Results) -> Measured:
    """Curves have at least two turning points between 3 A and the cutoff at 7 A, and at most one at 4, 5 and 6 A.

    One condition per (pair, cutoff); it must hold for more than half of the seeds.
    """
    votes: dict[str, list[bool]] = {}
    for (pair, cutoff, _), (distances, energy) in _curves(results, STATIC_CUTOFFS).items():
        oscillates = turning_points(energy[distances <= cutoff + 1e-9]) >= OSCILLATES
        votes.setdefault(f"{pair} at {cutoff:.0f} A", []).append(oscillates == (cutoff == 7.0))
    return share({name: 2 * sum(held) > len(held) for name, held in votes.items()})


def adjacent_difference(results: Results) -> Measured:
    """Typical |E(r; a) - E(r; b)| (eV) for adjacent cutoffs a < b: 4 and 5, 5 and 6, 6 and 7 A.

    Median over 3 A <= r <= b for each pair and each two cutoffs, then median over these, then mean over seeds.
    """
    curves = _curves(results, STATIC_CUTOFFS)
    medians: dict[int, list[float]] = {}
    for pair, cutoff, seed in curves:
        larger = cutoff + 1.0
        if (pair, larger, seed) in curves:
            (distances, first), (other, second) = curves[pair, cutoff, seed], curves[pair, larger, seed]
            if not np.array_equal(distances, other):
                raise NotEvaluated(f"the curves of {pair} at {cutoff:.0f} and {larger:.0f} A have other distances")
            inside = distances <= larger + 1e-9
            medians.setdefault(seed, []).append(float(np.median(np.abs(first - second)[inside])))
    return over_seeds({seed: float(np.median(values)) for seed, values in medians.items()})


def error_ratio(results: Results, cutoff: float, reference: float) -> Measured:
    """Force RMSE of FCL at ``cutoff`` relative to ``reference`` (A), same models."""
    return ratio(results.force_rmse("fcl", cutoff), results.force_rmse("fcl", reference), paired=True)


def static_to_fcl(results: Results) -> Measured:
    """Largest ratio static / FCL of the force RMSE at 4, 5, 6 and 7 A; all must be below the bound."""
    ratios = {
        cutoff: ratio(results.force_rmse("static", cutoff), results.force_rmse("fcl", cutoff), paired=False)
        for cutoff in STATIC_CUTOFFS
    }
    worst = max(ratios, key=lambda cutoff: ratios[cutoff].value + (ratios[cutoff].standard_error or 0.0))
    note = ", ".join(f"{measured.value:.3f} at {cutoff:.0f} A" for cutoff, measured in ratios.items())
    return Measured(ratios[worst].value, ratios[worst].standard_error, note)


def static_spread(results: Results) -> Measured:
    """Standard deviation over seeds of the static force RMSE at 7 A, relative to the largest at 4, 5 and 6 A."""
    spread = {}
    for cutoff in STATIC_CUTOFFS:
        errors = list(results.force_rmse("static", cutoff).values())
        if len(errors) < 2:
            raise NotEvaluated("a standard deviation needs at least two seeds")
        spread[cutoff] = float(np.std(errors, ddof=1))
    note = ", ".join(f"{1000 * value:.2f} meV/A at {cutoff:.0f} A" for cutoff, value in spread.items())
    return Measured(spread[7.0] / max(spread[cutoff] for cutoff in STATIC_CUTOFFS[:-1]), None, note)


def extreme_subset(results: Results, subset: str, elements: Sequence[str], lam: float, largest: bool) -> Measured:
    """For each element, ``subset`` has the largest (or smallest) optimised cutoff of the four subsets.

    Elements not calibrated in all four subsets are excluded (the paper compares those common to all).
    """
    tables = {name: results.element_cutoffs(name, lam) for name in SUBSETS}
    conditions = {}
    for element in elements:
        if all(element in table for table in tables.values()):
            others = [tables[name][element] for name in SUBSETS if name != subset]
            own = tables[subset][element]
            conditions[element] = own > max(others) if largest else own < min(others)
    return share(conditions, of=len(elements))


def cutoffs_within(results: Results, elements: Sequence[str], lam: float, low: float, high: float) -> Measured:
    """Each of ``elements`` has an optimised cutoff between ``low`` and ``high`` (A) in the molecular crystals."""
    table = results.element_cutoffs("SHIFTML-molcrys", lam)
    conditions = {
        f"{element} in {low}-{high} A": low - 1e-6 <= table[element] <= high + 1e-6
        for element in elements
        if element in table
    }
    return share(conditions, of=len(elements))


def concentrated_cutoffs(results: Results, lam: float) -> Measured:
    """Most cutoffs lie in 3.5-4.5 A, those of H, C, N, O and F below 4.0 A, those of Mg and K above 4.5 A."""
    table = results.element_cutoffs("SHIFTML-molcrys", lam)
    inside = [3.5 - 1e-6 <= cutoff <= 4.5 for cutoff in table.values()]
    conditions = {"most in 3.5-4.5 A": 2 * sum(inside) > len(inside)}
    conditions |= {f"{symbol} below 4.0 A": table[symbol] < 4.0 for symbol in LIGHT if symbol in table}
    conditions |= {f"{symbol} above 4.5 A": table[symbol] > 4.5 for symbol in ("Mg", "K") if symbol in table}
    return share(conditions, of=8)


def sodium_below(results: Results, lam: float) -> Measured:
    """The cutoff of Na is smaller than those of P, S and Cl."""
    table = results.element_cutoffs("SHIFTML-molcrys", lam)
    if "Na" not in table:
        raise NotEvaluated("the calibration structures of SHIFTML-molcrys hold no Na")
    others = [symbol for symbol in ("P", "S", "Cl") if symbol in table]
    return share({f"Na below {symbol}": table["Na"] < table[symbol] for symbol in others}, of=3)
