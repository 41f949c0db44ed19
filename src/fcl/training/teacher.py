"""A model as the teacher: its energies and forces at its own cutoff as the labels of a graph store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData
from fcl.data.store import content_hash, read_store, write_store
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate
from fcl.models.files import load
from fcl.training.start import teacher_cutoff


def label_store(store: Path, teacher: Path, device: torch.device, stress: bool = False) -> str:
    """Replace energies and forces of ``store`` by those of the model file ``teacher``; returns the new hash.

    With ``stress`` also that of each cell with a volume.
    Computed in float64. Energies are relative to the model's reference energies, which the store names, too, so that
    a model trained on it says what has to be added. Raises `ValueError` for elements that the teacher does not know,
    and a range of the store below the teacher's cutoff.
    """
    model = load(teacher, dtype=torch.float64, device=device).requires_grad_(False)
    arrays = read_store(store)
    model.check_elements(torch.as_tensor(np.unique(arrays.numbers).astype(np.int64)))
    if stress:  # which structures have one; the values follow
        known = np.abs(np.linalg.det(arrays.cells)) > 0
        arrays = replace(arrays, stress_mask=known)
    data = GraphData(arrays, torch.float64, device)
    energies, forces, stresses = [], [], []

    def note(output, _) -> None:
        energies.append(output["energy"].cpu().numpy())
        forces.append(output["forces"].cpu().numpy())
        if "stress" in output:
            stresses.append(output["stress"].cpu().numpy())

    asked, cutoff = (
        {"stress": True} if stress and data.with_stress else {},
        teacher_cutoff(model.kind, model.cutoff_limit),
    )
    evaluate(model, data, uniform_rule(cutoff, torch.float64), EVALUATION_BATCH_SIZE, observe=note, **asked)
    if stresses:
        labels = np.where(arrays.stress_mask[:, None, None], np.concatenate(stresses), np.nan)
        arrays = replace(arrays, stress=labels.astype(arrays.stress.dtype))
    labelled = replace(
        arrays,
        energy=np.concatenate(energies).astype(arrays.energy.dtype),
        forces=np.concatenate(forces).astype(arrays.forces.dtype),
        energy_mask=np.ones_like(arrays.energy_mask),
    )
    with h5py.File(store, "r") as file:
        attributes = {name: file.attrs[name] for name in ("source", "split")}
    digest = content_hash(labelled)
    attributes |= {"content_sha256": digest, "teacher_sha256": model.card["weights_sha256"]}
    if references := model.card.get("reference_energies_ev"):
        attributes["reference_energies"] = json.dumps(references)
    write_store(labelled, store, attributes)
    return digest
