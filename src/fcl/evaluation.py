"""Errors and cost of a model at given cutoffs, over all structures and per subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from fcl.cutoffs import element_cutoffs, element_table, pairs_per_atom, uniform_cutoffs
from fcl.data.batch import Batch, GraphData
from fcl.data.loader import selected_batches, split_order

#: Structures in a batch where no setting says otherwise (validation, calibrated cutoffs); results do not depend on it.
EVALUATION_BATCH_SIZE = 50

#: Assigns per-atom cutoffs [n_atoms] (A) to a batch.
CutoffRule = Callable[[Batch], torch.Tensor]


def uniform_rule(cutoff: float, dtype: torch.dtype) -> CutoffRule:
    """Every atom has the same cutoff (A)."""
    return lambda batch: uniform_cutoffs(batch.numbers, cutoff, dtype)


def element_rule(cutoffs: dict[str, float], dtype: torch.dtype, device: torch.device) -> CutoffRule:
    """Per-element cutoffs (A) by chemical symbol, Eq. 8."""
    table = element_table(cutoffs, dtype).to(device)
    return lambda batch: element_cutoffs(batch.numbers, table)


def cutoff_rule(cutoffs: float | Mapping[str, float], dtype: torch.dtype, device: torch.device) -> CutoffRule:
    """`uniform_rule` of a number (A), `element_rule` of cutoffs by chemical symbol."""
    if isinstance(cutoffs, Mapping):
        return element_rule(dict(cutoffs), dtype, device)
    return uniform_rule(cutoffs, dtype)


@dataclass(frozen=True)
class Errors:
    """Raw errors of a model on some structures.

    indices [n] of the structures; energy [n] eV/atom (predicted minus reference, divided by the atoms); atoms [n];
    force_square [n] and force_absolute [n]: sums over the 3 n_atoms components of squares ((eV/A)^2) and of
    absolute values (eV/A); pairs [n]: directed pairs per atom.
    """

    indices: np.ndarray
    energy: np.ndarray
    atoms: np.ndarray
    force_square: np.ndarray
    force_absolute: np.ndarray
    pairs: np.ndarray

    def metrics(self, members: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Errors over ``members`` (positions in `indices`): RMSE and MAE over structures and over force components."""
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
        }


def evaluate(
    model,
    data: GraphData,
    rule: CutoffRule,
    batch_size: int,
    indices: torch.Tensor | None = None,
    observe: Callable[[dict[str, torch.Tensor], Batch], None] = lambda output, batch: None,
) -> Errors:
    """Errors of ``model`` with the cutoffs of ``rule`` on ``data`` (all structures, or ``indices``).

    ``observe`` is called with what the model gives for each batch, and the batch.
    """
    if indices is None:
        indices = torch.arange(len(data))
    columns: list[list[torch.Tensor]] = [[], [], [], [], []]
    for batch, cutoffs in selected_batches(data, split_order(indices, batch_size), rule, model.mixing):
        output = model(batch, cutoffs)
        observe(output, batch)
        atoms = batch.atoms_per_structure
        deviation = (output["forces"] - batch.forces).double()
        zero = torch.zeros(batch.n_structures, dtype=torch.float64, device=data.device)
        columns[0].append((output["energy"] - batch.energy).double() / atoms)
        columns[1].append(atoms)
        columns[2].append(zero.index_add(0, batch.structure, (deviation**2).sum(1)))
        columns[3].append(zero.index_add(0, batch.structure, deviation.abs().sum(1)))
        columns[4].append(pairs_per_atom(batch.pair_structure, batch.structure, batch.n_structures))
    return Errors(indices.cpu().numpy(), *(torch.cat(column).cpu().numpy() for column in columns))


def rows_by_subset(errors: Errors, data: GraphData, **labels) -> list[dict]:
    """One row for "all" and one a subset that occurs, each beginning with ``labels``."""
    subset = data.subset.cpu().numpy()[errors.indices]
    rows = [{**labels, "subset": "all", **errors.metrics()}]
    for code, name in enumerate(data.subset_names):
        members = np.flatnonzero(subset == code)
        if len(members):
            rows.append({**labels, "subset": name, **errors.metrics(members)})
    return rows
