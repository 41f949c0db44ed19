"""Table of the physics with optimised cutoffs: differences from a uniform cutoff, beside nulls and tolerances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fcl.evaluation.differences import Difference, difference_with_errors, distance_of_curves, within_tolerance
from fcl.evaluation.statistics import FAILS, UNDECIDED, VERDICTS, NotEvaluated
from fcl.study.read import PathLike, json_of
from fcl.study.tables.common import Column, Table, written

NO_REFERENCE = "no reference"
#: Quantities of the rows, in order, with their units.
RMSD, VOLUME, MODULUS = "distance of the minima (RMSD)", "volume at zero pressure", "bulk modulus"
PHONONS, DRIFT, RDF = "phonons at Γ, RMS difference", "energy drift in NVE", "radial distribution, ∫|Δg| dr"
UNITS = {RMSD: "Å", VOLUME: "Å³/atom", MODULUS: "GPa", PHONONS: "1/cm", DRIFT: "meV/atom/ps", RDF: "Å"}
MINIMUM = "minimum"  # of a structure without reference
COLUMNS = {
    "subset": Column("subset"),
    "structure": Column("no.", "{:.0f}"),
    "formula": Column("structure"),
    "quantity": Column("quantity"),
    "unit": Column("unit"),
    "uniform": Column("uniform", "{:.4g}"),
    "difference": Column("difference", "{:.3g}"),
    "uncertainty": Column("±", "{:.2g}"),
    "other_seed": Column("other seed", "{:.3g}"),
    "repeated": Column("repeated", "{:.3g}"),
    "tolerance": Column("tolerance", "{:.3g}"),
    "verdict": Column("verdict"),
    "reason": Column("reason"),
}
#: Results of one structure, by potential, as in the files of the stages: the reference, the same model with optimised
#: cutoffs, another model at the uniform cutoff, and the reference with other random numbers (dynamics only).
POTENTIALS = (UNIFORM, CALIBRATED, OTHER_SEED, REPEATED) = ("uniform", "calibrated", "other_seed", "repeated")
#: Kinds of failures: not a quantity of this structure; a longer run may have a result. Others are results.
NOT_APPLICABLE, NOT_CONVERGED = "not applicable", "not converged"

Results = Mapping[str, Mapping[str, Any]]


def observable_rows(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike], tolerances: Mapping[str, float]
) -> pd.DataFrame:
    """One row per (structure, quantity), with the columns of `COLUMNS`; subsets in file order.

    ``statics``, ``nve`` and ``rdf`` are the files of these stages, ``tolerances`` those of the configuration
    (`ToleranceSettings`). A structure without reference has a single row. Raises `NotEvaluated` for files of an earlier
    version, `ValueError` for others that lack a key; the message names the file.
    """
    rows = []
    for files, quantities in ((statics, _statics), (nve, _nve), (rdf, _rdf)):
        for file in files:
            rows += _rows_of(file, quantities, tolerances)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {subset: place for place, subset in enumerate(table["subset"].unique())}
    ranked = table.assign(rank=table["subset"].map(order))
    return ranked.sort_values(["rank", "structure"], kind="stable", ignore_index=True).drop(columns="rank")


def _rows_of(file: PathLike, quantities: Callable, tolerances: Mapping[str, float]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with json_of(file) as content:
        for record in content["structures"]:
            labels = {"subset": content["subset"], **{key: record[key] for key in ("structure", "formula")}}
            if "no_reference" not in record:
                name = Path(file).name
                raise NotEvaluated(f"{name} was written by an earlier version, which did not test its references")
            rows += [{**labels, **row} for row in quantities(record, tolerances)]
    return rows


def _row(quantity: str, **others) -> dict[str, Any]:
    empty = dict.fromkeys(("uniform", "difference", "uncertainty", "other_seed", "repeated", "tolerance", "reason"))
    return {"quantity": quantity, "unit": UNITS.get(quantity), **empty, **others}


def _judged(
    quantity: str, results: Results, tolerance: float, compare: Callable[[Any, Any], Difference], **others
) -> Iterator[dict[str, Any]]:
    """The row of a quantity with ``results``; ``compare`` gives the difference of two of them.

    The interval of a sampled quantity is at least as wide as the difference of the repeated run: the blocks of one run
    do not show that runs of one potential may end in different places.
    """
    if results[UNIFORM].get("failure") == NOT_APPLICABLE:
        return
    failed = {name: result for name, result in results.items() if "failure" in result}
    differences = {
        name: compare(result, results[UNIFORM])
        for name, result in results.items() if name != UNIFORM and name not in failed
    }  # fmt: skip
    nulls = {name: differences[name].value for name in (OTHER_SEED, REPEATED) if name in differences}
    reason = "; ".join(f"{name.replace('_', ' ')}: {one['failure']} ({one['reason']})" for name, one in failed.items())
    row = _row(quantity, tolerance=tolerance, reason=reason or None, **nulls, **others)
    if failed.keys() & {CALIBRATED, REPEATED}:
        unclear = REPEATED in failed or failed[CALIBRATED]["failure"] == NOT_CONVERGED
        yield {**row, "verdict": UNDECIDED if unclear else FAILS}
        return
    found = differences[CALIBRATED]
    found = Difference(found.value, max(found.half_width, abs(nulls.get(REPEATED, 0.0))))
    verdict = within_tolerance(found, tolerance)
    yield {**row, "difference": found.value, "uncertainty": found.half_width or None, "verdict": verdict}


def _results(record: Mapping[str, Any], part: str | None = None) -> dict[str, Any]:
    """Results of each potential (``part`` of them)."""
    return {name: record[name][part] if part else record[name] for name in POTENTIALS if name in record}


def _by_key(key: str) -> Callable[[Any, Any], Difference]:
    """Difference of the values under ``key``, which are not sampled and have no interval."""
    return lambda first, second: Difference(first[key] - second[key], 0.0)


def _statics(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    if record["no_reference"]:
        yield _row(MINIMUM, verdict=NO_REFERENCE, reason=record["no_reference"])
        return
    failed = {name: one for name, one in _results(record, "relaxation").items() if "failure" in one}
    distances = {name: {"rmsd": value} for name, value in {UNIFORM: 0.0, **record["rmsd_angstrom"]}.items()}
    yield from _judged(RMSD, distances | failed, tolerances["rmsd"], _by_key("rmsd"))
    if "equation_of_state" in record[UNIFORM]:
        found = _results(record, "equation_of_state")
        for key, quantity, name in (
            ("volume_angstrom3_per_atom", VOLUME, "volume"),
            ("bulk_modulus_gpa", MODULUS, "bulk_modulus"),
        ):
            value = found[UNIFORM].get(key, math.nan)  # none of a molecule
            yield from _judged(quantity, found, tolerances[name] * value, _by_key(key), uniform=value)
    if "phonons" in record[UNIFORM]:
        yield from _judged(PHONONS, _results(record, "phonons"), tolerances["phonons"], _rms_of_modes)


def _rms_of_modes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference:
    """Modes in order of frequency."""
    a, b = (np.array(one["frequencies_per_cm"], dtype=float) for one in (first, second))
    return Difference(float(np.sqrt(((a - b) ** 2).mean())) if len(a) else 0.0, 0.0)


def _nve(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    tolerance, reason = tolerances["drift"], record["no_reference"]
    drift = record[UNIFORM].get("drift_mev_per_atom_ps")
    if not reason and abs(drift) > tolerance:
        reason = f"drifts by {drift:.2g} {UNITS[DRIFT]}"
    if reason:
        yield _row(DRIFT, verdict=NO_REFERENCE, reason=reason)
        return

    def compare(*runs: Mapping[str, Any]) -> Difference:
        first, second = ((run["drift_mev_per_atom_ps"], run["drift_standard_error"]) for run in runs)
        return difference_with_errors(first, second, min(run["blocks"] for run in runs) - 2)

    yield from _judged(DRIFT, _results(record), tolerance, compare, uniform=drift)


def _rdf(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    if record["no_reference"]:
        yield _row(RDF, verdict=NO_REFERENCE, reason=record["no_reference"])
        return
    yield from _judged(RDF, _results(record), tolerances["rdf"], _rdf_difference)


def _rdf_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference:
    """Integral of |g1 - g2| (A)."""
    blocks = (np.array(run["g_blocks"], dtype=float) for run in (first, second))
    found, width = distance_of_curves(*blocks), first["bin_width_angstrom"]
    return Difference(found.value * width, found.half_width * width)


def summary(table: pd.DataFrame) -> str:
    """Number of comparisons per verdict, and of structures and runs without reference."""
    counts, structures = table["verdict"].value_counts(), len(table.drop_duplicates(["subset", "structure"]))
    judged = {verdict: counts[verdict] for verdict in VERDICTS if verdict in counts}
    listed = ", ".join(f"{verdict}: {count}" for verdict, count in judged.items())
    text = f"Of {sum(judged.values())} comparisons: {listed}." if judged else "Nothing could be compared."
    without = table["verdict"] == NO_REFERENCE
    none, runs = (int((without & test).sum()) for test in (table["quantity"] == MINIMUM, table["quantity"] != MINIMUM))
    return f"{text} No reference: {none} of {structures} structures{f', {runs} further runs' if runs else ''}."


@written("tab:observables")
def table_observables(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike], *, tolerances: Mapping[str, float],
    at_lambda: float, uniform_cutoff: float,
) -> Table:  # fmt: skip
    """The table of the calibration at ``at_lambda`` against ``uniform_cutoff`` (A); others as for `observable_rows`."""
    try:
        table = observable_rows(statics, nve, rdf, tolerances)
        counted = summary(table)
    except NotEvaluated as missing:
        table, counted = pd.DataFrame(columns=list(COLUMNS)), f"Not evaluated: {missing}."
    caption = (
        f"Physics of one FCL model with the cutoffs calibrated at λ = {at_lambda:g} for each subset, as differences "
        f"from a uniform cutoff of {uniform_cutoff:g} Å, on structures of the test split. {counted} “other seed” is "
        "the difference of another FCL model at the uniform cutoff, “repeated” that of the same model and cutoff with "
        "other random numbers; ± is a 95% interval of sampled quantities, others have none. A difference holds if all "
        "of its interval is within the tolerance (of config.yaml), and does not hold if none of it is."
    )
    return Table(table, COLUMNS, caption)
