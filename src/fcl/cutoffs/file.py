"""Cutoffs files.

A cutoffs file is small JSON: ``{"cutoffs": {"H": 3.9, ...}, "provenance": {...}}``, in angstrom by chemical symbol. The
provenance holds the model (SHA-256 of its weights), the data of the optimisation, and the expected error and cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from fcl.config.errors import validated
from fcl.config.text import parse_json
from fcl.config.types import Symbol
from fcl.runs.files import FilePath, write_json


class Provenance(BaseModel):
    """Origin of the cutoffs. Additional fields in a file are kept unchanged."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="weights they were optimised for")
    data_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="file with the calibration structures")
    pairs_per_atom: Annotated[float, Field(ge=0)] | None = Field(None, description="expected cost, held-out structures")
    force_rmse_ev_per_angstrom: Annotated[float, Field(ge=0)] | None = Field(None, description="expected error, same")


class CutoffsFile(BaseModel):
    """Contents of a cutoffs file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cutoffs: dict[Symbol, Annotated[float, Field(gt=0, strict=True)]] = Field(min_length=1)
    provenance: Provenance = Provenance()


def read_cutoffs(path: FilePath) -> CutoffsFile:
    """Read and check a cutoffs file. Raises `FileNotFoundError`, or `ValueError` naming the file and the keys."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such cutoffs file")
    try:
        contents = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # invalid JSON or encoding
        raise ValueError(f"{path}: not JSON ({error})") from error
    return validated(CutoffsFile, contents, path, "a cutoffs file")


def write_cutoffs(path: FilePath, cutoffs: Mapping[str, float], provenance: Mapping[str, Any]) -> None:
    """Write a cutoffs file, atomically; contents that `read_cutoffs` would reject raise `ValueError` here too."""
    contents = {"cutoffs": dict(cutoffs), "provenance": dict(provenance)}
    validated(CutoffsFile, contents, path, "a cutoffs file")
    write_json(path, contents)
