"""Cutoffs as functions of positions (`fcl.cutoffs.schemes`), their derivatives, and the pairs that they keep.

All sums run over directed candidates, each pair in both directions, and all is computed in float64: a_i is the solution
of an equation, whose error would be a step of the energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.autograd.function import once_differentiable

from fcl.config.types import ATOMIC_NUMBERS
from fcl.cutoffs.edges import Candidates, EdgeSelector, Kept, RadialSelector

if TYPE_CHECKING:
    from fcl.cutoffs.schemes import Scheme

#: Length (A) over which `clamped` reaches a bound.
CLAMP = 0.5
#: Solutions are as exact as this (A), before the steps that make them differentiable.
TOLERANCE = 1e-12
#: Largest number of steps of the solver. Some 8 are usual; 42 bisections make 1e-12 A of 3.5 A.
STEPS = 150
#: Elements of one array in `dynamic_cutoffs`: 4 MB, as larger ones are slower.
LARGEST_BLOCK = 500_000
#: Of arXiv:2601.21147: steepness of the soft rank (1/A), order of its envelope, height of the normal distribution, and
#: the weight of every neighbour.
STEEPNESS, ORDER, HEIGHT, FLOOR = 10.0, 50, 1e4, 1e-6


class SchemeSelector(EdgeSelector):
    """r_ij <= m_ij with m_ij from the cutoffs of ``scheme`` by the rule of ``base``; evaluated in the model.

    The candidates are those of ``base`` for the largest cutoffs that the scheme gives. The scheme has both bounds.
    """

    def __init__(self, scheme: Scheme, base: RadialSelector):
        self.scheme, self.base = scheme, base

    def __str__(self) -> str:
        return str(self.scheme)  # in messages

    def reach(self, cutoffs):
        return self.base.reach(cutoffs)

    def select(self, candidates: Candidates, cutoffs: torch.Tensor, margin: float = 0.0) -> Kept:
        """Pairs, m_ij and a_i, differentiable with respect to ``candidates.vectors``; ``cutoffs`` are upper bounds."""
        if margin:
            return self.base.select(replace(candidates, pair_cutoffs=None), cutoffs, margin)
        if candidates.vectors is None or candidates.numbers is None:
            raise ValueError(f"{self}: these cutoffs follow the environment: vectors and elements are needed")
        own = self.cutoffs_of(candidates).to(candidates.distances.dtype)
        detached = replace(candidates, distances=candidates.distances.detach(), pair_cutoffs=None)
        return replace(self.base.select(detached, own), cutoffs=own)

    def cutoffs_of(self, candidates: Candidates) -> torch.Tensor:
        """a_i [n_atoms] (A, float64)."""
        return self.scheme.cutoffs(*directed(candidates), candidates.numbers)


def directed(candidates: Candidates) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances (A, float64) and receivers of both directions of all candidates, [2 n] each.

    An atom and its own image are one pair and two neighbours.
    """
    r = torch.linalg.vector_norm(candidates.vectors.double(), dim=1)
    return torch.cat([r, r]), torch.cat([candidates.j, candidates.i])


def by_element(values: float | Mapping[str, float], numbers: torch.Tensor) -> torch.Tensor:
    """A number for each atom [n_atoms], float64: one for all, or by chemical symbol (NaN for others)."""
    if not isinstance(values, Mapping):
        return torch.full(numbers.shape, float(values), dtype=torch.float64, device=numbers.device)
    table = torch.full((119,), float("nan"), dtype=torch.float64)
    for symbol, value in values.items():
        table[ATOMIC_NUMBERS[symbol]] = float(value)
    return table.to(numbers.device).index_select(0, numbers)


