"""Which frames of a file make a split, and by which rules they are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.types import SYMBOLS
from fcl.data.extxyz import BrokenFile, sources
from fcl.data.frames import FrameRules


@dataclass(frozen=True)
class Portion:
    """The part ``split`` of a file that is divided into ``fractions`` (name -> share, in order) by ``seed``."""

    split: str
    fractions: dict[str, float]
    seed: int = 0


def chosen_frames(path: Path, portion: Portion) -> np.ndarray:
    """[n_frames] bool: the frames of a file that make ``portion.split``. Every frame belongs to at most one split.

    The frames are counted first. Their order is that of SHA-256 over seed and frame: it depends on no library and no
    version of one. Raises `FrameError` when the fractions leave the split without a frame.
    """
    count = sum(1 for _ in sources(path))
    order = sorted(range(count), key=lambda frame: hashlib.sha256(f"{portion.seed} {frame}".encode()).digest())
    bounds = np.rint(np.cumsum([0.0, *portion.fractions.values()]) * count).astype(int)
    place = list(portion.fractions).index(portion.split)
    chosen = np.zeros(count, dtype=bool)
    chosen[order[bounds[place] : bounds[place + 1]]] = True
    if not chosen.any():
        share = portion.fractions[portion.split]
        reason = f"too few frames: {share:g} of {count} frames leave none for the split {portion.split!r}"
        raise BrokenFile(path, count, "frame", reason)
    return chosen


def frame_arguments(settings: dict[str, Any], num_elements: int, max_force: float | None) -> dict[str, Any]:
    """Arguments of `fcl.data.build.build_store` from `DataManifest.frame_settings` and the limits of the study."""
    keys, split = settings["keys"], settings["split"]
    symbols = settings["elements"] or SYMBOLS
    numbers = {SYMBOLS.index(symbol) + 1 for symbol in symbols}
    divided = settings["fractions"] is not None
    rules = FrameRules(
        energy=keys["energy"],
        forces=keys["forces"],
        subset=keys["subset"],
        split_key=keys["split"],
        splits=tuple(settings["splits"]),
        select=len(settings["splits"]) > 1 and not divided,
        any_split=divided,
        elements=frozenset(number for number in numbers if number <= num_elements),
        max_force=max_force,
    )
    portion = Portion(split, settings["fractions"], settings["split_seed"]) if divided else None
    references = settings["reference_energies"]
    return {"split": split, "rules": rules, "portion": portion, "frames": settings["frames"], "references": references}
