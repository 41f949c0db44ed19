"""Table of the physics with optimised cutoffs: uniform against calibrated, with tolerances and verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fcl.study.tables.common import Column, PathLike, TableFiles, write_table

WITHIN, OUTSIDE, BOTH_OUTSIDE, NOT_RESOLVED = "within", "outside", "outside in both", "not resolved"
NOT_CONVERGED = "not converged"
COLUMNS = {
    "subset": Column("subset"),
    "structure": Column("no.", "{:.0f}"),
    "formula": Column("structure"),
    "quantity": Column("quantity"),
    "unit": Column("unit"),
    "uniform": Column("uniform", "{:.5g}"),
    "calibrated": Column("calibrated", "{:.5g}"),
    "difference": Column("difference", "{:.3g}"),
    "uncertainty": Column("sampling", "{:.2g}"),
    "tolerance": Column("tolerance", "{:.3g}"),
    "verdict": Column("verdict"),
}


def read_records(files: Sequence[PathLike]) -> list[dict[str, Any]]:
    """Per-structure results from the files of one stage of `fcl.study.stages.observables`, each with its ``subset``.

    Raises `ValueError` naming the file if a key is missing.
    """
    records = []
    for file in files:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        try:
            records += [{"subset": content["subset"], **record} for record in content["structures"]]
        except KeyError as error:
            raise ValueError(f"{file}: key {error} is missing") from None
    return records


def observable_rows(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike], tolerances: Mapping[str, float]
) -> pd.DataFrame:
    """One row per (structure, quantity), with the columns of `COLUMNS`; subsets in file order.

    ``statics``, ``nve`` and ``rdf`` are the files of these stages, ``tolerances`` those of the configuration
    (`ToleranceSettings`). Rows without a tolerance are informative and have no verdict.
    """
    rows = []
    for files, quantities in ((statics, _statics), (nve, _nve), (rdf, _rdf)):
        for record in read_records(files):
            labels = {key: record[key] for key in ("subset", "structure", "formula")}
            rows += [{**labels, **row} for row in quantities(record, tolerances)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {subset: place for place, subset in enumerate(table["subset"].unique())}
    ranked = table.assign(rank=table["subset"].map(order))
    return ranked.sort_values(["rank", "structure"], kind="stable", ignore_index=True).drop(columns="rank")


def _row(quantity: str, unit: str, uniform=None, calibrated=None, difference=None, **others) -> dict[str, Any]:
    """A row; the difference is calibrated minus uniform unless given."""
    if difference is None and uniform is not None and calibrated is not None:
        difference = calibrated - uniform
    values = {"uniform": uniform, "calibrated": calibrated, "difference": difference}
    return {"quantity": quantity, "unit": unit, **values, "uncertainty": None, "tolerance": None, **others}


def _judged(row: dict[str, Any], tolerance: float, failure: str | None = None) -> dict[str, Any]:
    """``row`` with tolerance and verdict on the magnitude of its difference, or the ``failure`` as verdict."""
    return {**row, "tolerance": tolerance, "verdict": failure or _verdict(abs(row["difference"]), tolerance)}


def _verdict(size: float, tolerance: float) -> str:
    return WITHIN if size <= tolerance else OUTSIDE


def _failure(*records: Mapping[str, Any]) -> str | None:
    """Verdict of the first result (uniform, calibrated) without the values; ``in both`` if both fail."""
    found = [record.get("failure") for record in records]
    failed = [name for name in found if name]
    if not failed:
        return None
    if len(set(found)) == 1:
        return failed[0] if failed[0] == "not applicable" else f"{failed[0]} in both"
    return f"{failed[0]} ({'uniform' if found[0] else 'calibrated'})"


def _pair(record: Mapping[str, Any], *keys: str) -> list[Any]:
    """Values of uniform and calibrated under ``keys``."""
    values = [record["uniform"], record["calibrated"]]
    for key in keys:
        values = [value[key] for value in values]
    return values


def _statics(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    uniform, calibrated = _pair(record, "relaxation")
    failure = None if uniform["converged"] and calibrated["converged"] else NOT_CONVERGED
    energies = (1000.0 * values["energy_ev_per_atom"] for values in (uniform, calibrated))
    yield _judged(_row("energy of the minimum", "meV/atom", *energies), tolerances["energy"], failure)
    distance = _row("distance of the minima (RMSD)", "Å", difference=record["rmsd_angstrom"])
    yield _judged(distance, tolerances["rmsd"], failure)
    yield _row("steps of the relaxation", "1", uniform["steps"], calibrated["steps"])
    if "equation_of_state" in record["uniform"]:
        yield from _equation_of_state(*_pair(record, "equation_of_state"), tolerances)
    if "phonons" in record["uniform"]:
        yield from _phonons(*_pair(record, "phonons"), tolerances, failure)  # not a true minimum: no verdict


def _equation_of_state(uniform, calibrated, tolerances) -> Iterator[dict[str, Any]]:
    failure = _failure(uniform, calibrated)
    for key, quantity, unit, name in (
        ("volume_angstrom3_per_atom", "volume at zero pressure", "Å³/atom", "volume"),
        ("bulk_modulus_gpa", "bulk modulus", "GPa", "bulk_modulus"),
    ):
        row = _row(quantity, unit, uniform.get(key), calibrated.get(key))
        size = uniform.get(key)
        yield _judged(row, None if size is None else tolerances[name] * size, failure)


def _phonons(uniform, calibrated, tolerances, unrelaxed: str | None) -> Iterator[dict[str, Any]]:
    failure = _failure(uniform, calibrated) or unrelaxed
    rms = largest = None
    if not failure:
        pairs = zip(uniform["frequencies_per_cm"], calibrated["frequencies_per_cm"], strict=True)
        differences = [b - a for a, b in pairs]  # modes in order of frequency
        rms = math.sqrt(sum(value**2 for value in differences) / max(len(differences), 1))
        largest = max(map(abs, differences), default=0.0)
    yield _judged(_row("phonons at Γ, RMS difference", "1/cm", difference=rms), tolerances["phonon_rms"], failure)
    largest_row = _row("phonons at Γ, largest difference", "1/cm", difference=largest)
    yield _judged(largest_row, tolerances["phonon_max"], failure)
    counts = (values.get("imaginary_modes") for values in (uniform, calibrated))
    yield _judged(_row("imaginary modes at Γ", "1", *counts), 0.0, failure)


def _nve(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    for uniform, calibrated in zip(*_pair(record), strict=True):
        yield _drift(uniform, calibrated, tolerances["drift"])
        ran = [None if "failure" in values else values for values in (uniform, calibrated)]
        for key, quantity, unit in (
            ("mean_temperature_kelvin", "temperature in NVE", "K"),
            ("pairs_per_atom", "pairs per atom in NVE", "1"),
            ("microseconds_per_atom_step", "time of a step in NVE", "µs/atom"),
        ):
            values = (values and values[key] for values in ran)
            yield _row(f"{quantity}, {uniform['timestep_fs']:g} fs", unit, *values)


def _drift(uniform, calibrated, tolerance: float) -> dict[str, Any]:
    """The tolerance applies to the calibrated drift itself; the verdict notes if the uniform drift exceeds it too."""
    drifts = [values.get("drift_mev_per_atom_ps") for values in (uniform, calibrated)]
    failure = _failure(uniform, calibrated)
    row = _row(f"energy drift, {uniform['timestep_fs']:g} fs", "meV/atom/ps", *drifts)
    if failure:
        return _judged(row, tolerance, failure)
    verdict = _verdict(abs(drifts[1]), tolerance)
    if verdict == OUTSIDE and abs(drifts[0]) > tolerance:
        verdict = BOTH_OUTSIDE
    return _judged(row, tolerance, verdict)


def _rdf(record: Mapping[str, Any], tolerances: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    uniform, calibrated = _pair(record)
    failure, tolerance = _failure(uniform, calibrated), tolerances["rdf"]
    quantity, unit = "radial distribution, ∫|Δg| dr", "Å"
    if failure:
        yield _judged(_row(quantity, unit), tolerance, failure)
        return
    difference, chance = rdf_difference(uniform, calibrated)
    verdict = _verdict(difference, tolerance)
    if verdict == OUTSIDE and difference - chance <= tolerance:
        verdict = NOT_RESOLVED
    yield _judged(_row(quantity, unit, difference=difference, uncertainty=chance), tolerance, verdict)


def rdf_difference(uniform: Mapping[str, Any], calibrated: Mapping[str, Any]) -> tuple[float, float]:
    """Integral of |g1 - g2| (A) of two results of `sampled_rdf`, and its expectation from sampling noise alone.

    The latter is the integrated mean of |x| of a normal distribution with the standard errors of both. By the triangle
    inequality the true difference is on average larger than the first minus the second.
    """
    g1, g2, e1, e2 = (
        np.array(record[key], dtype=float) for key in ("g", "g_standard_error") for record in (uniform, calibrated)
    )
    r = np.array(uniform["distances_angstrom"], dtype=float)
    width = r[1] - r[0] if len(r) > 1 else 2.0 * r[0]
    chance = np.sqrt(2.0 / np.pi * (e1**2 + e2**2))
    return float(np.abs(g1 - g2).sum() * width), float(chance.sum() * width)


def summary(table: pd.DataFrame) -> str:
    """Number of comparisons per verdict."""
    verdicts = table["verdict"].dropna()
    counts = verdicts[verdicts != "not applicable"].value_counts()
    listed = ", ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items(), key=_by_count))
    return f"Of {counts.sum()} comparisons: {listed}." if len(counts) else "Nothing could be compared."


def _by_count(item: tuple[str, int]) -> tuple[bool, int, str]:
    verdict, count = item
    return verdict != WITHIN, -count, verdict


def table_observables(
    statics: Sequence[PathLike], nve: Sequence[PathLike], rdf: Sequence[PathLike],
    csv: PathLike, markdown: PathLike, latex: PathLike, html: PathLike, *,
    tolerances: Mapping[str, float], at_lambda: float, uniform_cutoff: float, title: str,
) -> None:  # fmt: skip
    """Write the table; the calibration at ``at_lambda`` against ``uniform_cutoff`` (A), ``title`` names the data."""
    table = observable_rows(statics, nve, rdf, tolerances)
    caption = (
        f"Physics of one FCL model with a uniform cutoff of {uniform_cutoff:g} Å and with the cutoffs calibrated at "
        f"λ = {at_lambda:g} for each subset, on the first structures of its test split. {summary(table)} "
        "Tolerances are in config.yaml; that of the drift is on the calibrated value itself, and a verdict “in both” "
        "says that the uniform cutoff does no better. “sampling” is what statistics alone would give. "
        f"Data of this study: {title}."
    )
    write_table(table, COLUMNS, TableFiles(csv, markdown, latex, html), caption=caption, label="tab:observables")
