"""Assignment of the frames of a file to a split, and the rules for reading them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.types import SYMBOLS
from fcl.data.extxyz import BrokenFile, parse, sources
from fcl.data.frames import FrameError, FrameRules, parent_of
from fcl.data.groups import deal_groups


@dataclass(frozen=True)
class Portion:
    """The part ``split`` of a file divided into ``sizes``, randomly with ``seed``.

    ``sizes`` by split, in order: number of frames (int) or share of the whole (float). ``by_groups``: all frames of a
    parent go to the same split; ``stratified``: subsets have the same proportions in every split.
    """

    split: str
    sizes: dict[str, int | float]
    seed: int = 0
    by_groups: bool = False
    stratified: bool = False


def chosen_frames(path: Path, portion: Portion, rules: FrameRules | None = None) -> np.ndarray:
    """[n_frames] bool: the frames of a file in ``portion.split``. No frame is in two splits.

    Shares of single frames depend only on the number of frames: these are ordered by SHA-256 of seed and index, which
    is independent of library versions. Otherwise the frames are read with ``rules`` and assigned by
    `fcl.data.groups.deal_groups`. Raises `FrameError` if a split would be empty, or there are too few frames.
    """
    if portion.by_groups or portion.stratified or all(isinstance(size, int) for size in portion.sizes.values()):
        return _dealt(path, portion, rules or FrameRules())
    count = sum(1 for _ in sources(path))
    order = sorted(range(count), key=lambda frame: hashlib.sha256(f"{portion.seed} {frame}".encode()).digest())
    bounds = np.rint(np.cumsum([0.0, *portion.sizes.values()]) * count).astype(int)
    place = list(portion.sizes).index(portion.split)
    chosen = np.zeros(count, dtype=bool)
    chosen[order[bounds[place] : bounds[place + 1]]] = True
    if not chosen.any():
        share = portion.sizes[portion.split]
        reason = f"too few frames: {share:g} of {count} frames leave none for the split {portion.split!r}"
        raise BrokenFile(path, count, "frame", reason)
    return chosen


def _dealt(path: Path, portion: Portion, rules: FrameRules) -> np.ndarray:
    """`chosen_frames` by groups or strata. An unreadable frame is a group of its own: if invalid frames are skipped, it
    is missing in the split to which it was assigned."""
    groups, strata = [], []
    for index, source in sources(path):
        group, stratum = f"frame {index}", "default"
        try:
            raw = parse(path, index, source, rules)
        except FrameError:
            pass
        else:
            stratum = stratum if raw.subset is None else str(raw.subset)
            if portion.by_groups:
                group = parent_of(raw, rules)
                if group is None:
                    reason = f"missing, but needed as group; the frame contains {', '.join(raw.names) or 'no label'}"
                    raise BrokenFile(path, index, rules.parent or "parent", reason)
        groups.append(group)
        strata.append(stratum if portion.stratified else "")
    try:
        splits = deal_groups(groups, strata, portion.sizes, portion.seed)
    except ValueError as error:
        raise BrokenFile(path, len(groups), "frame", str(error)) from error
    return np.array([split == portion.split for split in splits])


def frame_arguments(settings: dict[str, Any], num_elements: int, max_force: float | None) -> dict[str, Any]:
    """Arguments of `fcl.data.build.build_store`, from `DataManifest.frame_settings` and the limits of the study."""
    keys, split = settings["keys"], settings["split"]
    symbols = settings["elements"] or SYMBOLS
    numbers = {SYMBOLS.index(symbol) + 1 for symbol in symbols}
    divided = settings["sizes"] is not None
    rules = FrameRules(
        energy=keys["energy"],
        forces=keys["forces"],
        subset=keys["subset"],
        split_key=keys["split"],
        stress=keys["stress"],
        virial=keys["virial"],
        parent=keys["parent"],
        fidelity_key=keys["fidelity"],
        fidelity=settings["fidelity"],
        by_formula=settings["group"] == "formula",
        energy_optional="energy" in settings["optional_labels"],
        splits=tuple(settings["splits"]),
        select=len(settings["splits"]) > 1 and not divided,
        any_split=divided,
        elements=frozenset(number for number in numbers if number <= num_elements),
        max_force=max_force,
    )
    by_groups, stratified = settings["split_by"] == "groups", settings["stratify"] is not None
    portion = Portion(split, settings["sizes"], settings["split_seed"], by_groups, stratified) if divided else None
    references = settings["reference_energies"]
    return {"split": split, "rules": rules, "portion": portion, "frames": settings["frames"], "references": references}
