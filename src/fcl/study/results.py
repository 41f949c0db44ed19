"""The result files of a study, for claims, comparisons and pages; what is missing is `NotEvaluated`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Estimate, Family, NotEvaluated, exact
from fcl.evaluation.statistics import error as error_of
from fcl.evaluation.statistics import over_seeds as nested_seeds
from fcl.study.errors import SAME_CUTOFF, CalibratedErrors, UniformErrors, seed_of
from fcl.study.read import PathLike, read_calibrations, read_curves, read_table

#: Fewest structures that a statistic of a sample is made of.
FEWEST_STRUCTURES = 10


@dataclass(frozen=True)
class Results:
    """The result files of one study, read on demand.

    ``errors``: errors per structure at uniform cutoffs; ``cutoffs``: one file per calibration, with its errors per
    structure beside it; ``nests``: seed of the pre-trained model that each FCL model starts from, by its name;
    ``structures``: a row per structure, only if the data are a sample of the paper's. The others are named like their
    folders, see `of_folder`.
    """

    errors: Sequence[PathLike]
    histories: Sequence[PathLike]
    diatomics: Sequence[PathLike]
    cutoffs: Sequence[PathLike]
    neighbors: PathLike
    elements: PathLike
    hyperparameters: PathLike
    nests: Mapping[str, int] = field(default_factory=dict)
    structures: PathLike | None = None

    @classmethod
    def of_folder(cls, study: PathLike, nests: Mapping[str, int], sample: bool = False) -> Results:
        """Every result file below ``study``, such as results/mini; ``sample``: the data are one of the paper's."""
        study = Path(study)

        def found(*patterns: str) -> list[Path]:
            paths = (path for pattern in patterns for path in sorted(study.glob(pattern)))
            return [path for path in paths if not path.name.endswith(".manifest.json")]

        return cls(
            errors=found("errors/fcl_seed*.csv.gz", "errors/static_*.csv.gz", "errors/trivial.csv.gz"),
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
        files = map(Path, self.cutoffs)
        return CalibratedErrors([path.with_name(f"{path.stem}_errors.csv.gz") for path in files], self.nests)

    @property
    def seeds(self) -> dict[int, int]:
        """Seeds of the FCL models, with those of the pre-trained models that they start from."""
        return {seed_of(model): nest for model, nest in self.nests.items()}

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
        table = read_table(self.structures, ("subset", "formula", "atoms", "group", "pairs_per_atom_6"))
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
        """Diatomic curves, see `read_curves`."""
        return read_curves(self.diatomics)

    @cached_property
    def _calibrations(self) -> pd.DataFrame:
        return read_calibrations(self.cutoffs)

    # -- single numbers -----------------------------------------------------------------------------------------------

    def element_cutoffs_by_seed(self, subset: str, lam: float) -> dict[str, dict[int, float]]:
        """Optimised cutoffs (A) by symbol and seed, for the elements that have one of their own with every seed."""
        table = self._calibrations
        rows = table[(table["subset"] == subset) & np.isclose(table["lambda"], lam, rtol=1e-6, atol=0.0)]
        if rows.empty:
            raise NotEvaluated(f"{subset} was not calibrated at lambda {lam:g}")
        own = rows[rows["calibrated"] & ~rows["shared"]]
        by_element = {
            element: dict(zip(part["seed"].astype(int), part["cutoff_angstrom"], strict=True))
            for element, part in own.groupby("element", sort=False)
        }
        return {e: cutoffs for e, cutoffs in by_element.items() if len(cutoffs) == rows["seed"].nunique()}

    def average_neighbors(self, split: str, cutoff: float, definition: str) -> Estimate:
        """Average number of neighbours of a split at ``cutoff`` (A): MACE's for Table 3, over structures for Fig. 3."""
        table = read_table(self.neighbors, ("split", "cutoff_angstrom", definition))
        rows = table[(table["split"] == split) & ((table["cutoff_angstrom"] - cutoff).abs() < SAME_CUTOFF)]
        if rows.empty:
            raise NotEvaluated(f"{Path(self.neighbors).name}: no row of the {split} split at {cutoff:.1f} A")
        return exact(float(rows[definition].iloc[0]))

    def element_fraction(self, split: str, subset: str, element: str) -> Estimate:
        """Fraction of ``element`` among the atoms of a subset of a split; 0 if it does not occur."""
        table = read_table(self.elements, ("split", "subset", "element", "fraction"))
        rows = table[(table["split"] == split) & (table["subset"] == subset)]
        if rows.empty:
            raise NotEvaluated(f"{Path(self.elements).name}: the {split} split has no subset {subset}")
        return exact(float(rows.loc[rows["element"] == element, "fraction"].sum()))

    def hyperparameter(self, key: str, kind: str) -> Estimate:
        """A number of Table 2: row ``key``, column ``kind`` (static or fcl)."""
        table = read_table(self.hyperparameters, ("key", kind)).set_index("key")
        if key not in table.index:
            raise NotEvaluated(f"{Path(self.hyperparameters).name}: no row {key!r}")
        return exact(float(table.loc[key, kind]))

    def mean_sampled_cutoff(self) -> Estimate:
        """Mean of the cutoffs (A) drawn in FCL training, over the epochs of its history, by run."""
        column = "mean_cutoff_angstrom"
        means = {}
        for path in map(Path, self.histories):
            drawn = read_table(path, ("epoch", column))[column]
            if drawn.isna().any():
                raise NotEvaluated(f"{path.name}: {column} is empty")
            means[seed_of(path.stem)] = float(drawn.mean())
        if not means:
            raise NotEvaluated("no training history of an FCL model")
        return self.over_seeds(means)


def _atoms_of(element: str, formula: str) -> float:
    """Number of atoms of ``element`` in a formula such as H4C2O1."""
    return float(dict(re.findall(r"([A-Z][a-z]?)(\d+)", formula)).get(element, 0))
