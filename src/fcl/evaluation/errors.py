"""Errors and cost of a model at given cutoffs, over all structures and per subset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from fcl.cutoffs.cost import pairs_per_atom
from fcl.cutoffs.rules import CutoffRule
from fcl.data.batch import Batch, GraphData
from fcl.data.loader import selected_batches, split_order
from fcl.data.store import StoreArrays
from fcl.evaluation.statistics import resampled
from fcl.models.interface import evaluated_pairs

#: Batch size where no setting gives one (validation, calibrated cutoffs); results do not depend on it.
EVALUATION_BATCH_SIZE = 50


@dataclass(frozen=True)
class Errors:
    """Raw errors of a model on a set of structures.

    indices [n] of the structures; energy [n] eV/atom (predicted minus reference, divided by the number of atoms); atoms
    [n]; force_square [n] and force_absolute [n]: sums over the 3 n_atoms components of squares ((eV/A)^2) and of
    absolute values (eV/A); pairs [n]: directed pairs per atom; groups [n]: equal for structures that are not
    independent. stress_square and stress_absolute [n]: the same as for forces over the 9 components of the stress
    ((eV/A^3)^2, eV/A^3), NaN for structures without such a label; None where the stress was not compared.
    """

    indices: np.ndarray
    energy: np.ndarray
    atoms: np.ndarray
    force_square: np.ndarray
    force_absolute: np.ndarray
    pairs: np.ndarray
    groups: np.ndarray
    stress_square: np.ndarray | None = None
    stress_absolute: np.ndarray | None = None

    def metrics(self, members: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Errors over ``members`` (positions in `indices`): RMSE and MAE over structures and over components.

        Of the stress only where it was compared; NaN if no structure has one.
        """
        energy, components = self.energy[members], 3 * self.atoms[members].sum()
        if not len(energy):
            raise ValueError("metrics of no structures at all")
        return {
            "structures": len(energy),
            "atoms": int(self.atoms[members].sum()),
            "force_rmse_ev_per_angstrom": float(np.sqrt(self.force_square[members].sum() / components)),
            "force_mae_ev_per_angstrom": float(self.force_absolute[members].sum() / components),
            "energy_rmse_ev_per_atom": float(np.sqrt(np.mean(energy**2))),
            "energy_mae_ev_per_atom": float(np.mean(np.abs(energy))),
            "pairs_per_atom": float(self.pairs[members].mean()),
            **self._stress_metrics(members),
        }

    def _stress_metrics(self, members: np.ndarray | slice) -> dict[str, float]:
        if self.stress_square is None:
            return {}
        known = ~np.isnan(self.stress_square[members])
        count = int(known.sum())
        means = [
            float(values[members][known].sum() / (9 * count)) if count else float("nan")
            for values in (self.stress_square, self.stress_absolute)
        ]
        return {
            "structures_with_stress": count,
            "stress_rmse_ev_per_cubic_angstrom": float(np.sqrt(means[0])),
            "stress_mae_ev_per_cubic_angstrom": means[1],
        }


def evaluate(
    model,
    data: GraphData,
    rule: CutoffRule,
    batch_size: int,
    indices: torch.Tensor | None = None,
    observe: Callable[[dict[str, torch.Tensor], Batch], None] = lambda output, batch: None,
    **options,
) -> Errors:
    """Errors of ``model`` with the cutoffs of ``rule`` on ``data`` (all structures, or ``indices``).

    ``options`` are further arguments of the model: the ``selector`` of cutoffs that follow the environment
    (`fcl.cutoffs.choice.CutoffChoice.model_options`), whose largest ones the rule gives then.

    ``observe`` is called with the model output and the batch, once per batch. With ``stress=True`` the stress is
    compared as well, where structures have such a label.
    """
    if indices is None:
        indices = torch.arange(len(data))
    parts, stresses = [], []
    for batch, cutoffs in selected_batches(data, split_order(indices, batch_size), rule, model.selector):
        output = model(batch, cutoffs, **options)
        observe(output, batch)
        atoms = batch.atoms_per_structure
        deviation = (output["forces"] - batch.forces).double()
        zero = torch.zeros(batch.n_structures, dtype=torch.float64, device=data.device)
        energy = (output["energy"] - batch.energy).double() / atoms
        square, absolute = (zero.index_add(0, batch.structure, one.sum(1)) for one in (deviation**2, deviation.abs()))
        pairs = pairs_per_atom(evaluated_pairs(batch, output), batch.structure, batch.n_structures)
        parts.append((energy, atoms, square, absolute, pairs))
        if "stress" in output and batch.stress is not None:
            off = torch.where(batch.stress_mask[:, None, None], output["stress"] - batch.stress, torch.nan).double()
            stresses.append(((off**2).sum((1, 2)), off.abs().sum((1, 2))))
    values = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    compared = [torch.cat(column).cpu().numpy() for column in zip(*stresses, strict=True)]
    return Errors(indices.cpu().numpy(), *values, data.groups()[indices.cpu()].numpy(), *compared)


