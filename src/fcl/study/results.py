"""Read the small result files of a study for the claims; a missing file, row or column is `NotEvaluated`."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Estimate, Family, NotEvaluated
from fcl.evaluation.statistics import error as error_of
from fcl.evaluation.statistics import over_seeds as nested_seeds
from fcl.study.errors import SAME_CUTOFF, CalibratedErrors, UniformErrors

PathLike = str | os.PathLike[str]
#: Fewest structures that a statistic of a sample is made of.
FEWEST_STRUCTURES = 10


@dataclass(frozen=True)
class Results:
    """The result files of one study, read on demand.

    ``errors``: errors per structure at uniform cutoffs; ``cutoffs``: one file per calibration, with its errors per
    structure beside it; ``nests``: seed of the pre-trained model that each FCL model starts from, by its name;
    ``structures``: a row per structure, only if the data are a sample of the paper's.
    """

    errors: tuple[Path, ...] = ()
    histories: tuple[Path, ...] = ()
    diatomics: tuple[Path, ...] = ()
    cutoffs: tuple[Path, ...] = ()
    neighbors: Path | None = None
    elements: Path | None = None
    hyperparameters: Path | None = None
    nests: Mapping[str, int] = field(default_factory=dict)
    structures: Path | None = None

    @classmethod
    def of_files(
        cls, errors: Sequence[PathLike], histories: Sequence[PathLike], diatomics: Sequence[PathLike],
        cutoffs: Sequence[PathLike], neighbors: PathLike, elements: PathLike, hyperparameters: PathLike,
        nests: Mapping[str, int], structures: PathLike | None = None,
    ) -> Results:  # fmt: skip
        """From file paths by kind; the names are those of the folders, see `of_folder`."""
        lists = (tuple(map(Path, files)) for files in (errors, histories, diatomics, cutoffs))
        return cls(*lists, Path(neighbors), Path(elements), Path(hyperparameters), dict(nests), _path(structures))

    @classmethod
    def of_folder(cls, study: PathLike, nests: Mapping[str, int], sample: bool = False) -> Results:
        """Every result file below ``study``, such as results/mini; ``sample``: the data are one of the paper's."""
        study = Path(study)

        def found(pattern: str) -> list[Path]:
            return sorted(path for path in study.glob(pattern) if not path.name.endswith(".manifest.json"))

        models = ("errors/fcl_seed*.csv.gz", "errors/static_*.csv.gz", "errors/trivial.csv.gz")
        return cls.of_files(
            errors=[path for pattern in models for path in found(pattern)],
            histories=found("metrics/history/fcl_seed*.csv"),
            diatomics=found("diatomics/*.csv"),
            cutoffs=found("calibration/*.json"),
            neighbors=study / "data/neighbors.csv",
            elements=study / "data/elements.csv",
            hyperparameters=study / "tables/table02.csv",
            nests=nests,
            structures=study / "data/structures.csv.gz" if sample else None,
        )

    # -- errors per structure, and values of seeds --------------------------------------------------------------------

    @cached_property
    def uniform(self) -> UniformErrors:
        """Errors at uniform cutoffs."""
        return UniformErrors(self.errors, self.nests)

    @cached_property
    def calibrated(self) -> CalibratedErrors:
        """Errors of the calibrations."""
        if not self.cutoffs:
            raise NotEvaluated("no cutoffs file in calibration/")
        return CalibratedErrors([path.with_name(f"{path.stem}_errors.csv.gz") for path in self.cutoffs], self.nests)

    @property
    def seeds(self) -> dict[int, int]:
        """Seeds of the FCL models, with those of the pre-trained models that they start from."""
        return {_seed(model): nest for model, nest in self.nests.items()}

    def over_seeds(self, values: Mapping[int, float]) -> Estimate:
        """Mean of a quantity of each FCL model, by seed."""
        return nested_seeds(values, self.seeds)

    # -- statistics of the data ---------------------------------------------------------------------------------------

    def sampled(self, subset: str, quantity: str) -> Estimate | None:
        """A quantity of ``subset`` over its structures in all splits, with their sampling error, if they are a sample.

        ``quantity``: ``pairs``, the mean over structures of the pairs per atom within 6 A, or the symbol of an element,
        for its fraction of the atoms. None if the data are not a sample of the paper's.
        """
        if self.structures is None:
            return None
        table = _joined("data", (self.structures,), ("subset", "formula", "atoms", "group", "pairs_per_atom_6"))
        rows = table[table["subset"] == subset]
        atoms = rows["atoms"].to_numpy(float)
        if quantity == "pairs":
            sums, counts = rows["pairs_per_atom_6"].to_numpy(float), np.ones_like(atoms)
        else:
            sums, counts = np.array([_atoms_of(quantity, formula) for formula in rows["formula"]]), atoms
        if (sums > 0.0).sum() < FEWEST_STRUCTURES:
            raise NotEvaluated(f"fewer than {FEWEST_STRUCTURES} structures of {subset} hold {quantity}")
        family = Family(sums[None], counts, rows["group"].to_numpy(), np.zeros(1), root=False, fixed=True)
        return error_of(family)

    # -- the whole tables ---------------------------------------------------------------------------------------------

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Diatomic curves: pair, cutoff_angstrom, seed, distance_angstrom, energy_ev."""
        columns = ("pair", "cutoff_angstrom", "seed", "distance_angstrom", "energy_ev")
        return _joined("diatomics", self.diatomics, columns)

    @cached_property
    def _tables(self) -> list[tuple[dict, dict[str, float]]]:
        """(provenance, cutoffs in A by symbol) of each cutoffs file, of elements calibrated each for itself."""
        if not self.cutoffs:
            raise NotEvaluated("no cutoffs file in calibration/")
        tables = []
        for path in self.cutoffs:
            if not path.is_file():
                raise NotEvaluated(f"{path.name} is missing")
            content = json.loads(path.read_text(encoding="utf-8"))
            provenance = content["provenance"]
            shared = (provenance.get("convergence") or {}).get("shared_cutoff", ())
            idle = {*provenance.get("not_calibrated", ()), *shared}
            table = {symbol: radius for symbol, radius in content["cutoffs"].items() if symbol not in idle}
            tables.append((provenance, table))
        return tables

    # -- single numbers -----------------------------------------------------------------------------------------------

    def element_cutoffs_by_seed(self, subset: str, lam: float) -> dict[str, dict[int, float]]:
        """Optimised cutoffs (A) by symbol and seed, for the elements calibrated with every seed."""
        tables = {
            int(provenance["seed"]): table
            for provenance, table in self._tables
            if provenance["subset"] == subset and math.isclose(provenance["lambda"], lam, rel_tol=1e-6)
        }
        if not tables:
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}")
        common = [symbol for symbol in next(iter(tables.values())) if all(symbol in table for table in tables.values())]
        return {symbol: {seed: table[symbol] for seed, table in tables.items()} for symbol in common}

    def average_neighbors(self, split: str, cutoff: float, definition: str) -> float:
        """Average number of neighbours of a split at ``cutoff`` (A) in one of the three definitions."""
        table = _joined("data", _given(self.neighbors), ("split", "cutoff_angstrom", definition))
        rows = table[(table["split"] == split) & _near(table["cutoff_angstrom"], cutoff)]
        if rows.empty:
            raise NotEvaluated(f"{self.neighbors.name}: no row of the {split} split at {cutoff:.1f} A")
        return float(rows[definition].iloc[0])

    def element_fraction(self, split: str, subset: str, element: str) -> float:
        """Fraction of ``element`` among the atoms of a subset of a split; 0 if it does not occur."""
        table = _joined("data", _given(self.elements), ("split", "subset", "element", "fraction"))
        rows = table[(table["split"] == split) & (table["subset"] == subset)]
        if rows.empty:
            raise NotEvaluated(f"{self.elements.name}: the {split} split has no subset {subset}")
        return float(rows.loc[rows["element"] == element, "fraction"].sum())

    def hyperparameter(self, key: str, kind: str) -> float:
        """A number of Table 2: row ``key``, column ``kind`` (static or fcl)."""
        table = _joined("tables", _given(self.hyperparameters), ("key", kind)).set_index("key")
        if key not in table.index:
            raise NotEvaluated(f"{self.hyperparameters.name}: no row {key!r}")
        return float(table.loc[key, kind])

    def mean_sampled_cutoffs(self) -> dict[int, float]:
        """Mean of the cutoffs (A) drawn in FCL training by seed, over the epochs of its history."""
        column = "mean_cutoff_angstrom"
        means = {}
        for path in self.histories:
            table = _joined("metrics/history", (path,), ("epoch",))
            if column not in table or table[column].isna().any():
                raise NotEvaluated(f"{path.name}: the training history has no column {column}")
            means[_seed(path.stem)] = float(table[column].mean())
        if not means:
            raise NotEvaluated("no training history of an FCL model")
        return means


def _given(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)


def _near(column: pd.Series, value: float) -> pd.Series:
    return (pd.to_numeric(column) - value).abs() < SAME_CUTOFF


def _joined(kind: str, files: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """The CSV files of one kind as one table; raises `NotEvaluated` if a file or column is missing."""
    if not files:
        raise NotEvaluated(f"no file in {kind}/")
    tables = []
    for path in files:
        if not path.is_file():
            raise NotEvaluated(f"{path.name} is missing")
        table = pd.read_csv(path)
        missing = [name for name in columns if name not in table]
        if missing:
            raise NotEvaluated(f"{path.name}: column {missing[0]!r} is missing")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _seed(model: str) -> int:
    """7 of ``fcl_seed7``."""
    match = re.fullmatch(r"fcl_seed(\d+)", model)
    if match is None:
        raise ValueError(f"{model!r} is not the name of an FCL model")
    return int(match[1])


def _path(file: PathLike | None) -> Path | None:
    return None if file is None else Path(file)


def _atoms_of(element: str, formula: str) -> float:
    """Number of atoms of ``element`` in a formula such as H4C2O1."""
    return float(dict(re.findall(r"([A-Z][a-z]?)(\d+)", formula)).get(element, 0))
