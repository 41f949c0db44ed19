"""Cutoffs as a user gives them – a number, a dict by element, an array per atom, a file – checked against a model.

A cutoffs file is small JSON: ``{"cutoffs": {"H": 3.9, ...}, "provenance": {...}}``, angstroms by chemical symbol. The
provenance says for which model they were optimised (SHA-256 of its weights), on what, and what to expect of them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fcl.config_errors import explain
from fcl.files import write_json

#: Where a cutoff has to be chosen and none is given: the cutoff of the paper's pre-training (A).
DEFAULT_CUTOFF = 6.0

#: What users may write for cutoffs (A).
Cutoffs = float | Mapping[str, float] | np.ndarray | str | os.PathLike


class CutoffWarning(UserWarning):
    """Cutoffs that can be used, but were not meant for this model or lie where it was not trained."""


class Provenance(BaseModel):
    """Where cutoffs come from. Whatever else a file says of its origin is kept as it is."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="weights they were optimised for")
    data_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="file with the calibration structures")
    pairs_per_atom: Annotated[float, Field(ge=0)] | None = Field(None, description="expected cost, held-out structures")
    force_rmse_ev_per_angstrom: Annotated[float, Field(ge=0)] | None = Field(None, description="expected error, same")


class CutoffsFile(BaseModel):
    """The contents of a cutoffs file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cutoffs: dict[str, Annotated[float, Field(gt=0, strict=True)]] = Field(min_length=1)
    provenance: Provenance = Provenance()

    @field_validator("cutoffs")
    @classmethod
    def _symbols(cls, cutoffs: dict[str, float]) -> dict[str, float]:
        from ase.data import atomic_numbers

        unknown = [symbol for symbol in cutoffs if atomic_numbers.get(symbol, 0) < 1]
        if unknown:
            raise ValueError(f"{', '.join(map(repr, unknown))} is no chemical symbol")
        return cutoffs


def read_cutoffs(path: str | Path) -> CutoffsFile:
    """Read and check a cutoffs file. Raises `FileNotFoundError`, or `ValueError` that names the file and the keys."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such cutoffs file")
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSON or its encoding
        raise ValueError(f"{path}: not JSON ({error})") from error
    try:
        return CutoffsFile.model_validate(contents)
    except ValidationError as error:
        raise ValueError(f"{path}: not a cutoffs file: {explain(error, CutoffsFile)}".replace("\n", "; ")) from None


def write_cutoffs(path: str | Path, cutoffs: Mapping[str, float], provenance: Mapping[str, Any]) -> None:
    """Write a cutoffs file, atomically; what `read_cutoffs` would refuse is refused here too (`ValueError`)."""
    try:
        CutoffsFile.model_validate({"cutoffs": dict(cutoffs), "provenance": dict(provenance)})
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, CutoffsFile)}".replace("\n", "; ")) from None
    write_json(path, {"cutoffs": dict(cutoffs), "provenance": dict(provenance)})


class CutoffChoice:
    """Cutoffs that have been checked against a model; assigns them to atoms.

    ``model`` is a `StaticMACE` or `FlexibleMACE`. ``cutoffs`` (A): a number for all atoms, a mapping by chemical
    symbol, an array with one value an atom, the path of a cutoffs file, or None for 6.0 A (a static model: its own).
    Raises `ValueError` for cutoffs that are not positive and finite, that exceed the model's r_max, or that are not the
    one cutoff of a static model. Cutoffs below the interval that the model was trained on, and a file that was made for
    another model, give a `CutoffWarning`.
    """

    def __init__(self, model, cutoffs: Cutoffs | None = None):
        card = getattr(model, "card", {})
        if cutoffs is None:
            cutoffs = DEFAULT_CUTOFF if model.needs_cutoffs else model.cutoff_limit
        self.source: str | None = None
        if isinstance(cutoffs, str | os.PathLike):
            self.source = os.fspath(cutoffs)
            file = read_cutoffs(self.source)
            meant_for, own = file.provenance.weights_sha256, card.get("weights_sha256")
            if meant_for and own and meant_for != own:
                message = f"{self.source}: optimised for another model (weights {meant_for[:12]}, not {own[:12]})"
                warnings.warn(message, CutoffWarning, stacklevel=3)
            cutoffs = file.cutoffs
        self.by_element: np.ndarray | None = None
        self.per_atom: np.ndarray | None = None
        if isinstance(cutoffs, Mapping):
            from fcl.cutoffs import element_table

            self.by_element = element_table(cutoffs).numpy()
            labelled = [(symbol, float(value)) for symbol, value in cutoffs.items()]
        else:
            values = np.array(cutoffs, dtype=np.float64)  # a copy: the caller's array may change
            if values.ndim > 1 or not values.size:
                raise ValueError(f"cutoffs: shape {values.shape}, expected one number or one value an atom")
            labelled = [("" if not values.ndim else f"atom {i}", float(value)) for i, value in enumerate(values.flat)]
            self.per_atom = values
        _check(model, labelled, card.get("r_min_angstrom"), self.source)

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Cutoffs [n_atoms] (A) of atoms with atomic ``numbers``; `ValueError` says which have none."""
        if self.by_element is not None:
            cutoffs = self.by_element[numbers]
            if np.isnan(cutoffs).any():
                from ase.data import chemical_symbols

                missing = sorted({chemical_symbols[z] for z in numbers[np.isnan(cutoffs)]})
                raise ValueError(f"{self.source or 'cutoffs'}: no cutoff is given for {', '.join(missing)}")
            return cutoffs
        if self.per_atom.ndim and len(self.per_atom) != len(numbers):
            raise ValueError(f"cutoffs: {len(self.per_atom)} values for {len(numbers)} atoms")
        return np.broadcast_to(self.per_atom, len(numbers))


def _check(model, labelled: list[tuple[str, float]], r_min: float | None, source: str | None) -> None:
    """Every cutoff against the model; the message names the first that is wrong, or the smallest below ``r_min``."""
    where = f"{source}: " if source else ""
    for label, value in labelled:
        try:
            if not 0.0 < value < float("inf"):
                raise ValueError(f"{value} is not a positive radius in angstroms")
            model.check_cutoff(value)
        except ValueError as error:
            raise ValueError(f"{where}cutoffs: {label + ': ' if label else ''}{error}") from None
    label, smallest = min(labelled, key=lambda item: item[1])
    if r_min is not None and smallest < r_min - 1e-6:
        message = f"{where}cutoff {smallest:g} A{f' of {label}' if label else ''} is below the {r_min:g} A from which"
        warnings.warn(f"{message} the model was trained: its error there is unknown", CutoffWarning, stacklevel=4)
