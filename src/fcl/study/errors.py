"""Errors of single structures (``errors/*.csv.gz``) as families of models, for `fcl.evaluation.statistics`."""

from __future__ import annotations

import os
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
ALL = "all"


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
        missing = [path for path in self.files.values() if not Path(path).is_file()]
        if missing:
            raise NotEvaluated(f"{missing[0]} is missing")
        return {model: pd.read_csv(path) for model, path in self.files.items()}

    def subsets(self) -> list[str]:
        """All structures, then each subset by its name."""
        table = next(iter(self.tables.values()))
        return [ALL, *sorted(table["subset"].unique())]

    def fcl(self, quantity: str, cutoff: float, subset: str = ALL) -> Family:
        """The FCL models at a uniform ``cutoff`` (A), nested in their pre-trained models."""
        return self._family([m for m in self.files if m.startswith("fcl_")], quantity, cutoff, subset)

    def static(self, quantity: str, cutoff: float, subset: str = ALL) -> Family:
        """The static models of ``cutoff`` (A)."""
        return self._family([m for m in self.files if m.startswith(f"static_r{cutoff:.1f}_")], quantity, cutoff, subset)

    def trivial(self, quantity: str, subset: str = ALL) -> Family:
        """Zero forces, or energies linear in the composition."""
        return self._family(["trivial"], quantity, None, subset)

    def pairs_per_atom(self, cutoff: float, subset: str = ALL) -> float:
        """Mean over structures, as in Figs. 3 and 5."""
        table = self._rows(next(m for m in self.files if m.startswith("fcl_")), cutoff, subset)
        return float(table["pairs_per_atom"].mean())

    def _family(self, models: list[str], quantity: str, cutoff: float | None, subset: str) -> Family:
        if not models:
            raise NotEvaluated(f"no model at {cutoff:.1f} A" if cutoff is not None else "no trivial predictions")
        wanted = QUANTITIES[quantity]
        tables = [self._rows(model, cutoff, subset) for model in models]
        values = np.array([table[wanted.column].to_numpy(float) for table in tables])
        if wanted.components is None:
            values = values**2 if wanted.root else np.abs(values)
        atoms = tables[0]["atoms"].to_numpy(float)
        return Family(
            sums=values,
            counts=np.ones_like(atoms) if wanted.components is None else wanted.components * atoms,
            groups=tables[0]["group"].to_numpy(),
            nests=np.array([self.nests.get(model, -1 - number) for number, model in enumerate(models)]),
            root=wanted.root,
        )

    def _rows(self, model: str, cutoff: float | None, subset: str) -> pd.DataFrame:
        table = self.tables[model]
        if cutoff is not None:
            table = table[(table["cutoff_angstrom"] - cutoff).abs() < SAME_CUTOFF]
        table = table if subset == ALL else table[table["subset"] == subset]
        if table.empty:
            raise NotEvaluated(f"{self.files[model]}: no row of {subset} at {cutoff} A")
        return table.sort_values("structure")
