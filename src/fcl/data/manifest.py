"""Data manifests: description, licence, citation and files of a data set, and how to read its labels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator

from fcl.config.data import DataSettings
from fcl.config.text import parse_yaml
from fcl.config.types import SYMBOLS

CHECKSUM = re.compile(r"(md5|sha1|sha256|sha512):([0-9a-f]{32,128})")


class LabelKeys(BaseModel):
    """Keys of the labels: in the comment line, among the columns, or in the calculator results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy: str = "energy"
    forces: str = "forces"
    subset: str = "subset"
    split: str = "split"
    stress: str | None = "stress"  # null: not read
    virial: str | None = None  # if given, the stress is -virial / volume
    parent: str | None = None  # null: parents are not named
    fidelity: str | None = None  # null: all frames have the same level of theory

    @model_validator(mode="after")
    def _one_stress(self) -> LabelKeys:
        if self.virial is not None and "stress" in self.model_fields_set and self.stress is not None:
            raise ValueError("stress and virial are two names for one label: keep one of them")
        return self


class SourceFile(BaseModel):
    """Source of a file; ``size`` in bytes, ``checksum`` as ``sha256:<hex>`` or ``md5:<hex>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    size: int | None = Field(default=None, gt=0)
    checksum: str | None = None

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


class SplitFile(SourceFile):
    """A split: a file or a part of one."""

    file: str
    fraction: float | None = Field(default=None, gt=0, lt=1)  # share of a file divided into several splits
    count: int | None = Field(default=None, gt=0)  # number of frames of such a file
    frames: int | None = Field(default=None, gt=0)  # expected number of frames; any other is an error
    subsets: dict[str, int] | None = None  # frames by subset, if known

    @field_validator("file")
    @classmethod
    def _bare_name(cls, value: str) -> str:
        if not value or Path(value).name != value:
            raise ValueError("must be a bare file name, without a folder")
        return value

    @property
    def part(self) -> int | float | None:
        """Part of a divided file: a number (int) or share (float) of frames; None if the file is not divided."""
        return self.fraction if self.count is None else self.count


class DataManifest(BaseModel):
    """A data set: description, licence, citation, and files by split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    licence: str
    citation: str
    version: str
    record: str | None = None
    doi: str | None = None
    description: str | None = None
    complete: bool = True  # false while the data set is being generated
    keys: LabelKeys = LabelKeys()
    elements: tuple[str, ...] | None = None  # null allows all elements of the model
    reference_energies: dict[str, FiniteFloat] | Literal["fit"] | None = None  # eV, by symbol
    fidelity: str = Field("default", min_length=1)  # level of theory of frames that do not name one
    optional_labels: tuple[Literal["energy"], ...] = ()  # labels that may be missing
    group: Literal["parent", "formula"] | None = None  # what defines a group; parent if keys.parent is set
    split_by: Literal["frames", "groups"] = "frames"
    stratify: Literal["subset"] | None = None
    split_seed: int = Field(default=0, ge=0)
    files: dict[str, SourceFile] = {}  # sources of files shared by several splits
    splits: dict[str, SplitFile] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _shared_sources(cls, data: Any) -> Any:
        """Copy the source of each file to its splits."""
        files, splits = (data.get(key) if isinstance(data, dict) else None for key in ("files", "splits"))
        if not isinstance(files, dict) or not isinstance(splits, dict):
            return data
        named = {name: entry for name, entry in splits.items() if isinstance(entry, dict)}
        for file, source in files.items():
            users = [name for name, entry in named.items() if entry.get("file") == file]
            if not users:
                raise ValueError(f"files.{file}: no split names this file")
            for name in users if isinstance(source, dict) else ():
                if twice := sorted(source.keys() & named[name].keys()):
                    raise ValueError(f"splits.{name}.{twice[0]}: is given under files.{file} as well")
                named[name] = {**named[name], **source}
        return {**data, "splits": {**splits, **named}}

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
    def _one_source_a_file(self) -> DataManifest:
        sources: dict[str, tuple] = {}
        for name, entry in self.splits.items():
            source = (entry.url, entry.size, entry.checksum)
            if sources.setdefault(entry.file, source) != source:
                raise ValueError(f"splits.{name}: {entry.file} has another url, size or checksum in another split")
        return self

    @model_validator(mode="after")
    def _divided(self) -> DataManifest:
        for kind in ("fraction", "count"):
            given = [name for name, entry in self.splits.items() if getattr(entry, kind) is not None]
            lacking = [name for name in self.splits if name not in given]
            if given and lacking:
                raise ValueError(f"splits.{lacking[0]}.{kind}: is missing, as the other splits have one")
        if not self.divided:
            return self
        if any(entry.fraction and entry.count for entry in self.splits.values()):
            raise ValueError("splits: a split has either a fraction or a count")
        if len({entry.file for entry in self.splits.values()}) > 1:
            raise ValueError("splits: fractions or counts divide one file, but the splits name several")
        total = sum(entry.fraction or 0.0 for entry in self.splits.values())
        if total > 1 + 1e-9:
            raise ValueError(f"splits: the fractions add up to {total:g}, which exceeds 1")
        return self

    @model_validator(mode="after")
    def _grouped(self) -> DataManifest:
        if self.group == "parent" and self.keys.parent is None:
            raise ValueError("group: parent needs keys.parent, the key under which frames name their parents")
        if self.group == "formula" and self.keys.parent is not None:
            raise ValueError("group: formula and keys.parent are two ways to name the parents")
        if self.split_by == "groups" and self.group is None and self.keys.parent is None:
            raise ValueError("split_by: groups needs keys.parent or group: formula, which say what a group is")
        for key, value in (("split_by", self.split_by == "groups"), ("stratify", self.stratify is not None)):
            if value and not self.divided:
                raise ValueError(f"{key}: divides one file and requires a fraction or a count for each split")
        return self

    @property
    def divided(self) -> bool:
        """Whether one file is divided into splits by fractions or counts."""
        return any(entry.part is not None for entry in self.splits.values())

    def files_of(self, split: str, data: DataSettings | None = None) -> list[str]:
        """Names of the files with the frames of ``split``: of all splits if ``data.folds`` pools them."""
        if data is not None and data.folds is not None:
            return list(dict.fromkeys(entry.file for entry in self.splits.values()))
        return [self.splits[split].file]

    def frame_settings(self, split: str, data: DataSettings | None = None) -> dict[str, Any]:
        """What determines the frames of ``split``, as JSON for `frame_arguments`: this manifest, and ``data.folds`` and
        ``data.group_fraction`` of a study. Raises `ValueError` if these need groups and the manifest names none."""
        settings = self._frame_settings(split)
        share = None if data is None else data.group_share(split)
        folds = None if data is None else data.folds
        if (share is not None or folds is not None) and self.group is None and self.keys.parent is None:
            key = "group_fraction" if folds is None else "folds"
            raise ValueError(f"data.{key}: the manifest of {self.name} has neither keys.parent nor group: formula")
        if share is not None:
            settings |= {"group_share": share}
        if folds is not None:
            known = [entry.frames for entry in self.splits.values()]
            settings |= {
                "splits": list(self.splits),
                "sizes": {str(fold): 1.0 / folds.number for fold in range(1, folds.number + 1)},
                "parts": [str(fold) for fold in folds.of_split(split)],
                "split_by": "groups",
                "stratify": "subset",
                "split_seed": self.split_seed,
                "frames": None,
                "pooled_frames": None if None in known else sum(known),
            }
        return settings

    def _frame_settings(self, split: str) -> dict[str, Any]:
        entry = self.splits[split]
        sharing = [name for name, other in self.splits.items() if other.file == entry.file]
        return {
            "split": split,
            "splits": sharing,
            "keys": self.keys.model_dump(),
            "elements": None if self.elements is None else list(self.elements),
            "fidelity": self.fidelity,
            "optional_labels": list(self.optional_labels),
            "group": self.group,
            "sizes": {name: other.part for name, other in self.splits.items()} if self.divided else None,
            "split_by": self.split_by,
            "stratify": self.stratify,
            "split_seed": self.split_seed if self.divided else None,
            "frames": entry.frames,
            "reference_energies": self.reference_energies,
        }

    @property
    def as_published(self) -> bool:
        """Whether splits and energies are those of the files."""
        return self.reference_energies is None and not self.divided

    def split_of_file(self, file: str) -> str | None:
        """The first split in ``file``, or None."""
        return next((name for name, entry in self.splits.items() if entry.file == file), None)

    def fits_references(self) -> bool:
        """Whether reference energies are fitted to the training split."""
        return self.reference_energies == "fit"


def load_data_manifest(path: str | os.PathLike[str]) -> DataManifest:
    """Read and check a data manifest (YAML).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: not a YAML mapping, or keys are unknown, missing or invalid; all of them are named.
    """
    path = Path(path)
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an invalid date
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
