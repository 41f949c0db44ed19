"""Labelled frames for a model that exists, and whether their energies mean what the model's energies mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from fcl.config.types import BY_NUMBER
from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData
from fcl.data.read import frames_of
from fcl.data.store import arrays_from_frames
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate

#: Median deviation of labels from the model (eV/atom) beyond which they are taken for total energies: cohesive energies
#: end at 9 eV/atom (tungsten), so that not even a model that predicts zero is further off.
LARGEST_DEVIATION = 10.0
#: Labels from which references were subtracted once too often: the median deviation is above this (eV/atom) ...
SMALLEST_OFFSET = 1.0
#: ... and that without the subtraction is smaller by this factor.
CLEARLY = 10.0
#: Structures that are looked at, evenly over the data.
SAMPLE = 40


def chosen_references(model, told: Mapping[str, float] | str | None) -> dict[str, float]:
    """Energies (eV by symbol) to subtract from labels: those ``told``, {} for "none", or else those of the card."""
    if told is None:
        return dict(model.card.get("reference_energies_ev") or {})
    if isinstance(told, str):
        if told != "none":
            raise ValueError(f"reference_energies: {told!r} is neither none nor energies by symbol: nothing is fitted")
        return {}
    return dict(told)


def labelled_data(
    model, path: Path, *, keys: Mapping[str, str | None], subset: str | None = None, labels: bool = True,
    references: Mapping[str, float] | str | None = None, dtype: torch.dtype, device: torch.device,
) -> GraphData:  # fmt: skip
    """The frames of ``path`` (or of one ``subset``) for ``model``, with energies as it predicts them.

    ``keys`` as of `fcl.data.read.frames_of`; ``references``: `chosen_references`. Without ``labels`` these are zero.
    Raises what `frames_of` raises, and `ValueError` by `check_energies` unless ``references`` are given.
    """
    chosen = chosen_references(model, references)
    frames = frames_of(
        path, labels=labels, subset=subset, num_elements=model.settings.num_elements, keys=keys, references=chosen
    )
    data = GraphData(arrays_from_frames(frames, model.cutoff_limit, path), dtype, device)
    if labels and references is None:
        check_energies(model, data, chosen, str(path))
    return data


def check_energies(model, data: GraphData, subtracted: Mapping[str, float], source: str) -> None:
    """Raise `ValueError` if the energies of ``data`` are not those that ``model`` predicts, but for an offset.

    ``subtracted`` are the reference energies (eV by symbol) without which they are. Judged by the median over
    structures of the deviation per atom, at the model's own cutoff, or at 6 A or the range of the data if that is less.
    """
    known = torch.nonzero(data.energy_mask.cpu()).flatten()
    if not len(known):
        return
    chosen = known[torch.linspace(0, len(known) - 1, min(SAMPLE, len(known))).long()]
    cutoff = model.cutoff_limit if model.single_cutoff else min(6.0, model.cutoff_limit, data.r_max)
    errors = evaluate(model, data, uniform_rule(cutoff, data.dtype), EVALUATION_BATCH_SIZE, chosen)
    deviation = float(np.median(np.abs(errors.energy)))
    told = "; say --reference-energies (none, or energies by symbol) to take them as they are"
    if subtracted and deviation > SMALLEST_OFFSET:
        undone = float(np.median(np.abs(errors.energy - _per_atom(subtracted, data, chosen))))
        if undone * CLEARLY < deviation:
            raise ValueError(
                f"{source}: these look like energies relative to isolated atoms: with the reference energies of the"
                f" model's card subtracted they are {deviation:.4g} eV/atom (median) from the model, without"
                f" {undone:.4g}{told}"
            )
    if deviation > LARGEST_DEVIATION:
        removed = "after subtraction of the reference energies of the model's card" if subtracted else (
            "and its card has no reference energies to subtract"
        )  # fmt: skip
        raise ValueError(
            f"{source}: these look like total energies: they are {deviation:.6g} eV/atom (median) from the model,"
            f" {removed}{told}"
        )


def _per_atom(references: Mapping[str, float], data: GraphData, chosen: torch.Tensor) -> np.ndarray:
    """Mean of the ``references`` (eV) over the atoms of each structure."""
    batch = data.batch(chosen)
    of_number = torch.zeros(119, dtype=torch.float64)
    for number in set(batch.numbers.tolist()):
        of_number[number] = references.get(BY_NUMBER[number], 0.0)
    sums = torch.zeros(len(chosen), dtype=torch.float64).index_add(
        0, batch.structure.cpu(), of_number[batch.numbers.cpu()]
    )
    return (sums / batch.atoms_per_structure.cpu()).numpy()
