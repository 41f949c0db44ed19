"""Errors of single structures as families of models, for `fcl.evaluation.statistics`.

At uniform cutoffs (``errors/<model>.csv.gz``) and of calibrations (``calibration/<...>_errors.csv.gz``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Family, NotEvaluated

PathLike = str | os.PathLike[str]
#: Largest difference (A) between cutoffs that are the same.
SAME_CUTOFF = 1e-6
FCL_MODEL = "fcl_seed{}"


@dataclass(frozen=True)
class Quantity:
    """An error: column that is summed, whether it is squared first, components per atom (None: per structure), root."""

    column: str
    components: int | None
    root: bool
    unit: str


QUANTITIES = {
    "force RMSE": Quantity("force_square_sum", 3, True, "eV/A"),
    "force MAE": Quantity("force_absolute_sum", 3, False, "eV/A"),
    "energy RMSE": Quantity("energy_error_ev_per_atom", None, True, "eV/atom"),
    "energy MAE": Quantity("energy_error_ev_per_atom", None, False, "eV/atom"),
}
#: Mean over structures, as in Figs. 3 and 5; a cost, but averaged over structures like an error.
PAIRS = "pairs per atom"
ALL = "all"


def family_of(tables: Sequence[pd.DataFrame], quantity: str, nests: Sequence[int], *, fixed: bool = False) -> Family:
    """The models with errors ``tables`` on the same structures in the same order; ``nests`` and ``fixed`` as there."""
    wanted = Quantity("pairs_per_atom", None, False, "") if quantity == PAIRS else QUANTITIES[quantity]
    values = np.array([table[wanted.column].to_numpy(float) for table in tables])
    if wanted.components is None:
        values = values**2 if wanted.root else np.abs(values)
    atoms = tables[0]["atoms"].to_numpy(float)
    counts = np.ones_like(atoms) if wanted.components is None else wanted.components * atoms
    return Family(values, counts, tables[0]["group"].to_numpy(), np.array(nests), wanted.root, fixed)


class UniformErrors:
    """Errors per structure of all models of a study at uniform cutoffs.

    ``files``: ``errors/<model>.csv.gz``, those of ``trivial`` among them; ``nests``: seed of the pre-trained model that
    an FCL model starts from, by the name of the model. Static models are independent of each other.
    """

    def __init__(self, files: Sequence[PathLike], nests: Mapping[str, int]):
        self.files = {Path(file).name.removesuffix(".csv.gz"): file for file in files}
        self.nests = dict(nests)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """One table per model; all on the same structures in the same order. `NotEvaluated` for a missing file."""
        if not self.files:
            raise NotEvaluated("no file in errors/")
        return {model: _read(path) for model, path in self.files.items()}

    def subsets(self) -> list[str]:
        """All structures, then each subset by its name."""
        table = next(iter(self.tables.values()))
        return [ALL, *sorted(table["subset"].unique())]

    def fcl_seeds(self) -> list[int]:
        """Seeds of the FCL models."""
        return sorted(int(model.removeprefix("fcl_seed")) for model in self.files if model.startswith("fcl_"))

    def largest_cutoff(self) -> float:
        """The largest uniform cutoff (A) at which FCL models were evaluated."""
        tables = [table for model, table in self.tables.items() if model.startswith("fcl_")]
        if not tables:
            raise NotEvaluated("no FCL model was evaluated")
        return float(max(table["cutoff_angstrom"].max() for table in tables))

    def fcl(self, quantity: str, cutoff: float, subset: str = ALL, seeds: Sequence[int] | None = None) -> Family:
        """The FCL models (of some seeds) at a uniform ``cutoff`` (A), nested in their pre-trained models."""
        models = [FCL_MODEL.format(seed) for seed in (self.fcl_seeds() if seeds is None else seeds)]
        if not models:
            raise NotEvaluated("no errors per structure of FCL models")
        return self._family(models, quantity, cutoff, subset)

    def static(self, quantity: str, cutoff: float, subset: str = ALL) -> Family:
        """The static models of ``cutoff`` (A)."""
        return self._family([m for m in self.files if m.startswith(f"static_r{cutoff:.1f}_")], quantity, cutoff, subset)

    def trivial(self, quantity: str, subset: str = ALL) -> Family:
        """Zero forces, or energies linear in the composition."""
        return self._family([model for model in self.files if model == "trivial"], quantity, None, subset)

    def pairs_per_atom(self, cutoff: float, subset: str = ALL) -> float:
        """Mean over structures, as in Figs. 3 and 5."""
        table = self._rows(next(m for m in self.files if m.startswith("fcl_")), cutoff, subset)
        return float(table["pairs_per_atom"].mean())

    def _family(self, models: list[str], quantity: str, cutoff: float | None, subset: str) -> Family:
        if not models:
            raise NotEvaluated(f"no model at {cutoff:.1f} A" if cutoff is not None else "no trivial predictions")
        nests = [self.nests.get(model, -1 - number) for number, model in enumerate(models)]
        tables = [self._rows(model, cutoff, subset) for model in models]
        # a trivial prediction is not one of many models, and pairs at a uniform cutoff depend on no model
        return family_of(tables, quantity, nests, fixed=cutoff is None or quantity == PAIRS)

    def _rows(self, model: str, cutoff: float | None, subset: str) -> pd.DataFrame:
        if model not in self.tables:
            raise NotEvaluated(f"errors/{model}.csv.gz is missing")
        table = self.tables[model]
        if cutoff is not None:
            table = table[(table["cutoff_angstrom"] - cutoff).abs() < SAME_CUTOFF]
        table = table if subset == ALL else table[table["subset"] == subset]
        if table.empty:
            raise NotEvaluated(f"{Path(self.files[model]).name}: no row of {subset} at {cutoff} A")
        return table.sort_values("structure")


class CalibratedErrors:
    """Errors per structure of calibrations.

    ``files``: ``calibration/<subset>_lambda<lambda>_seed<seed>_errors.csv.gz``, one per calibration; ``nests`` as for
    `UniformErrors`.
    """

    NAME = re.compile(r"(?P<subset>.+)_lambda(?P<lam>[^_]+)_seed(?P<seed>\d+)_errors\.csv\.gz")

    def __init__(self, files: Sequence[PathLike], nests: Mapping[str, int]):
        self.files: dict[tuple[str, float], dict[int, PathLike]] = {}
        for file in files:
            match = self.NAME.fullmatch(Path(file).name)
            if match is None:
                raise ValueError(f"{file}: not <subset>_lambda<lambda>_seed<seed>_errors.csv.gz")
            self.files.setdefault((match["subset"], float(match["lam"])), {})[int(match["seed"])] = file
        self.nests = dict(nests)
        self._tables: dict[PathLike, pd.DataFrame] = {}

    def lambdas(self, subset: str) -> list[float]:
        """Those at which ``subset`` was calibrated, descending."""
        return sorted((lam for name, lam in self.files if name == subset), reverse=True)

    def subsets(self) -> list[str]:
        """The calibrated subsets, in the order of the files."""
        return list(dict.fromkeys(name for name, _ in self.files))

    def family(self, quantity: str, subset: str, lam: float, configuration: str = "optimised") -> Family:
        """The models calibrated on ``subset`` at ``lam``, on its test structures with the cutoffs of ``configuration``.

        ``initial`` is the uniform start. Raises `NotEvaluated` if a file or its rows are missing.
        """
        seeds = self.files.get((subset, lam))
        if not seeds:
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}")
        tables = [self._rows(seeds[seed], configuration) for seed in sorted(seeds)]
        return family_of(tables, quantity, [self.nests.get(FCL_MODEL.format(s), -1 - s) for s in sorted(seeds)])

    def _rows(self, file: PathLike, configuration: str) -> pd.DataFrame:
        if file not in self._tables:
            self._tables[file] = _read(file)
        table = self._tables[file]
        if "configuration" not in table:
            raise NotEvaluated(f"{Path(file).name}: column 'configuration' is missing")
        rows = table[table["configuration"] == configuration]
        if rows.empty:
            raise NotEvaluated(f"{Path(file).name}: no row of the configuration {configuration}")
        return rows.sort_values("structure")


def _read(path: PathLike) -> pd.DataFrame:
    if not Path(path).is_file():
        raise NotEvaluated(f"{Path(path).parent.name}/{Path(path).name} is missing")
    return pd.read_csv(path)
