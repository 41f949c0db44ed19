"""Reference energies per element, given or fitted, that are subtracted from the energy labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.types import BY_NUMBER


def reference_energies(references: Mapping[str, float] | str | None, arrays: Mapping[str, Any], source: Path) -> dict:
    """Reference energies (eV) by symbol for the elements in ``arrays``, the arrays of a store.

    "fit": least-squares solution of energy = sum of references over atoms for all structures with an energy, with
    minimum norm if the compositions do not determine it. A mapping must contain all elements that occur; `ValueError`
    names the missing ones.
    """
    if not references:
        return {}
    counts, elements = compositions(arrays["numbers"][:], arrays["ptr"])
    symbols = [BY_NUMBER[z] for z in elements]
    if references == "fit":
        known = arrays["energy_mask"]
        fitted = np.linalg.lstsq(counts[known], arrays["energy"][known], rcond=None)[0]
        return dict(zip(symbols, fitted.tolist(), strict=True))
    lacking = [symbol for symbol in symbols if symbol not in references]
    if lacking:
        raise ValueError(
            f"{source}: reference_energies: no value for {', '.join(lacking)} (a fit covers training data only)"
        )
    return {symbol: float(references[symbol]) for symbol in references}


def energies_of_atoms(references: Mapping[str, float], arrays: Mapping[str, Any]) -> np.ndarray:
    """Sum of the references over the atoms of each structure, [n_structures] eV."""
    counts, elements = compositions(arrays["numbers"][:], arrays["ptr"])
    return counts @ np.array([references[BY_NUMBER[z]] for z in elements])


def compositions(numbers: np.ndarray, ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of atoms by structure and element, [n_structures, n_elements], and atomic numbers [n_elements].

    ``numbers`` [n_atoms] are atomic numbers, ``ptr`` [n_structures + 1] the first atom of each structure.
    """
    elements, columns = np.unique(numbers, return_inverse=True)
    structures = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    cells = np.bincount(structures * len(elements) + columns, minlength=(len(ptr) - 1) * len(elements))
    return cells.reshape(len(ptr) - 1, len(elements)).astype(np.float64), elements
