"""Criteria of the claims about shapes. They are committed before the runs that they judge; docs/claims.md states them.

For a qualitative statement of the paper, the criterion is a list of conditions with a vote of each seed. All have to
hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcl.evaluation.statistics import Estimate, NotEvaluated, contrast, ratio, ratio_of_deviations
from fcl.study.claims.verdicts import Conditions, conditions
from fcl.study.paper import MOLCRYS, SUBSETS
from fcl.study.results import Results

FORCE_RMSE = "force RMSE"

#: Distance (A) beyond the potential wells of H-O, C-C and C-O (bonds of 1.0 to 1.5 A).
BEYOND_WELL = 3.0
#: Turning points with a smaller amplitude (eV) are ignored: a tenth of the differences described in the paper.
NOISE_FLOOR = 0.001
#: Minimum number of turning points of an oscillating curve: one is a well or barrier, two a maximum and a minimum.
OSCILLATES = 2
STATIC_CUTOFFS = (4.0, 5.0, 6.0, 7.0)
LIGHT = ("H", "C", "N", "O", "F")


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
            found[pair, cutoff, int(seed)] = (curve["distance_angstrom"].to_numpy(), curve["energy_ev"].to_numpy())
    return found


def turns_by_seed(results: Results, cutoff: float | None = None) -> dict[int, float]:
    """Turning points of a curve between 3 A and ``cutoff`` (A; None: the largest one of the curves), averaged over the
    atom pairs, by seed."""
    cutoff = float(results.curves["cutoff_angstrom"].max()) if cutoff is None else cutoff
    turns: dict[int, list[int]] = {}
    for (_, _, seed), (distances, energy) in _curves(results, (cutoff,)).items():
        turns.setdefault(seed, []).append(turning_points(energy[distances <= cutoff + 1e-9]))
    return {seed: float(np.mean(values)) for seed, values in turns.items()}


def oscillation(results: Results) -> Conditions:
    """Curves have at least two turning points between 3 A and the cutoff at 7 A, and at most one at 4, 5 and 6 A.

    One condition per (pair, cutoff).
    """
    votes: dict[str, list[bool]] = {}
    for (pair, cutoff, _), (distances, energy) in _curves(results, STATIC_CUTOFFS).items():
        oscillates = turning_points(energy[distances <= cutoff + 1e-9]) >= OSCILLATES
        votes.setdefault(f"{pair} at {cutoff:.0f} A", []).append(oscillates == (cutoff == 7.0))
    return conditions(votes)


def adjacent_difference(results: Results) -> Estimate:
    """Typical |E(r; a) - E(r; b)| (eV) for adjacent cutoffs a < b: 4 and 5, 5 and 6, 6 and 7 A.

    Median over 3 A <= r <= b for each pair and each two cutoffs, then median over these, by seed.
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
    return results.over_seeds({seed: float(np.median(values)) for seed, values in medians.items()})


def error_ratio(results: Results, cutoff: float, reference: float) -> Estimate:
    """Force RMSE of FCL at ``cutoff`` relative to ``reference`` (A), same models."""
    return contrast([results.uniform.fcl(FORCE_RMSE, cutoff)], [results.uniform.fcl(FORCE_RMSE, reference)])


def static_to_fcl(results: Results) -> dict[str, Estimate]:
    """Ratio static / FCL of the force RMSE at 4, 5, 6 and 7 A; all must be below the bound."""
    errors = results.uniform
    return {
        f"{cutoff:.0f} A": ratio(errors.static(FORCE_RMSE, cutoff), errors.fcl(FORCE_RMSE, cutoff), paired=False)
        for cutoff in STATIC_CUTOFFS
    }


def static_spread(results: Results) -> dict[str, Estimate]:
    """Standard deviation over seeds of the static force RMSE at 7 A, relative to those at 4, 5 and 6 A."""
    errors = {cutoff: results.uniform.static(FORCE_RMSE, cutoff).values().tolist() for cutoff in STATIC_CUTOFFS}
    return {f"7 A to {c:.0f} A": ratio_of_deviations(errors[7.0], errors[c]) for c in STATIC_CUTOFFS[:-1]}


def extreme_subset(results: Results, subset: str, elements: Sequence[str], lam: float, largest: bool) -> Conditions:
    """For each element, ``subset`` has the largest (or smallest) optimised cutoff of the four subsets.

    Elements not calibrated in all four subsets are excluded (the paper compares those common to all).
    """
    tables = {name: results.element_cutoffs_by_seed(name, lam) for name in SUBSETS}
    votes = {}
    for element in elements:
        if all(element in table for table in tables.values()):
            own, others = tables[subset][element], [tables[name][element] for name in SUBSETS if name != subset]
            rivals = {s: [other[s] for other in others] for s in own if all(s in other for other in others)}
            votes[element] = [own[s] > max(found) if largest else own[s] < min(found) for s, found in rivals.items()]
    return conditions(votes, of=len(elements))


def cutoffs_within(results: Results, elements: Sequence[str], lam: float, low: float, high: float) -> Conditions:
    """Each of ``elements`` has an optimised cutoff between ``low`` and ``high`` (A) in the molecular crystals."""
    table = results.element_cutoffs_by_seed(MOLCRYS, lam)
    inside = {
        f"{element} in {low}-{high} A": [low - 1e-6 <= cutoff <= high + 1e-6 for cutoff in table[element].values()]
        for element in elements
        if element in table
    }
    return conditions(inside, of=len(elements))


def concentrated_cutoffs(results: Results, lam: float) -> Conditions:
    """Most cutoffs lie in 3.5-4.5 A, those of H, C, N, O and F below 4.0 A, those of Mg and K above 4.5 A."""
    table = results.element_cutoffs_by_seed(MOLCRYS, lam)
    if not table:
        raise NotEvaluated(f"no element of {MOLCRYS} has a cutoff of its own at lambda {lam:g}")
    inside = np.array([[3.5 - 1e-6 <= cutoff <= 4.5 for cutoff in values.values()] for values in table.values()])
    votes = {"most in 3.5-4.5 A": (inside.mean(0) > 0.5).tolist()}
    votes |= {f"{name} below 4.0 A": [c < 4.0 for c in table[name].values()] for name in LIGHT if name in table}
    votes |= {f"{name} above 4.5 A": [c > 4.5 for c in table[name].values()] for name in ("Mg", "K") if name in table}
    return conditions(votes, of=8)


def sodium_below(results: Results, lam: float) -> Conditions:
    """The cutoff of Na is smaller than those of P, S and Cl."""
    table = results.element_cutoffs_by_seed(MOLCRYS, lam)
    if "Na" not in table:
        raise NotEvaluated(f"the calibration structures of {MOLCRYS} hold no Na, or too few")
    others = [symbol for symbol in ("P", "S", "Cl") if symbol in table]
    votes = {f"Na below {name}": [table["Na"][seed] < c for seed, c in table[name].items()] for name in others}
    return conditions(votes, of=3)
