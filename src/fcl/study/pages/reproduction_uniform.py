"""Uniform cutoffs: FCL beside static models and trivial predictions, plateau and upturn, diatomic curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, contrast, verdicts
from fcl.study.claims.shapes import FORCE_RMSE, STATIC_CUTOFFS, turns_by_seed
from fcl.study.errors import ALL, QUANTITIES
from fcl.study.pages.text import FALLS, interval_text, listed, table
from fcl.study.read import read_table
from fcl.study.results import Results
from fcl.study.tables.common import interval_of

#: Of the table ``uniform``, which is judged as a whole (`fcl.study.tables.uniform`).
UNIFORM = ("quantity", "subset", "cutoff_angstrom", "trivial", "fcl", "static", "skill", "static_below_fcl",
           "static_to_fcl", "static_to_fcl_low", "static_to_fcl_high")  # fmt: skip
POOL = "all structures"


def uniform_table(folder: Path) -> pd.DataFrame:
    """The table of errors at uniform cutoffs of the study in ``folder``; `NotEvaluated` if there is none."""
    return read_table(folder / "tables/uniform.csv", UNIFORM)


def against_static(folder: Path, quantities: Sequence[str] = tuple(QUANTITIES)) -> str:
    """Errors of trivial predictions, FCL and static models, pooled and per subset, and who is shown to be better."""
    found = uniform_table(folder)
    found = found[found["quantity"].isin(quantities)]
    cutoffs = sorted(found["cutoff_angstrom"].unique())
    rows = []
    for (quantity, subset), part in found.groupby(["quantity", "subset"], sort=False):
        by_cutoff = part.set_index("cutoff_angstrom")
        cells = [_cell(by_cutoff.loc[cutoff]) for cutoff in cutoffs]
        rows.append((quantity, POOL if subset == ALL else subset, f"{1000.0 * part['trivial'].iloc[0]:.0f}", *cells))
    heads = ("error", "structures", "trivial", *(f"{cutoff:.1f} Å: FCL, static (static to FCL)" for cutoff in cutoffs))
    return f"{_said(found)}\n\n{table(heads, rows)}"


def _cell(row: pd.Series) -> str:
    ratio = interval_of(row, "static_to_fcl", "+.0f", 100.0).replace(" [", "% [")
    return f"{1000.0 * row['fcl']:.0f}, {1000.0 * row['static']:.0f} ({ratio})"


def _said(found: pd.DataFrame) -> str:
    def places(column: str, verdict: str) -> str:
        rows = found[found[column] == verdict]
        names = []
        for (quantity, subset), part in rows.groupby(["quantity", "subset"], sort=False):
            cutoffs = listed(f"{cutoff:g} Å" for cutoff in part["cutoff_angstrom"])
            names.append(f"{quantity} of {POOL if subset == ALL else subset} at {cutoffs}")
        return "; ".join(names) or "nowhere"

    count = (found["static_below_fcl"] == UNDECIDED).sum()
    skill = found["skill"].value_counts()
    return (
        f"Static models are shown to have the lower error: {places('static_below_fcl', HOLDS)}. The one FCL model: "
        f"{places('static_below_fcl', FAILS)}. The other {count} of {len(found)} comparisons are undecided. FCL is "
        "shown to be better than the trivial prediction (zero forces; energies linear in the composition) in "
        f"{skill.get(HOLDS, 0)} of {len(found)}, worse in {skill.get(FAILS, 0)}. Errors in meV/Å and meV/atom, "
        "geometric means of the models; verdicts are adjusted for the number of comparisons (Holm)."
    )


def plateau(results: Results) -> str:
    """FCL error at each cutoff relative to the previous one, of the same models, pooled and per subset."""
    errors = results.uniform
    steps = list(zip(STATIC_CUTOFFS[:-1], STATIC_CUTOFFS[1:], strict=True))
    places = [(subset, below, above) for subset in errors.subsets() for below, above in steps]
    judged = [
        contrast([errors.fcl(FORCE_RMSE, above, subset)], [errors.fcl(FORCE_RMSE, below, subset)])
        .times(100.0, -100.0)
        .judged(0.0)
        for subset, below, above in places
    ]
    found = [FALLS[verdict] for verdict in verdicts(judged)]
    by_subset: dict[str, list[str]] = {}
    said = []
    for (subset, below, above), one, word in zip(places, judged, found, strict=True):
        by_subset.setdefault(POOL if subset == ALL else subset, []).append(
            f"{interval_text(one, '+.1f')}%" + ("" if word == UNDECIDED else f": {word}")
        )
        if subset == ALL:
            verb = "is not shown to change" if word == UNDECIDED else word
            said.append(f"{verb} from {below:.0f} to {above:.0f} Å")
    heads = ("change of FCL's force RMSE", *(f"{below:.0f} to {above:.0f} Å" for below, above in steps))
    rows = [(subset, *cells) for subset, cells in by_subset.items()]
    rule = "The changes of the table are adjusted for their number (Holm); those without a word are undecided."
    return f"Over all structures the error {listed(said)}. {rule}\n\n{table(heads, rows)}"


def diatomics(results: Results) -> str:
    """Number of turning points of the diatomic curves between 3 A and the cutoff."""
    cutoffs = sorted(float(cutoff) for cutoff in results.curves["cutoff_angstrom"].unique())
    turns = {cutoff: results.over_seeds(turns_by_seed(results, cutoff)).judged() for cutoff in cutoffs}
    rows = [(f"{cutoff:.1f} Å", interval_text(one, ".2f")) for cutoff, one in turns.items()]
    return table(("cutoff", "turning points of a curve beyond 3 Å, mean over pairs of atoms (models: 95%)"), rows)
