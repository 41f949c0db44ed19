"""Read the small result files of a study for the claims; a missing file, row or column is `NotEvaluated`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import NotEvaluated

PathLike = str | os.PathLike[str]
SAME_CUTOFF = 1e-6  # A: cutoffs that differ by less are considered equal


@dataclass(frozen=True)
class Results:
    """The result files of one study, read on demand."""

    metrics: tuple[Path, ...] = ()
    histories: tuple[Path, ...] = ()
    diatomics: tuple[Path, ...] = ()
    cutoffs: tuple[Path, ...] = ()
    calibrations: tuple[Path, ...] = ()
    neighbors: Path | None = None
    elements: Path | None = None
    hyperparameters: Path | None = None

    @classmethod
    def of_files(
        cls, metrics: Sequence[PathLike], histories: Sequence[PathLike], diatomics: Sequence[PathLike],
        cutoffs: Sequence[PathLike], calibrations: Sequence[PathLike], neighbors: PathLike, elements: PathLike,
        hyperparameters: PathLike,
    ) -> Results:  # fmt: skip
        """From file paths by kind; the names are those of the folders, see `of_folder`."""
        lists = (tuple(map(Path, files)) for files in (metrics, histories, diatomics, cutoffs, calibrations))
        return cls(*lists, Path(neighbors), Path(elements), Path(hyperparameters))

    @classmethod
    def of_folder(cls, study: PathLike) -> Results:
        """Every result file below ``study``, such as results/mini."""
        study = Path(study)

        def found(pattern: str) -> list[Path]:
            return sorted(path for path in study.glob(pattern) if not path.name.endswith(".manifest.json"))

        return cls.of_files(
            metrics=[*found("metrics/fcl_seed*.csv"), *found("metrics/static_*.csv")],
            histories=found("metrics/history/fcl_seed*.csv"),
            diatomics=found("diatomics/*.csv"),
            cutoffs=found("calibration/*.json"),
            calibrations=found("calibration/*_metrics.csv"),
            neighbors=study / "data/neighbors.csv",
            elements=study / "data/elements.csv",
            hyperparameters=study / "tables/table02.csv",
        )

    # -- the whole tables ---------------------------------------------------------------------------------------------

    @cached_property
    def _errors(self) -> pd.DataFrame:
        columns = ("model_kind", "seed", "cutoff_angstrom", "training_cutoff_angstrom", "subset")
        return _joined("metrics", self.metrics, (*columns, "force_rmse_ev_per_angstrom"))

    @cached_property
    def _calibrated(self) -> pd.DataFrame:
        columns = ("lambda", "configuration", "seed", "subset", "force_rmse_ev_per_angstrom", "pairs_per_atom")
        return _joined("calibration", self.calibrations, columns)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Diatomic curves: pair, cutoff_angstrom, seed, distance_angstrom, energy_ev."""
        columns = ("pair", "cutoff_angstrom", "seed", "distance_angstrom", "energy_ev")
        return _joined("diatomics", self.diatomics, columns)

    @cached_property
    def _tables(self) -> list[tuple[dict, dict[str, float]]]:
        """(provenance, calibrated cutoffs in A by symbol) of each cutoffs file, without uncalibrated elements."""
        if not self.cutoffs:
            raise NotEvaluated("no cutoffs file in calibration/")
        tables = []
        for path in self.cutoffs:
            if not path.is_file():
                raise NotEvaluated(f"{path.name} is missing")
            content = json.loads(path.read_text(encoding="utf-8"))
            provenance = content["provenance"]
            idle = set(provenance.get("not_calibrated", ()))
            table = {symbol: radius for symbol, radius in content["cutoffs"].items() if symbol not in idle}
            tables.append((provenance, table))
        return tables

    # -- single numbers -----------------------------------------------------------------------------------------------

    def force_rmse(self, kind: str, cutoff: float) -> dict[int, float]:
        """Test force RMSE (eV/A) over all structures, by seed; ``kind`` is fcl (at a uniform cutoff in A) or static."""
        table = self._errors
        rows = table[
            (table["model_kind"] == kind) & (table["subset"] == "all") & _near(table["cutoff_angstrom"], cutoff)
        ]
        if kind == "static":
            rows = rows[_near(rows["training_cutoff_angstrom"], cutoff)]
        if rows.empty:
            raise NotEvaluated(f"no {kind} model was evaluated at {cutoff:.1f} A")
        return _by_seed(rows, "force_rmse_ev_per_angstrom")

    def largest_cutoff(self) -> float:
        """The largest uniform cutoff (A) at which FCL models were evaluated."""
        table = self._errors
        cutoffs = table.loc[table["model_kind"] == "fcl", "cutoff_angstrom"]
        if cutoffs.empty:
            raise NotEvaluated("no FCL model was evaluated")
        return float(cutoffs.astype(float).max())

    def calibrated(self, subset: str, lam: float | None, quantity: str) -> dict[int, float]:
        """A column of the calibration metrics by seed: at ``lam``, or before the optimisation if it is None."""
        table = self._calibrated
        rows = table[table["subset"] == subset]
        if rows.empty:
            raise NotEvaluated(f"{subset} was not calibrated")
        if lam is None:
            rows = rows[rows["configuration"] == "initial"].drop_duplicates("seed")
        else:
            rows = rows[(rows["configuration"] == "optimised") & np.isclose(rows["lambda"].astype(float), lam)]
        if rows.empty:
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}" if lam else f"{subset}: no initial row")
        return _by_seed(rows, quantity)

    def element_cutoffs_by_seed(self, subset: str, lam: float) -> dict[str, dict[int, float]]:
        """Optimised cutoffs (A) by symbol and seed, for the elements calibrated with every seed."""
        tables = {
            int(provenance["seed"]): table
            for provenance, table in self._tables
            if provenance["subset"] == subset and np.isclose(provenance["lambda"], lam)
        }
        if not tables:
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}")
        common = [symbol for symbol in next(iter(tables.values())) if all(symbol in table for table in tables.values())]
        return {symbol: {seed: table[symbol] for seed, table in tables.items()} for symbol in common}

    def element_cutoffs(self, subset: str, lam: float) -> dict[str, float]:
        """Optimised cutoffs (A) by symbol, averaged over the calibrated seeds."""
        by_seed = self.element_cutoffs_by_seed(subset, lam)
        return {symbol: float(np.mean(list(values.values()))) for symbol, values in by_seed.items()}

    def calibrated_subsets(self, lam: float) -> list[str]:
        """Subsets with cutoffs at ``lam``, in the order of the files."""
        names = [provenance["subset"] for provenance, _ in self._tables if np.isclose(provenance["lambda"], lam)]
        return list(dict.fromkeys(names))

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
        """Mean of the cutoffs (A) drawn in FCL training by run, over the epochs of its history."""
        column = "mean_cutoff_angstrom"
        means = {}
        for number, path in enumerate(self.histories):
            table = _joined("metrics/history", (path,), ("epoch",))
            if column not in table or table[column].isna().any():
                raise NotEvaluated(f"{path.name}: the training history has no column {column}")
            means[number] = float(table[column].mean())
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


def _by_seed(rows: pd.DataFrame, quantity: str) -> dict[int, float]:
    doubled = rows[rows["seed"].duplicated()]
    if len(doubled):
        raise ValueError(f"two rows of seed {doubled['seed'].iloc[0]} for {quantity}: {doubled.iloc[0].to_dict()}")
    return dict(zip(rows["seed"].astype(int), rows[quantity].astype(float), strict=True))
