"""Errors of single structures as families of models, for `fcl.evaluation.statistics`.

At uniform cutoffs (``errors/*.csv.gz``), and of calibrations (``calibration/*_errors.csv.gz``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Family, NotEvaluated
from fcl.study.read import PathLike, read_table, read_tables

#: Largest difference (A) between cutoffs that are the same.
SAME_CUTOFF = 1e-6


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
#: Mean over structures, as in Figs. 3 and 5: a cost, but averaged over structures like an error.
PAIRS = "pairs per atom"
ALL = "all"
FCL_MODEL = "fcl_seed{}"
#: Kinds of models, as their names begin, and what is said where there are none.
NO_MODELS = {
    "fcl_": "no errors per structure of FCL models", "static_": "no static models", "trivial": "no trivial predictions",
}  # fmt: skip


def family(tables: Sequence[pd.DataFrame], quantity: str, nests: Sequence[int], *, fixed: bool = False) -> Family:
    """A family from one table per model, all with the same structures in the same order; ``fixed`` as in `Family`."""
    wanted = Quantity("pairs_per_atom", None, False, "") if quantity == PAIRS else QUANTITIES[quantity]
    values = np.array([table[wanted.column].to_numpy(float) for table in tables])
    if wanted.components is None:
        values = values**2 if wanted.root else np.abs(values)
    atoms = tables[0]["atoms"].to_numpy(float)
    return Family(
        sums=values,
        counts=np.ones_like(atoms) if wanted.components is None else wanted.components * atoms,
        groups=tables[0]["group"].to_numpy(),
        nests=np.array(nests),
        root=wanted.root,
        fixed=fixed,
    )


def median_force_rmse(tables: Sequence[pd.DataFrame]) -> float:
    """Median over structures of the force RMSE (eV/A) of each, mean over models."""
    return float(np.mean([np.sqrt(t["force_square_sum"] / (3 * t["atoms"])).median() for t in tables]))


def mean_pairs(tables: Sequence[pd.DataFrame]) -> float:
    """Pairs per atom: mean over structures and models."""
    return float(np.mean([table["pairs_per_atom"].mean() for table in tables]))


def seed_of(model: str) -> int:
    """7 of ``fcl_seed7``."""
    return int(model.removeprefix("fcl_seed"))


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
        return {model: read_table(path) for model, path in self.files.items()}

    def subsets(self) -> list[str]:
        """All structures, then each subset by its name."""
        table = next(iter(self.tables.values()))
        return [ALL, *sorted(table["subset"].unique())]

    def largest_cutoff(self) -> float:
        """The largest uniform cutoff (A) at which FCL models were evaluated."""
        return float(max(self.tables[model]["cutoff_angstrom"].max() for model in self._models("fcl_")))

    def fcl(self, quantity: str, cutoff: float, subset: str = ALL, seeds: Sequence[int] | None = None) -> Family:
        """The FCL models (of some seeds) at a uniform ``cutoff`` (A), nested in their pre-trained models."""
        if seeds is None:
            seeds = sorted(seed_of(model) for model in self._models("fcl_"))
        if not seeds:
            raise NotEvaluated(NO_MODELS["fcl_"])
        return self._family([FCL_MODEL.format(seed) for seed in seeds], quantity, cutoff, subset)

    def static(self, quantity: str, cutoff: float, subset: str = ALL) -> Family:
        """The static models of ``cutoff`` (A)."""
        return self._family(self._static(cutoff), quantity, cutoff, subset)

    def trivial(self, quantity: str, subset: str = ALL) -> Family:
        """Zero forces, or energies linear in the composition."""
        return self._family(self._models("trivial"), quantity, None, subset)

    def static_cutoffs(self) -> list[float]:
        """Cutoffs (A) of the static models, ascending."""
        return sorted({float(model.split("_")[1].removeprefix("r")) for model in self._models("static_")})

    def static_tables(self, cutoff: float, subset: str = ALL) -> list[pd.DataFrame]:
        """Rows of the static models of ``cutoff`` (A), one table per model."""
        return [self._rows(model, cutoff, subset) for model in self._static(cutoff)]

    def pairs_per_atom(self, cutoff: float, subset: str = ALL) -> float:
        """Mean over structures, as in Figs. 3 and 5."""
        return mean_pairs([self._rows(self._models("fcl_")[0], cutoff, subset)])

    def _static(self, cutoff: float) -> list[str]:
        return self._models(f"static_r{cutoff:.1f}_", f"no model at {cutoff:.1f} A")

    def _models(self, prefix: str, otherwise: str = "") -> list[str]:
        """Names of the models with this ``prefix``, in the order of the files; `NotEvaluated` if there are none."""
        models = [model for model in self.files if model.startswith(prefix)]
        if not models:
            raise NotEvaluated(otherwise or NO_MODELS[prefix])
        return models

    def _family(self, models: Sequence[str], quantity: str, cutoff: float | None, subset: str) -> Family:
        tables = [self._rows(model, cutoff, subset) for model in models]
        nests = [self.nests.get(model, -1 - number) for number, model in enumerate(models)]
        # a trivial prediction is not one of many models, and pairs at a uniform cutoff depend on no model
        return family(tables, quantity, nests, fixed=cutoff is None or quantity == PAIRS)

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
    """Errors per structure of calibrated FCL models on the test structures of their subsets.

    ``files``: ``calibration/*_errors.csv.gz``; ``nests`` as for `UniformErrors`.
    """

    COLUMNS = ("lambda", "configuration", "seed", "cutoff_angstrom", "structure", "group", "subset")

    def __init__(self, files: Sequence[PathLike], nests: Mapping[str, int]):
        self.files, self._nests = list(files), dict(nests)

    @cached_property
    def table(self) -> pd.DataFrame:
        """All files. `NotEvaluated` if there is none, or for a missing file or column."""
        return read_tables(self.files, self.COLUMNS, "calibration")

    def subsets(self) -> list[str]:
        """In the order of the files."""
        return list(self.table["subset"].unique())

    def lambdas(self, subset: str) -> list[float]:
        """Descending: pairs increase."""
        return sorted(self.table.loc[self.table["subset"] == subset, "lambda"].unique(), reverse=True)

    def seeds(self, subset: str) -> list[int]:
        """Seeds of the FCL models."""
        return sorted(self.table.loc[self.table["subset"] == subset, "seed"].unique())

    def nests(self, subset: str) -> list[int]:
        """Seed of the pre-trained model of each of `seeds`."""
        return [self._nests[f"fcl_seed{seed}"] for seed in self.seeds(subset)]

    def tables(self, subset: str, lam: float | Mapping[int, float | None], configuration: str) -> list[pd.DataFrame]:
        """Rows of each seed at ``lam``; with one lambda per seed, None stands for the initial cutoff."""
        table = self.table[self.table["subset"] == subset]
        found = []
        for seed in self.seeds(subset):
            own = lam[seed] if isinstance(lam, Mapping) else lam
            name, own = ("initial", self.lambdas(subset)[0]) if own is None else (configuration, own)
            rows = table[(table["seed"] == seed) & (table["configuration"] == name) & np.isclose(table["lambda"], own)]
            if rows.empty:
                raise NotEvaluated(f"{subset}: no calibration at lambda {own:g} with seed {seed} ({name})")
            found.append(rows.sort_values("structure"))
        return found

    def family(self, quantity: str, subset: str, lam: float, configuration: str = "optimised") -> Family:
        """The models calibrated on ``subset`` at ``lam``, on its test structures with the cutoffs of ``configuration``.

        ``initial`` is the uniform start. Raises `NotEvaluated` for a subset or lambda that was not calibrated.
        """
        if lam not in self.lambdas(subset):
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}")
        return family(self.tables(subset, lam, configuration), quantity, self.nests(subset))
