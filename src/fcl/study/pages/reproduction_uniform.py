"""Uniform cutoffs: FCL against static models, plateau and upturn, diatomic curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcl.evaluation.statistics import Difference, NotEvaluated, paired_difference, unpaired_difference
from fcl.study.claims.shapes import STATIC_CUTOFFS, turns_by_seed
from fcl.study.pages.text import difference_text, listed, mean_text, table
from fcl.study.results import Results

PERCENT = 100.0
MEV = 1000.0


def _cutoffs(cutoffs: Sequence[float]) -> str:
    return listed((f"{cutoff:.0f} Å" for cutoff in cutoffs), "no cutoff")


def against_static(results: Results) -> str:
    """Test force RMSE of FCL and of static models at each static cutoff, and which is lower."""
    rows, lower = [], {"static": [], "FCL": [], "neither": []}
    for cutoff in STATIC_CUTOFFS:
        fcl, static = results.force_rmse("fcl", cutoff), results.force_rmse("static", cutoff)
        difference, mean = unpaired_difference(fcl, static), float(np.mean(list(static.values())))
        name = "neither" if not difference.significant else "static" if difference.value > 0 else "FCL"
        lower[name].append(cutoff)
        relative = Difference(difference.value / mean, difference.half_width / mean)
        cells = (mean_text(fcl, scale=MEV), mean_text(static, scale=MEV))
        rows.append((f"{cutoff:.1f} Å", *cells, difference_text(relative, "{:+.1f}%", PERCENT), name))
    heads = ("cutoff", "FCL (meV/Å)", "static (meV/Å)", "FCL relative to static (95%)", "lower")
    sentence = (
        f"Static models have the lower error at {_cutoffs(lower['static'])}, the one FCL model at "
        f"{_cutoffs(lower['FCL'])}; at {_cutoffs(lower['neither'])} the seeds show no difference."
    )
    return f"{sentence}\n\n{table(heads, rows)}"


def plateau(results: Results) -> str:
    """FCL error at each cutoff relative to the previous one, by seed."""
    rows, sentences = [], []
    for below, above in zip(STATIC_CUTOFFS[:-1], STATIC_CUTOFFS[1:], strict=True):
        first, second = results.force_rmse("fcl", below), results.force_rmse("fcl", above)
        if set(first) != set(second):
            raise NotEvaluated("the cutoffs were evaluated for different seeds")
        ratios = {seed: second[seed] / first[seed] for seed in first}
        change = paired_difference(ratios, dict.fromkeys(ratios, 1.0))
        verb = "shows no change" if not change.significant else "rises" if change.value > 0 else "falls"
        sentences.append(f"{verb} from {below:.0f} to {above:.0f} Å")
        rows.append((f"{above:.0f} Å / {below:.0f} Å", mean_text(ratios, "{:.3f}"), difference_text(change, "{:+.3f}")))
    return f"The error {listed(sentences)}.\n\n{table(('force RMSE of FCL', 'ratio', 'ratio − 1 (95%)'), rows)}"


def diatomics(results: Results) -> str:
    """Number of turning points of the diatomic curves between 3 A and the cutoff."""
    cutoffs = sorted(float(cutoff) for cutoff in results.curves["cutoff_angstrom"].unique())
    turns = {cutoff: turns_by_seed(results, cutoff) for cutoff in cutoffs}
    means = {cutoff: float(np.mean(list(values.values()))) for cutoff, values in turns.items()}
    most = max(means, key=lambda cutoff: means[cutoff])
    rows = [(f"{cutoff:.1f} Å", mean_text(values, "{:.2f}")) for cutoff, values in turns.items()]
    sentence = f"Curves turn most often at {most:g} Å." if max(means.values()) > 0 else "No curve turns."
    heads = ("cutoff", "turning points of a curve beyond 3 Å, mean over pairs of atoms")
    return f"{sentence}\n\n{table(heads, rows)}"