def rows_by_subset(errors: Errors, data: GraphData | StoreArrays, **labels) -> list[dict]:
    """One row for "all" and one per subset present in the data, each starting with ``labels``."""
    subset = np.asarray(data.subset)[errors.indices]
    rows = [{**labels, "subset": "all", **errors.metrics()}]
    for code, name in enumerate(data.subset_names):
        members = np.flatnonzero(subset == code)
        if len(members):
            rows.append({**labels, "subset": name, **errors.metrics(members)})
    return rows


#: Columns of `rows_by_structure`, after the labels. ``group`` is equal for structures that are not independent.
STRUCTURE_COLUMNS = (
    "structure", "frame", "group", "subset", "atoms", "energy_error_ev_per_atom", "force_square_sum",
    "force_absolute_sum", "pairs_per_atom",
)  # fmt: skip


def rows_by_structure(errors: Errors, data: GraphData | StoreArrays, **labels) -> list[dict]:
    """One row per structure, each starting with ``labels``, from which all errors of `rows_by_subset` follow.

    ``structure`` is the index in the store, ``frame`` that in the file; ``force_square_sum`` ((eV/A)^2) and
    ``force_absolute_sum`` (eV/A) are sums over the 3 ``atoms`` force components.
    """
    indices = errors.indices
    columns = (
        indices, np.asarray(data.frame)[indices], errors.groups,
        [data.subset_names[code] for code in np.asarray(data.subset)[indices]],
        errors.atoms, errors.energy, errors.force_square, errors.force_absolute, errors.pairs,
    )  # fmt: skip
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    return [{**labels, **dict(zip(STRUCTURE_COLUMNS, row, strict=True))} for row in rows]


def force_rmse(errors: Errors) -> float:
    """Root mean square error of the force components (eV/A)."""
    return errors.metrics()["force_rmse_ev_per_angstrom"]


def joined(parts: Sequence[Errors]) -> Errors:
    """Concatenate the `Errors` of several sets of structures."""
    names = [field.name for field in fields(Errors)]
    columns = ([getattr(part, name) for part in parts] for name in names)
    return Errors(*(None if any(part is None for part in column) else np.concatenate(column) for column in columns))


def relative_increase(reference: Errors, errors: Errors, seed: int = 0) -> tuple[float, float]:
    """Relative increase of the force RMSE over ``reference``, and its standard error (bootstrap over groups).

    Both must hold the same structures in the same order. The increase is NaN where the reference has no error, the
    standard error where it has none or there is one structure only; samples without an error are left out.
    """
    before, after = reference.force_square, errors.force_square
    if not before.any():
        return float("nan"), float("nan")
    rise = float(np.sqrt(after.sum() / before.sum())) - 1.0
    if len(np.unique(errors.groups)) < 2:
        return rise, float("nan")
    below, above = resampled(errors.groups, before, after, seed=seed)
    ratios = np.sqrt(above[below > 0] / below[below > 0])
    return rise, float(ratios.std())


def error_bound(errors: Errors, reference: Errors | None = None, margin: float = 1.0) -> float:
    """Force RMSE (eV/A) plus ``margin`` standard errors; with a ``reference``, those of the increase relative to it.

    The increase on the same structures has a much smaller uncertainty than the RMSE itself. With few structures the
    margin is wide, with one group it is infinite; without it, the cheapest of many trials would be selected by chance.
    """
    if margin and len(np.unique(errors.groups)) < 2:
        return float("inf")  # one group says nothing of the scatter
    if reference is not None:
        rise, uncertainty = relative_increase(reference, errors)
        return force_rmse(reference) * (1.0 + rise + margin * uncertainty)
    squares, atoms = resampled(errors.groups, errors.force_square, errors.atoms)
    return force_rmse(errors) + margin * float(np.sqrt(squares / (3 * atoms)).std())
