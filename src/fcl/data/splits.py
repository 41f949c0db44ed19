"""Assignment of the frames of a file to a split, and the rules for reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.types import ATOMIC_NUMBERS
from fcl.data.extxyz import BrokenFile, parse, sources
from fcl.data.frames import FrameError, FrameRules, parent_of
from fcl.data.groups import deal_groups, share_of_groups


@dataclass(frozen=True)
class Portion:
    """The frames of ``split`` among those of one or several files.

    ``sizes`` by part, in order, of the whole divided randomly with ``seed``: number of frames (int) or share (float);
    None: the files hold this split. ``parts``: those of the split, () if the split itself is a part. ``by_groups``: all
    frames of a parent go to the same part; ``stratified``: subsets have the same proportions in every part.
    ``group_share``: share of the groups of each subset that is kept; None: all. ``frames``: expected number of frames
    in the files.
    """

    split: str
    sizes: dict[str, int | float] | None
    seed: int = 0
    by_groups: bool = False
    stratified: bool = False
    parts: tuple[str, ...] = ()
    group_share: float | None = None
    frames: int | None = None

    @property
    def by_number(self) -> bool:
        """Whether only the number of frames matters: shares of single frames."""
        counted = self.sizes is None or all(isinstance(size, int) for size in self.sizes.values())
        return not (counted or self.by_groups or self.stratified or self.group_share)


def chosen_frames(files: Path | Sequence[Path], portion: Portion, rules: FrameRules | None = None) -> np.ndarray:
    """[n_frames] bool: the frames of all ``files``, one after the other, in ``portion``. No frame is in two parts.

    Shares of single frames depend only on the number of frames: these are ordered by SHA-256 of seed and index, which
    is independent of library versions. Otherwise the frames are read with ``rules`` and assigned by `fcl.data.groups`.
    Raises `FrameError` if a split would be empty, or there are too few frames.
    """
    files = [files] if isinstance(files, Path) else list(files)
    if not portion.by_number:
        return _dealt(files, portion, rules or FrameRules())
    count = sum(1 for file in files for _ in sources(file))
    order = sorted(range(count), key=lambda frame: hashlib.sha256(f"{portion.seed} {frame}".encode()).digest())
    bounds = np.rint(np.cumsum([0.0, *portion.sizes.values()]) * count).astype(int)
    place = list(portion.sizes).index(portion.split)
    chosen = np.zeros(count, dtype=bool)
    chosen[order[bounds[place] : bounds[place + 1]]] = True
    if not chosen.any():
        share = portion.sizes[portion.split]
        reason = f"too few frames: {share:g} of {count} frames leave none for the split {portion.split!r}"
        raise BrokenFile(files[-1], count, "frame", reason)
    return chosen


def _dealt(files: Sequence[Path], portion: Portion, rules: FrameRules) -> np.ndarray:
    """`chosen_frames` by groups or strata. An unreadable frame is a group of its own: if invalid frames are skipped, it
    is missing in the split to which it was assigned."""
    grouped = portion.by_groups or portion.group_share is not None
    groups, subsets, own, readable = [], [], [], []
    for file in files:
        for index, source in sources(file):
            group, subset, belongs, raw = f"frame {len(groups)}", "default", True, None
            try:
                raw = parse(file, index, source, rules)
            except FrameError:
                pass
            else:
                subset = subset if raw.subset is None else str(raw.subset)
                belongs = not rules.select or raw.split == portion.split
                if grouped:
                    group = parent_of(raw, rules)
                    if group is None:
                        reason = (
                            f"missing, but needed as group; the frame contains {', '.join(raw.names) or 'no label'}"
                        )
                        raise BrokenFile(file, index, rules.parent or "parent", reason)
            groups.append(group)
            subsets.append(subset)
            own.append(belongs)
            readable.append(raw is not None)
    if portion.frames not in (None, len(groups)):
        reason = f"the files contain {len(groups)} frames, but the data manifest says {portion.frames}"
        raise BrokenFile(files[-1], len(groups), "frame", reason)
    chosen, key = np.array(own), "data.folds" if portion.parts else "frame"
    try:
        if portion.sizes is not None:
            strata = subsets if portion.stratified else [""] * len(subsets)
            parts = deal_groups(groups, strata, portion.sizes, portion.seed)
            chosen = np.isin(np.array(parts, dtype=str), portion.parts or (portion.split,))
        if portion.group_share is not None:
            key, places = "data.group_fraction", np.flatnonzero(chosen & np.array(readable))
            names = ([values[place] for place in places] for values in (groups, subsets))
            chosen[places] = share_of_groups(*names, portion.group_share, portion.seed)
    except ValueError as error:
        raise BrokenFile(files[-1], len(groups), key, str(error)) from error
    return chosen


def frame_arguments(settings: dict[str, Any], num_elements: int, max_force: float | None) -> dict[str, Any]:
    """Arguments of `fcl.data.build.build_store`, from `DataManifest.frame_settings` and the limits of the study."""
    keys, split = settings["keys"], settings["split"]
    numbers = {ATOMIC_NUMBERS[symbol] for symbol in settings["elements"] or ATOMIC_NUMBERS}
    divided = settings["sizes"] is not None
    rules = FrameRules(
        **{name: keys[name] for name in ("energy", "forces", "subset", "stress", "virial", "parent")},
        split_key=keys["split"],
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
    portion = Portion(
        split,
        settings["sizes"],
        settings["split_seed"] or 0,
        by_groups=settings["split_by"] == "groups",
        stratified=settings["stratify"] is not None,
        parts=tuple(settings.get("parts", ())),
        group_share=settings.get("group_share"),
        frames=settings.get("pooled_frames"),
    )
    portion = portion if divided or portion.group_share is not None else None
    references = settings["reference_energies"]
    return {"split": split, "rules": rules, "portion": portion, "frames": settings["frames"], "references": references}
