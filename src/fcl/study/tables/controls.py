"""Optimised cutoffs beside uniform ones of the same model with as many pairs, and beside static models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Family, Judgement, level, relative, verdicts
from fcl.study.errors import QUANTITIES, CalibratedErrors, UniformErrors, family, mean_pairs, median_force_rmse
from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, interval_cells, interval_of, ranged, written

NO_SKILL = "no verdict: no better than trivial"
#: Comparisons of the table: the second of each is compared with optimised cutoffs.
CONTROLS = ("initial", "uniform", "static")
#: Splits on which cutoffs can be calibrated.
SPLITS = ("train", "val")
SHOWN = {
    "quantity": Column("error"),
    "subset": Column("subset"),
    "lambda": Column("λ", "{:.0e}"),
    "saving": Column("pairs saved", "{:.0%}"),
    "pairs_per_atom": Column("pairs per atom", "{:.1f}"),
    "trivial": Column("trivial", "{:.0f}", 1000.0),
    "optimised_text": Column("optimised"),
    "uniform_text": Column("uniform, equal pairs"),
    "static_text": Column("static, nearest pairs"),
    **ranged("optimised_to_trivial", "optimised to trivial", "+.1f", 100.0),
    **ranged("optimised_to_initial", "optimised to start", "+.1f", 100.0),
    **ranged("optimised_to_uniform", "optimised to uniform", "+.1f", 100.0),
    "below_uniform": Column("better than uniform"),
    **ranged("optimised_to_static", "optimised to static", "+.1f", 100.0),
    "below_static": Column("better than static"),
}


def nearest_static(errors: UniformErrors, subset: str, pairs: float) -> float:
    """The cutoff (A) of the static models whose pairs per atom are nearest to ``pairs``, by their ratio."""

    def distance(cutoff: float) -> float:
        return abs(math.log(mean_pairs(errors.static_tables(cutoff, subset)) / pairs))

    return min(errors.static_cutoffs(), key=distance)


def judged(
    calibrated: CalibratedErrors, errors: UniformErrors, quantity: str, subset: str,
    lam: float | Mapping[int, float | None],
) -> tuple[dict, dict[str, Judgement]]:  # fmt: skip
    """One row of a table, without verdicts, and what these are made of.

    Judgements: ``optimised_to_initial``, ``..._to_uniform`` and ``..._to_static``, and the skill of each configuration
    over trivial predictions (``..._to_trivial``).
    """
    tables = {name: calibrated.tables(subset, lam, name) for name in ("initial", "optimised", "uniform")}
    pairs = {name: mean_pairs(table) for name, table in tables.items()}
    cutoff = nearest_static(errors, subset, pairs["optimised"])
    tables["static"] = errors.static_tables(cutoff, subset)
    nests = calibrated.nests(subset)
    families: dict[str, Family] = {name: family(tables[name], quantity, nests) for name in pairs}
    families["static"] = errors.static(quantity, cutoff, subset)
    trivial, optimised = errors.trivial(quantity, subset), families["optimised"]
    found = {f"{name}_to_trivial": relative(one, trivial, paired=False) for name, one in families.items()}
    for name in CONTROLS:
        found[f"optimised_to_{name}"] = relative(optimised, families[name], paired=name != "static")
    row = {"quantity": quantity, "subset": subset, "unit": QUANTITIES[quantity].unit}
    row |= {"structures": len(optimised.counts), "groups": found["optimised_to_uniform"].groups}
    row |= {"fcl_models": len(nests), "fcl_nests": len(set(nests)), "static_models": len(tables["static"])}
    row |= {"initial_pairs": pairs["initial"], "pairs_per_atom": pairs["optimised"], "uniform_pairs": pairs["uniform"]}
    row["saving"] = 1.0 - pairs["optimised"] / pairs["initial"]
    row["uniform_cutoff_angstrom"] = float(np.mean([table["cutoff_angstrom"].iloc[0] for table in tables["uniform"]]))
    row |= {"static_cutoff_angstrom": cutoff, "static_pairs": mean_pairs(tables["static"])}
    for name, one in families.items():
        row |= interval_cells(name, level(one))
        row[f"{name}_median"] = median_force_rmse(tables[name]) if quantity == "force RMSE" else math.nan
    row["trivial"] = level(trivial).value
    for name in ("optimised_to_trivial", *(f"optimised_to_{control}" for control in CONTROLS)):
        row |= interval_cells(name, found[name])
        row[f"votes_{name}"] = found[name].share
    return row, found


def where_skilled(judged: Sequence[str], found: Sequence[Mapping[str, Judgement]], control: str) -> np.ndarray:
    """Verdicts on optimised cutoffs against ``control``, but none where neither is better than trivial predictions.

    That is a condition for the verdicts, not a finding of the table: the interval of each row decides by itself.
    """
    skills = [[one[f"{name}_to_trivial"].high < 0.0 for one in found] for name in ("optimised", control)]
    return np.where(np.array(skills).any(0), judged, NO_SKILL)


def with_verdicts(rows: Sequence[dict], found: Sequence[Mapping[str, Judgement]]) -> pd.DataFrame:
    """The rows with verdicts on skill, "better than uniform" and "better than static", the latter two by Holm."""
    table = pd.DataFrame(rows).assign(skill=[one["optimised_to_trivial"].verdict for one in found])
    for name in ("uniform", "static"):
        judged = verdicts([one[f"optimised_to_{name}"] for one in found])
        table[f"below_{name}"] = where_skilled(judged, found, name)
    return table


def controls_table(
    calibrated: CalibratedErrors, errors: UniformErrors, others: Mapping[str, CalibratedErrors] | None = None
) -> pd.DataFrame:
    """One row per (error, subset, lambda).

    ``others``: calibrations of the same models on another split, by its name; for each of them pairs, error and
    difference to its own uniform cutoff of equal pairs.
    """
    rows, found = [], []
    for quantity in QUANTITIES:
        for subset in calibrated.subsets():
            for lam in calibrated.lambdas(subset):
                row, judgements = judged(calibrated, errors, quantity, subset, lam)
                row["lambda"] = lam
                for name, other in (others or {}).items():
                    own = {c: other.tables(subset, lam, c) for c in ("optimised", "uniform")}
                    pair = [family(own[c], quantity, other.nests(subset)) for c in own]
                    row |= {f"{name}_pairs": mean_pairs(own["optimised"])} | interval_cells(name, level(pair[0]))
                    row |= interval_cells(f"{name}_to_uniform", relative(*pair, paired=True))
                rows.append(row)
                found.append(judgements)
    return with_verdicts(rows, found)


def columns_of(table: pd.DataFrame) -> dict[str, Column]:
    """The columns shown of a table of controls, also for calibrations on another split."""
    further = [split for split in SPLITS if f"{split}_to_uniform" in table]
    return SHOWN | {f"{split}_text": Column(f"calibrated on {split}: pairs, error, to uniform") for split in further}


def texts(table: pd.DataFrame) -> dict[str, list[str]]:
    """Cells of the columns shown, for a table of `judged` rows."""

    def error(name: str) -> list[str]:
        medians = ["" if math.isnan(m) else f" (median {1000.0 * m:.0f})" for m in table[f"{name}_median"]]
        return [f"{1000.0 * value:.0f}{median}" for value, median in zip(table[name], medians, strict=True)]

    static = zip(error("static"), table["static_cutoff_angstrom"], table["static_pairs"], strict=True)
    uniform = zip(error("uniform"), table["uniform_cutoff_angstrom"], strict=True)
    cells = {"uniform_text": [f"{text} at {cutoff:.2f} Å" for text, cutoff in uniform]}
    cells["static_text"] = [f"{text} at {cutoff:.1f} Å, {pairs:.1f} pairs" for text, cutoff, pairs in static]
    cells["optimised_text"] = error("optimised")
    for split in SPLITS:
        if f"{split}_to_uniform" in table:
            changes = (interval_of(row, f"{split}_to_uniform", "+.1f", 100.0) for row in table.to_dict("records"))
            own = zip(table[f"{split}_pairs"], table[split], changes, strict=True)
            cells[f"{split}_text"] = [f"{pairs:.1f}, {1000.0 * value:.0f}, {change}" for pairs, value, change in own]
    return cells


def how(table: pd.DataFrame) -> str:
    """What intervals and verdicts are, for captions."""
    first = table.iloc[0]
    return (
        "in meV/Å and meV/atom (median: over structures, of the RMSE of each). Trivial: zero forces; energies linear "
        "in the composition. Differences in percent with 95% intervals: groups of structures are resampled, models are "
        f"nested in their pre-trained models ({first['fcl_models']} FCL models from {first['fcl_nests']} pre-trained, "
        f"{first['static_models']} static models); with a single model the interval is that of the structures only. "
        "Verdicts: votes of all (pairs of) models in all resamples, adjusted for the number of rows (Holm); none where "
        "neither side is better than trivial predictions."
    )


@written("tab:controls")
def table_controls(
    files: Sequence[PathLike], uniform: Sequence[PathLike], others: Sequence[PathLike], *, nests: Mapping[str, int],
    split: str,
) -> Table:  # fmt: skip
    """The table of controls; ``nests`` as for `UniformErrors`.

    ``files``: ``calibration/*_errors.csv.gz`` of calibrations on ``split``; ``others``: of those on the other split;
    ``uniform``: ``errors/*.csv.gz`` of FCL, static and trivial predictions.
    """
    (other,) = set(SPLITS) - {split}
    further = {other: CalibratedErrors(others, nests)} if others else {}
    table = controls_table(CalibratedErrors(files, nests), UniformErrors(uniform, nests), further)
    note = f" Last column: the same models calibrated on the {other} split instead of the {split} split."
    caption = (
        "Errors on the test structures with optimised cutoffs, with the uniform cutoff of the same model that keeps as "
        f"many pairs, and of the static models whose pairs are nearest, {how(table)}{note if further else ''}"
    )
    return Table(table, columns_of(table), caption, texts(table))