def clamped(a: torch.Tensor, lower: float, upper: float) -> torch.Tensor:
    """``a`` (A) bounded to [lower, upper], twice continuously differentiable and increasing between them.

    The identity but for the last `CLAMP` (at most half of the interval) before a bound, where its slope and curvature
    vanish: a + d k(u) with u from 0 to 1 over the distance d, k = u^3 (1 - u)(4 - 3 u). The slope is at most 1.52.
    """
    d = min(CLAMP, 0.5 * (upper - lower))
    if d <= 0.0:
        return torch.full_like(a, upper)
    a = a.clamp(lower, upper)
    u, v = ((a - upper) / d + 1.0).clamp(min=0.0), ((lower - a) / d + 1.0).clamp(min=0.0)
    return a + d * (_bend(u) - _bend(v))


def _bend(u: torch.Tensor) -> torch.Tensor:
    return u**3 * (1.0 - u) * (4.0 - 3.0 * u)


# -- a number of neighbours --------------------------------------------------------------------------------------------


class NeighbourCount:
    """N(a) [n_atoms] = sum_j S((a_i - r_ij) / w) + b (a_i / a_max)^3 and dN/da for cutoffs a [n_atoms] (A).

    S(t) = t^3 (10 - 15 t + 6 t^2), 0 below and 1 above [0, 1]; N increases with a. Differentiable with respect to both.
    """

    def __init__(self, distances, receivers, width: float, background: float, upper: float):
        self.distances, self.receivers = distances, receivers
        self.width, self.background, self.upper = width, background, upper

    def __call__(self, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        t = ((a.index_select(0, self.receivers) - self.distances) / self.width).clamp(0.0, 1.0)
        x = a / self.upper
        count = (self.background * x**3).index_add(0, self.receivers, t**3 * (10.0 + t * (6.0 * t - 15.0)))
        slope = 3.0 * self.background / self.upper * x**2
        return count, slope.index_add(0, self.receivers, 30.0 / self.width * (t * (1.0 - t)) ** 2)


def solve(count: NeighbourCount, target: torch.Tensor, lower: float, upper: float) -> torch.Tensor:
    """The a [n_atoms] (A) with N(a) = ``target`` [n_atoms], or the bound beyond which it lies; no gradient.

    Newton's method for all atoms at once, inside brackets: a step that leaves its bracket, or is more than half as long
    as the last one, is a bisection instead.
    """
    with torch.no_grad():
        low, high = torch.full_like(target, lower), torch.full_like(target, upper)
        many, few = count(low)[0] >= target, count(high)[0] <= target
        low, high = torch.where(few & ~many, high, low), torch.where(many, low, high)
        a, last, done = 0.5 * (low + high), high - low, many | few
        for _ in range(STEPS):
            n, slope = count(a)
            above = n > target
            low, high = torch.where(above, low, a), torch.where(above, a, high)
            newton = a - (n - target) / slope
            done = done | ((newton - a).abs() <= TOLERANCE) | (high - low <= TOLERANCE)
            if bool(done.all()):
                break
            useful = (newton >= low) & (newton <= high) & ((newton - a).abs() <= 0.5 * last)
            following = torch.where(done, a, torch.where(useful, newton, 0.5 * (low + high)))
            a, last = following, (following - a).abs()
        return a


def neighbour_cutoffs(
    distances: torch.Tensor,
    receivers: torch.Tensor,
    target: torch.Tensor,
    lower: float,
    upper: float,
    *,
    width: float,
    background: float,
) -> torch.Tensor:
    """Cutoffs a_i [n_atoms] (A) of `fcl.cutoffs.schemes.NeighbourCutoffs`, twice differentiable.

    distances, receivers [n]: see `fcl.cutoffs.schemes.Scheme.cutoffs`; target [n_atoms]: numbers of neighbours, also
    differentiable. The derivative is that of the implicit function: the solution is found without gradients, and
    two Newton steps a - (N(a) - target) / (dN/da) from there, which do not change it, have the first and second
    derivatives. Each neighbour has da/dr between 0 and 1, and their sum is below 1, before `clamped` makes the way to a
    bound smooth. Solutions beyond a bound are that bound, with derivative zero.
    """
    count = NeighbourCount(distances, receivers, width, background, upper)
    a = solve(NeighbourCount(distances.detach(), receivers, width, background, upper), target.detach(), lower, upper)
    inside = (a > lower) & (a < upper)
    for _ in range(2):
        n, slope = count(a)
        a = torch.where(inside, a - (n - target) / slope, a)
    return clamped(a, lower, upper)


# -- smooth dynamic cutoffs --------------------------------------------------------------------------------------------


def dynamic_cutoffs(
    distances: torch.Tensor,
    receivers: torch.Tensor,
    n_atoms: int,
    lower: float,
    upper: float,
    rank: float,
    spread: float,
) -> torch.Tensor:
    """Cutoffs [n_atoms] (A) of `fcl.cutoffs.schemes.DynamicCutoffs`, once differentiable; distances, receivers [n]."""
    return clamped(_Dynamic.apply(distances, receivers, n_atoms, upper, rank, spread), lower, upper)


class _Dynamic(torch.autograd.Function):
    """c_v [n_atoms] and dc_v/dr_uv [n]: c_v depends on the distances of the neighbours of v only.

    Rows of neighbours are filled up to the longest one, and evaluated so many at a time that the ranks of all pairs of
    neighbours have at most `LARGEST_BLOCK` elements.
    """

    @staticmethod
    def forward(ctx, distances, receivers, n_atoms, reach, rank, spread):
        near = (distances.detach() < reach).nonzero().flatten()  # others have no weight
        receivers_of_near = receivers.index_select(0, near)
        order = near.index_select(0, torch.argsort(receivers_of_near, stable=True))
        own = receivers.index_select(0, order)
        counts = torch.zeros(n_atoms, dtype=torch.int64, device=own.device).index_add(0, own, torch.ones_like(own))
        place = torch.arange(len(own), device=own.device) - (counts.cumsum(0) - counts).index_select(0, own)
        longest = int(counts.max()) if len(own) else 0
        rows = distances.new_full((n_atoms, longest), reach)
        rows[own, place] = distances.detach().index_select(0, order)
        cutoffs, slopes = [], []
        for part in torch.split(rows, max(1, LARGEST_BLOCK // max(1, longest) ** 2)):
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                part = part.detach().requires_grad_(ctx.needs_input_grad[0])
                c = _soft_radius(part, reach, rank, spread)
                if ctx.needs_input_grad[0]:
                    slopes.append(torch.autograd.grad(c.sum(), part)[0])
            cutoffs.append(c.detach())
        if slopes:
            slope = torch.zeros_like(distances).index_copy(0, order, torch.cat(slopes)[own, place])
            ctx.save_for_backward(slope, receivers)
        return torch.cat(cutoffs)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        slope, receivers = ctx.saved_tensors
        return gradient.index_select(0, receivers) * slope, None, None, None, None, None


def _soft_radius(r: torch.Tensor, reach: float, rank: float, spread: float) -> torch.Tensor:
    """c [n] (A) from distances r [n, k] (A) of the neighbours of each atom, filled up with ``reach``."""
    x = (r / reach).clamp(max=1.0)
    envelope = 1.0 - x**ORDER * (0.5 * (ORDER + 1) * (ORDER + 2) - ORDER * x * (ORDER + 2 - 0.5 * (ORDER + 1) * x))
    closer = torch.sigmoid(STEEPNESS * (r[:, :, None] - r[:, None, :]))
    ranks = (closer @ envelope[:, :, None])[:, :, 0] - 0.5 * envelope  # without the neighbour itself
    normal = torch.exp(-0.5 * ((ranks - rank) / spread) ** 2) / (spread * (2.0 * torch.pi) ** 0.5)
    weights = (HEIGHT * normal + FLOOR) * envelope
    return ((weights * r).sum(1) + FLOOR * reach) / (weights.sum(1) + FLOOR)
