"""Subsets that a study calibrates or observes have to be in its data: found out before anything is trained.

At the start of a run if the data manifest or a graph store says which subsets there are, otherwise when the store is
built. No parameter of a rule depends on it, so that no job runs again when other subsets are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcl.config.errors import nearest
from fcl.config.load import load_config
from fcl.config.sharing import owner_of_store
from fcl.config.study import Study

SECTIONS = ("calibration", "observables")


def fault_of_subsets(study: Study, split: str, known: Collection[str], data: str) -> str | None:
    """Error message if ``study`` needs a subset that is not among the ``known`` ones of a ``split`` of ``data``."""
    for section in SECTIONS if split in (study.calibration.split, "test") else ():
        for name in getattr(study, section).subsets:
            if name not in known:
                place = f"studies.{study.name}.{section}.subsets"
                return f"{place}: there is no subset {name!r} in the {split} split of {data}{nearest(name, known)}"
    return None


def stored_subsets(
    manifest: Path, sources: Sequence[Path], data: Mapping[str, Any], frames: Mapping[str, Any]
) -> list[str] | None:
    """The subsets of a graph store with this run ``manifest``; None if they are unknown or it would be built again.

    ``sources``, ``data`` and ``frames`` are the files, the section of the settings and the frame settings of today.
    """
    try:
        made = json.loads(manifest.read_text(encoding="utf-8"))
        sizes = [file["bytes"] for name, file in made["inputs"].items() if name.startswith("source")]
        now = made["settings"]["data"], made["extra"]["frames"], sizes
        same = now == (data, frames, [source.stat().st_size for source in sources])
        return list(made["extra"]["frames_per_subset"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_of_subsets(config: Mapping[str, Any], owner: str, split: str | None) -> Callable[[Collection[str]], None]:
    """A function of the subsets in a store of the study ``owner``: `ValueError` if the selected study needs others.

    ``split``: None for a further test set, whose subsets are its own.
    """

    def check(known: Collection[str]) -> None:
        checked = load_config(config)
        if split is not None and owner_of_store(checked, checked.study) == owner:
            fault = fault_of_subsets(checked.resolve(checked.study), split, known, f"the data of {owner}")
            if fault:
                raise ValueError(fault)

    return check
