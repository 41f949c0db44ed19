"""Errors at uniform cutoffs: FCL, static models and trivial predictions, per subset, with intervals and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fcl.evaluation.statistics import level, relative, verdicts
from fcl.study.errors import QUANTITIES, UniformErrors
from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, interval_cells, ranged, written

#: Errors in meV/A and meV/atom, ratios as differences in percent.
SHOWN = {
    "quantity": Column("error"),
    "subset": Column("subset"),
    "cutoff_angstrom": Column("cutoff (Å)", "{:.1f}"),
    "pairs_per_atom": Column("pairs per atom", "{:.1f}"),
    "trivial": Column("trivial", "{:.0f}", 1000.0),
    **ranged("fcl", "FCL", ".0f", 1000.0),
    **ranged("static", "static", ".0f", 1000.0),
    **ranged("fcl_to_trivial", "FCL to trivial", "+.1f", 100.0),
    "skill": Column("FCL better than trivial"),
    **ranged("static_to_fcl", "static to FCL", "+.1f", 100.0),
    "static_below_fcl": Column("static better than FCL"),
}


def uniform_errors_table(errors: UniformErrors, cutoffs: Sequence[float]) -> pd.DataFrame:
    """One row per (error, subset, cutoff).

    Verdicts on "FCL better than trivial" and "static better than FCL" are adjusted for the number of rows (Holm), each
    kind by itself. Force errors are relative to zero forces, energies to the fit on composition.
    """
    rows, skills, comparisons = [], [], []
    for quantity in QUANTITIES:
        for subset in errors.subsets():
            trivial = errors.trivial(quantity, subset)
            for cutoff in cutoffs:
                fcl, static = (of(quantity, cutoff, subset) for of in (errors.fcl, errors.static))
                # a trivial prediction is not a model: each FCL model is compared with the same one
                skill = relative(fcl, trivial, paired=False)
                comparison = relative(static, fcl, paired=False)
                row = {"quantity": quantity, "subset": subset, "cutoff_angstrom": cutoff}
                row |= {"unit": QUANTITIES[quantity].unit, "pairs_per_atom": errors.pairs_per_atom(cutoff, subset)}
                row |= {"structures": fcl.sums.shape[1], "groups": skill.groups, "trivial": level(trivial).value}
                row |= {"fcl_models": skill.models, "fcl_nests": skill.nests, "static_models": len(static.sums)}
                row |= interval_cells("fcl", level(fcl)) | interval_cells("static", level(static))
                row |= interval_cells("fcl_to_trivial", skill) | interval_cells("static_to_fcl", comparison)
                row |= {"votes_fcl_below_trivial": skill.share, "votes_static_below_fcl": comparison.share}
                rows.append(row)
                skills.append(skill)
                comparisons.append(comparison)
    table = pd.DataFrame(rows)
    return table.assign(skill=verdicts(skills), static_below_fcl=verdicts(comparisons))


@written("tab:uniform")
def table_uniform(files: Sequence[PathLike], *, nests: Mapping[str, int], cutoffs: Sequence[float]) -> Table:
    """The table of errors at uniform ``cutoffs`` (A); ``files`` and ``nests`` as for `UniformErrors`."""
    table = uniform_errors_table(UniformErrors(files, nests), cutoffs)
    first = table.iloc[0]
    caption = (
        "Errors on the test structures at uniform cutoffs, in meV/Å and meV/atom, with 95% intervals: groups of "
        f"structures are resampled ({first['groups']} groups in all), models are nested in their pre-trained models "
        f"({first['fcl_models']} FCL models from {first['fcl_nests']} pre-trained, {first['static_models']} static "
        "models per cutoff). Trivial: zero forces; energies linear in the composition, fitted on the training split. "
        "Ratios are given as differences in percent. Verdicts: votes of all (pairs of) models in all resamples, "
        "adjusted for the number of rows (Holm)."
    )
    return Table(table, SHOWN, caption)
