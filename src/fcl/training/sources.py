"""Where the frames of a training on own data come from: a data manifest, or files of structures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcl.config.errors import validated
from fcl.data.download import DownloadError, fetch_split
from fcl.data.manifest import DataManifest, load_data_manifest


@dataclass(frozen=True)
class Split:
    """A split: its files, and how frames are read (`DataManifest.frame_settings`); ``any_split``: whatever they say."""

    name: str
    files: tuple[Path, ...]
    frames: dict[str, Any]
    any_split: bool = False


def paths_of(files: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    return (Path(files),) if isinstance(files, str | Path) else tuple(map(Path, files))


def of_manifest_file(path: Path, output: Path, options: Mapping[str, Any]) -> list[Split]:
    """The splits train and val of a data manifest; files with a url are taken from FCL_DATA_DIR or downloaded."""
    if given := [name for name, value in options.items() if value is not None]:
        raise ValueError(f"{path}: is a data manifest, which says this itself: leave {', '.join(given)} out")
    manifest = load_data_manifest(path)
    splits = []
    for name in ("train", "val"):
        if name not in manifest.splits:
            raise ValueError(f"{path}: splits.{name}: is missing")
        entry = manifest.splits[name]
        file = path.parent / entry.file
        if entry.url is not None:
            file = output / "data" / entry.file
            try:
                fetch_split(path, name, file)
            except DownloadError as error:
                raise OSError(str(error)) from error
        splits.append(Split(name, (file,), manifest.frame_settings(name)))
    return splits


def of_files(
    train: tuple[Path, ...], val: tuple[Path, ...], data: str | Path | None, *, val_fraction: float | None,
    group: str | None, energy_key: str | None, forces_key: str | None, stress_key: str | None, with_stress: bool,
    reference_energies: Mapping[str, float] | str | None,
) -> list[Split]:  # fmt: skip
    """The splits of files of structures, read as a data manifest of the same contents would have them read."""
    if (data is None) != bool(train and val) or (data is not None and (train or val)):
        raise ValueError("give files for train and for val, or one for data that is divided")
    if data is None and (val_fraction is not None or group is not None):
        raise ValueError("val_fraction and group divide one file (data); train and val are taken as they are")
    share = 0.1 if val_fraction is None else val_fraction
    if not 0.0 < share < 1.0:
        raise ValueError(f"val_fraction: {share:g} is not between 0 and 1")
    references = "fit" if reference_energies is None else reference_energies
    if not isinstance(references, Mapping) and references not in ("fit", "none"):
        raise ValueError(f"reference_energies: {references!r} is neither fit, none nor energies by symbol")
    parts = {"train": round(1.0 - share, 12), "val": share}
    keys = {"energy": energy_key or "energy", "forces": forces_key or "forces"}
    keys["stress"] = stress_key or ("stress" if with_stress else None)
    contents = {
        "name": "own", "title": "own data", "licence": "", "citation": "", "version": "",
        "keys": {**keys, "parent": None if group == "formula" else group},
        "group": "formula" if group == "formula" else None,
        "split_by": "frames" if group is None else "groups",
        "reference_energies": None if references == "none" else references,
        "splits": {
            name: {"file": name} if data is None else {"file": "data", "fraction": part} for name, part in parts.items()
        },
    }  # fmt: skip
    manifest = validated(DataManifest, contents, "own data")
    files = {"train": train, "val": val} if data is None else dict.fromkeys(parts, (Path(data),))
    return [Split(name, files[name], manifest.frame_settings(name), any_split=True) for name in parts]
