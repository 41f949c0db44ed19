"""Stratified group splits: no group in two splits, strata in equal proportions, sizes as close as possible.

Groups of the same *kind* (equal numbers of frames in each stratum) are interchangeable, so it is only determined how
many groups of each kind go to each split. The groups themselves are then ordered by SHA-256 of the seed and their name,
so the result depends neither on the order of the frames nor on a library's random numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def wanted_frames(sizes: Mapping[str, int | float], count: int) -> dict[str, int]:
    """Number of frames per split: ints are numbers of frames, floats are shares of ``count`` (bounds are rounded).

    Raises `ValueError` if there are too few frames, or a split would be empty.
    """
    wanted: dict[str, int] = {}
    begin = 0.0
    for name, size in sizes.items():
        if isinstance(size, int):
            wanted[name] = size
        else:
            wanted[name] = round((begin + size) * count) - round(begin * count)
            begin += size
    if sum(wanted.values()) > count:
        raise ValueError(f"too few frames: the splits need {sum(wanted.values())}, but there are {count}")
    for name, number in wanted.items():
        if number < 1:
            raise ValueError(f"too few frames: {sizes[name]:g} of {count} frames leave none for the split {name!r}")
    return wanted


def deal_groups(
    groups: Sequence[str], strata: Sequence[str], sizes: Mapping[str, int | float], seed: int
) -> list[str | None]:
    """The split of each frame, or None if it is in none.

    Args:
        groups: name of the group of each frame; all frames of a group go to the same split.
        strata: stratum of each frame, e.g. its subset; splits have the proportions of the whole.
        sizes: frames per split, a number (int) or a share of the whole (float), in order.
        seed: determines the assignment of groups.

    With enough groups of a single frame, sizes are exact and proportions within one or two frames; otherwise no move of
    one group or exchange of two would bring sizes (first) or proportions closer. Raises `ValueError` as
    `wanted_frames`, and if there are too few groups, or too large ones, for each split to get one.
    """
    wanted = wanted_frames(sizes, len(groups))
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata, strict=True):
        members[group][stratum] += 1
    if len(members) < len(wanted):
        raise ValueError(f"{len(members)} groups of frames cannot be divided into {len(wanted)} splits")
    totals = Counter(strata)
    kinds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for group, held in members.items():
        kinds[tuple(held[stratum] for stratum in sorted(totals))].append(group)
    order = sorted(kinds, key=lambda kind: (-sum(kind), kind))  # the largest groups first
    targets = _targets(totals, list(wanted.values()))
    held, available = np.array(order), np.array([len(kinds[kind]) for kind in order])
    shares = _improved(_first_deal(held, available, targets), held, targets)
    names = (*wanted, None)
    split_of: dict[str, str | None] = {}
    for kind, numbers in zip(order, shares.T.tolist(), strict=True):
        alike = iter(_shuffled(kinds[kind], seed))
        for name, number in zip(names, numbers, strict=False):  # there may be no remainder
            split_of |= {next(alike): name for _ in range(number)}
    empty = [name for name, row in zip(wanted, shares, strict=False) if not row.any()]
    if empty:
        largest = f"the largest of {len(members)} groups has {max(map(sum, order))} of {len(groups)} frames"
        raise ValueError(f"no group is left for the split {empty[0]!r}: {largest}")
    return [split_of[group] for group in groups]


def split_groups(groups: Sequence[int], fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Random split of structures by their ``groups``: sorted positions of each part, sizes close to ``fractions``.

    Each part has at least one group. Raises `ValueError` for fewer groups than parts.
    """
    n, n_groups = len(groups), len(set(groups))
    if n_groups < len(fractions):
        reason = f"structures of {n_groups} groups cannot be split into {len(fractions)} parts"
        raise ValueError(f"{reason}; copies of a structure and frames of one parent are a group")
    ends = [round(n * part) for part in np.cumsum(fractions) / sum(fractions)]
    for k in range(len(ends)):  # no part is empty
        ends[k] = min(max(ends[k], k + 1), n - (len(ends) - 1 - k))
    sizes = {str(k): end - begin for k, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))}
    parts = np.array(deal_groups([str(group) for group in groups], [""] * n, sizes, seed))
    return [np.flatnonzero(parts == name) for name in sizes]


