"""Data manifests: what a data set is, whose it is, where its files lie, and how its labels are to be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator

from fcl.config.errors import nearest
from fcl.config.types import SYMBOLS

CHECKSUM = re.compile(r"(md5|sha1|sha256|sha512):([0-9a-f]{32,128})")


class LabelKeys(BaseModel):
    """Under which keys the labels stand: of the comment line, of the columns, or among a calculator's results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy: str = "energy"
    forces: str = "forces"
    subset: str = "subset"
    split: str = "split"


class SplitFile(BaseModel):
    """One file of a data set; ``size`` in bytes, ``checksum`` as ``sha256:<hex>`` or ``md5:<hex>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    url: str | None = None
    fraction: float | None = Field(default=None, gt=0, lt=1)  # share of a file that holds several splits
    frames: int | None = Field(default=None, gt=0)  # of this split
    size: int | None = Field(default=None, gt=0)
    checksum: str | None = None
    subsets: dict[str, int] | None = None  # frames by subset, where they are known

    @field_validator("file")
    @classmethod
    def _bare_name(cls, value: str) -> str:
        if not value or Path(value).name != value:
            raise ValueError("must be a bare file name, without a folder")
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must begin with https:// or http://")
        return value

    @field_validator("checksum")
    @classmethod
    def _known_checksum(cls, value: str | None) -> str | None:
        if value is not None and not CHECKSUM.fullmatch(value):
            raise ValueError("must be sha256:<hex digits> or md5:<hex digits>, in lower case")
        return value


class DataManifest(BaseModel):
    """A data set: what it is, whose it is, and its files by split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    licence: str
    citation: str
    version: str
    record: str | None = None
    doi: str | None = None
    description: str | None = None
    complete: bool = True  # false while a data set is still being made
    keys: LabelKeys = LabelKeys()
    elements: tuple[str, ...] | None = None  # null allows all elements of the model
    reference_energies: dict[str, FiniteFloat] | Literal["fit"] | None = None  # eV, by symbol
    split_seed: int = Field(default=0, ge=0)
    splits: dict[str, SplitFile] = Field(min_length=1)

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value if value is None else _symbols(value)

    @field_validator("reference_energies")
    @classmethod
    def _known_references(cls, value: dict[str, float] | str | None) -> dict[str, float] | str | None:
        if isinstance(value, dict):
            _symbols(tuple(value))
        return value

    @model_validator(mode="after")
    def _divided(self) -> DataManifest:
        shares = {name: entry.fraction for name, entry in self.splits.items() if entry.fraction is not None}
        if shares:
            lacking = [name for name in self.splits if name not in shares]
            if lacking:
                raise ValueError(f"splits.{lacking[0]}.fraction: is missing, as the other splits have one")
            if len({entry.file for entry in self.splits.values()}) > 1:
                raise ValueError("splits: fractions divide one file, but the splits name several")
            if sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"splits: the fractions add up to {sum(shares.values()):g}, which exceeds 1")
        return self

    def frame_settings(self, split: str) -> dict[str, Any]:
        """What of this manifest determines the frames of ``split``, as plain JSON for `frame_arguments`."""
        entry = self.splits[split]
        sharing = [name for name, other in self.splits.items() if other.file == entry.file]
        fractions = {name: self.splits[name].fraction for name in self.splits}
        return {
            "split": split,
            "splits": sharing,
            "keys": self.keys.model_dump(),
            "elements": None if self.elements is None else list(self.elements),
            "fractions": None if entry.fraction is None else fractions,
            "split_seed": self.split_seed if entry.fraction is not None else None,
            "frames": entry.frames,
            "reference_energies": self.reference_energies,
        }

    @property
    def as_published(self) -> bool:
        """Whether splits and energies are taken as the files have them."""
        return self.reference_energies is None and all(entry.fraction is None for entry in self.splits.values())

    def fits_references(self) -> bool:
        """Whether reference energies come from a fit to the training split."""
        return self.reference_energies == "fit"

    def fault_of_subsets(self, split: str, subsets: Iterable[str]) -> str | None:
        """What is wrong with ``subsets`` of a config, where the manifest says which ones ``split`` holds; or None."""
        entry = self.splits.get(split)
        for name in subsets if entry is not None and entry.subsets is not None else ():
            if not entry.subsets.get(name):
                return f"there is no subset {name!r} in the {split} split of {self.name}{nearest(name, entry.subsets)}"
        return None


def load_data_manifest(path: str | os.PathLike[str]) -> DataManifest:
    """Read and check a data manifest (YAML).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no YAML mapping, or a key is unknown, missing or wrong; every such key is
            named.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a data manifest is a mapping with keys {', '.join(DataManifest.model_fields)}")
    try:
        return DataManifest.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path}: {faults}") from error


def _symbols(values: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [value for value in values if value not in SYMBOLS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not the symbol of an element")
    return values
