"""Reading of result files; what is missing is `NotEvaluated`, by the name of the file in its study."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from fcl.config.types import SYMBOLS
from fcl.evaluation.statistics import NotEvaluated

PathLike = str | os.PathLike[str]
#: Columns of diatomic curves that are read.
CURVES = ("pair", "cutoff_angstrom", "seed", "distance_angstrom", "energy_ev")


def read_table(file: PathLike, columns: Sequence[str] = (), otherwise: str = "", **options) -> pd.DataFrame:
    """A CSV file; `NotEvaluated` if it is missing, empty, or of a version without one of the ``columns``.

    ``otherwise``: what is said of a missing file; ``options`` are those of `pandas.read_csv`.
    """
    name = "/".join(Path(file).parts[-2:])
    if not Path(file).is_file():
        raise NotEvaluated(otherwise or f"{name} is missing")
    table = pd.read_csv(file, **options)
    missing = [column for column in columns if column not in table]
    if missing:
        raise NotEvaluated(f"{name} is of an older version: it has no column {missing[0]!r}")
    if table.empty:
        raise NotEvaluated(f"{name} has no rows")
    return table


def read_tables(files: Sequence[PathLike], columns: Sequence[str], folder: str) -> pd.DataFrame:
    """CSV files of the same kind, from ``folder`` of a study, as one table; `NotEvaluated` also if there are none."""
    if not files:
        raise NotEvaluated(f"no file in {folder}/")
    return pd.concat([read_table(file, columns) for file in files], ignore_index=True)


def read_curves(files: Sequence[PathLike]) -> pd.DataFrame:
    """Diatomic curves (``diatomics/*.csv``) with at least the columns `CURVES`."""
    return read_tables(files, CURVES, "diatomics")


@contextmanager
def json_of(file: PathLike) -> Iterator[Any]:
    """The content of a JSON file; a key that is missing inside the block is a `ValueError` naming file and key."""
    if not Path(file).is_file():
        raise NotEvaluated(f"{'/'.join(Path(file).parts[-2:])} is missing")
    try:
        yield json.loads(Path(file).read_text(encoding="utf-8"))
    except KeyError as error:
        raise ValueError(f"{file}: key {error} is missing") from None


def read_calibrations(files: Sequence[PathLike]) -> pd.DataFrame:
    """Calibrated cutoffs (``calibration/*.json``), one row per element of each file, in file order.

    Columns: ``subset``, ``lambda``, ``element``, ``atomic_number``, ``seed``, ``cutoff_angstrom``, ``calibrated``
    (false if an element is not in the calibration structures and kept its initial cutoff) and ``shared`` (elements in
    too few structures share one cutoff; files without this entry are older than that, and have none).

    Raises `NotEvaluated` if no files were given, or one is missing, ValueError naming file and key if a file lacks a
    key or has a cutoff for an unknown element.
    """
    if not files:
        raise NotEvaluated("no cutoffs file in calibration/")
    rows = []
    for file in files:
        with json_of(file) as content:
            provenance = content["provenance"]
            subset, lam, seed = (provenance[key] for key in ("subset", "lambda", "seed"))
            cutoffs, kept = content["cutoffs"], provenance["not_calibrated"]
        unknown = [element for element in cutoffs if element not in SYMBOLS]
        if unknown:
            raise ValueError(f"{file}: cutoffs: {unknown[0]!r} is not a chemical symbol")
        shared = (provenance.get("convergence") or {}).get("shared_cutoff", ())
        rows += [
            (subset, lam, e, 1 + SYMBOLS.index(e), seed, float(cutoff), e not in kept, e in shared)
            for e, cutoff in cutoffs.items()
        ]
    names = ["subset", "lambda", "element", "atomic_number", "seed", "cutoff_angstrom", "calibrated", "shared"]
    return pd.DataFrame(rows, columns=names)


def read_choices(files: Sequence[PathLike]) -> pd.DataFrame:
    """Choices of lambda (``choice/*.json``), one row per (subset, seed).

    Columns: these two, ``lambda`` (NaN: none), ``max_error_increase``, and ``share`` of the resamples that choose it.
    Raises as `read_calibrations`.
    """
    if not files:
        raise NotEvaluated("no choice of lambda in choice/")
    rows = []
    for file in files:
        with json_of(file) as content:
            row = {name: content[name] for name in ("subset", "seed", "lambda", "max_error_increase")}
            shares = {trial["lambda"]: trial["share_of_resamples"] for trial in content["trials"]}
            rows.append(row | {"share": shares[content["lambda"]]})
    return pd.DataFrame(rows).astype({"lambda": float})