def share_of_groups(groups: Sequence[str], strata: Sequence[str], share: float, seed: int) -> np.ndarray:
    """[n_frames] bool: the frames of a ``share`` of the groups of each stratum (rounded), whole groups.

    A group belongs to the stratum of most of its frames. Groups are taken in the order of the SHA-256 of the seed and
    their name, so a smaller share is part of a larger one. Raises `ValueError` if no group of a stratum would be left.
    """
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata, strict=True):
        members[group][stratum] += 1
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for group in _shuffled(members, seed):
        by_stratum[min(members[group], key=lambda name: (-members[group][name], name))].append(group)
    chosen: set[str] = set()
    for stratum, names in by_stratum.items():
        number = int(share * len(names) + 0.5)
        if not number:
            raise ValueError(f"{share:g} of {len(names)} groups of {stratum} leaves none")
        chosen.update(names[:number])
    return np.array([group in chosen for group in groups])


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())


def _targets(totals: Mapping[str, int], wanted: list[int]) -> np.ndarray:
    """Target number of frames [splits, strata]: integers with exact sums, close to the proportions of the whole.

    The frames of all strata are interleaved evenly, and the sequence is cut at the ends of the splits. The remainder,
    if any, is an additional split.
    """
    counts = [totals[name] for name in sorted(totals)]
    row = sorted(((2 * k + 1) / (2 * count), place) for place, count in enumerate(counts) for k in range(count))
    strata = np.array([place for _, place in row])
    ends = np.cumsum(wanted)
    parts = np.split(strata, ends if ends[-1] < len(strata) else ends[:-1])
    return np.array([np.bincount(part, minlength=len(totals)) for part in parts])


def _first_deal(held: np.ndarray, available: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Number of groups [splits, kinds]: greedy, each group to the split where it fits and its strata are least filled.

    ``held`` [kinds, strata]: frames per group; ``available`` [kinds]: number of groups. Filling is measured as in the
    Sainte-Lague method, which distributes large groups in proportion to the sizes of the splits.
    """
    filled, shares = np.zeros_like(targets), np.zeros((len(targets), len(held)), dtype=int)
    goals = np.maximum(targets, 0.5)
    for kind, (frames, number) in enumerate(zip(held, available, strict=True)):
        own = frames > 0
        for _ in range(number):
            over = np.minimum(np.maximum(filled + frames - targets, 0), frames).sum(1)
            level = ((filled + frames / 2) / goals)[:, own].max(1)
            split = np.lexsort((level, over))[0]
            shares[split, kind] += 1
            filled[split] += frames
    return shares


def _improved(shares: np.ndarray, held: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Local search: the best move of a group or exchange of two, while sizes or (second) proportions come closer."""
    moves = np.concatenate([held, np.zeros_like(held[:1])])  # the last row: a move without exchange
    weight = int(targets.sum()) * 4 + 1  # sizes take precedence over proportions

    def cost(excess: np.ndarray) -> np.ndarray:
        return weight * np.abs(excess.sum(-1)) + np.abs(excess).sum(-1)

    excess = shares @ held - targets
    while excess.any():
        best, change = 0, None
        for a, b in np.ndindex(len(targets), len(targets)):
            back = np.append(np.flatnonzero(shares[b]), len(held))
            for kind in np.flatnonzero(shares[a]) if a != b else ():
                step = held[kind] - moves[back]
                gain = cost(excess[a] - step) + cost(excess[b] + step) - cost(excess[a]) - cost(excess[b])
                if gain.min() < best:
                    best, change = gain.min(), (a, b, kind, back[gain.argmin()])
        if change is None:
            break
        a, b, kind, other = change
        for one, split in ((kind, a), (other, b)):
            if one < len(held):
                shares[split, one] -= 1
                shares[a + b - split, one] += 1
        excess = shares @ held - targets
    return shares
