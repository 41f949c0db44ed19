"""Cutoffs files.

A cutoffs file is small JSON: ``{"cutoffs": {"H": 3.9, ...}, "provenance": {...}}``, in angstrom by chemical symbol. The
provenance holds the model (SHA-256 of its weights), the data of the optimisation, and the expected error and cost.

A file may hold a scheme (`fcl.cutoffs.schemes`) instead: ``{"format": "fcl-cutoffs-2", "scheme": {"name": "neighbours",
"neighbours": 30, ...}, "provenance": {...}}``, which earlier versions refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fcl.config.errors import validated
from fcl.config.text import parse_json
from fcl.config.types import Symbol
from fcl.cutoffs.schemes import Scheme, scheme_of
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

    @property
    def choice(self) -> dict[str, float]:
        """What a user chooses with the file."""
        return self.cutoffs


class SchemeFile(BaseModel):
    """Contents of a cutoffs file with a scheme."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["fcl-cutoffs-2"]
    scheme: dict[str, Any]
    provenance: Provenance = Provenance()

    @field_validator("scheme")
    @classmethod
    def _is_a_scheme(cls, record: dict[str, Any]) -> dict[str, Any]:
        scheme_of(record)
        return record

    @property
    def choice(self) -> Scheme:
        """What a user chooses with the file."""
        return scheme_of(self.scheme)


def read_cutoffs(path: FilePath) -> CutoffsFile:
    """Read and check a file of cutoffs by element.

    Raises `FileNotFoundError`, or `ValueError` naming the file and the keys, or the scheme that it holds instead.
    """
    file = read_choice(path)
    if isinstance(file, SchemeFile):
        raise ValueError(f"{path}: holds the scheme {file.choice}; cutoffs by element are needed")
    return file


def read_choice(path: FilePath) -> CutoffsFile | SchemeFile:
    """As `read_cutoffs`, of files that hold a scheme too."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such cutoffs file")
    try:
        contents = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # invalid JSON or encoding
        raise ValueError(f"{path}: not JSON ({error})") from error
    kind = SchemeFile if isinstance(contents, dict) and contents.keys() & {"format", "scheme"} else CutoffsFile
    return validated(kind, contents, path, "a cutoffs file")


def write_cutoffs(path: FilePath, cutoffs: Mapping[str, float], provenance: Mapping[str, Any]) -> None:
    """Write a cutoffs file, atomically; contents that `read_cutoffs` would reject raise `ValueError` here too."""
    contents = {"cutoffs": dict(cutoffs), "provenance": dict(provenance)}
    validated(CutoffsFile, contents, path, "a cutoffs file")
    write_json(path, contents)


def write_scheme(path: FilePath, scheme: Scheme, provenance: Mapping[str, Any]) -> None:
    """Write a cutoffs file that holds ``scheme``, as `write_cutoffs`."""
    contents = {"format": "fcl-cutoffs-2", "scheme": scheme.record(), "provenance": dict(provenance)}
    validated(SchemeFile, contents, path, "a cutoffs file")
    write_json(path, contents)
