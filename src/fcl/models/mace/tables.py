"""Tables of radial functions: quintic Hermite splines in the distance, one table per pair cutoff.

With the cutoffs fixed, the radial weights of a pair depend on its distance r and its m_ij only, with Bessel functions
and envelope. A table holds their values and first two derivatives at knots from 0 to m, from which every interval gets
the polynomial of degree 5 that has them at both ends: the interpolant is twice continuously differentiable, its error
falls as the sixth power of the interval, and forces are the exact derivatives of the tabulated energy. Below an
angstrom the networks vary much faster than where most pairs are, so intervals are halved where the error requires it.
Tables begin at r = 0: no pair is closer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

#: Functions of r and m [k, 1] (A), r in (0, m], with values [k, n].
Radial = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Where values at r = 0 are extrapolated from, relative to m: the Bessel functions cannot be evaluated there.
_NEAR_ZERO = 1e-4
#: Tables that are made at once, to save memory, and tables of which the error is measured, to save time.
_CLASSES, _MEASURED = 16, 4
#: Intervals at first, and most halvings of one.
_INTERVALS, _HALVINGS = 16, 10
#: Coefficients of 1, t, ..., t^5 for (value, slope, curvature) at the near end of an interval of length 1, then at the
#: far end.
HERMITE = (
    (1.0, 0.0, 0.0, -10.0, 15.0, -6.0),
    (0.0, 1.0, 0.0, -6.0, 8.0, -3.0),
    (0.0, 0.0, 0.5, -1.5, 1.5, -0.5),
    (0.0, 0.0, 0.0, 10.0, -15.0, 6.0),
    (0.0, 0.0, 0.0, -4.0, 7.0, -3.0),
    (0.0, 0.0, 0.0, 0.5, -1.0, 0.5),
)


def derivatives(function: Radial, r: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Value, slope and curvature in r, [k, 3, n], of ``function`` at r and m [k, 1] (A)."""
    one = torch.ones_like(r)

    def slope(r: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(lambda r: function(r, m), (r,), (one,))[1]

    with torch.no_grad():
        return torch.stack([function(r, m), *torch.func.jvp(slope, (r,), (one,))], dim=1)


def knots_for(function: Radial, cutoffs: torch.Tensor, tolerance: float, shortest: float) -> torch.Tensor:
    """Knots [n + 1] from 0 to 1, relative to m, for all of ``cutoffs`` [classes] (A, float64).

    For some of the cutoffs, intervals are halved until the slopes of the interpolants deviate by at most ``tolerance``
    (1/A) from those of ``function`` at r > ``shortest`` (A), a thousand times as much below. Knots are multiples of
    2^-14.
    """
    cutoffs = cutoffs[torch.linspace(0, len(cutoffs) - 1, min(len(cutoffs), _MEASURED)).round().long()]
    left = torch.arange(_INTERVALS, dtype=torch.float64) / _INTERVALS
    width = torch.full_like(left, 1.0 / _INTERVALS)
    done = []
    for _ in range(_HALVINGS):
        inside = torch.tensor([0.0, 0.28, 0.5, 0.72, 1.0], dtype=torch.float64)  # errors are largest at 0.28
        m = cutoffs[:, None, None]
        points = (m * (left[:, None] + width[:, None] * inside)).clamp(min=_NEAR_ZERO)
        known = derivatives(function, points.reshape(-1, 1), m.expand_as(points).reshape(-1, 1))
        known = known.view(*points.shape, 3, -1)
        h = (m * width[:, None])[..., None]
        ends = known[:, :, [0, -1]].flatten(2, 3)  # [classes, intervals, 6, n]
        slopes = basis(inside[1:-1], derivative=True)
        scales = torch.cat([1 / h, torch.ones_like(h), h] * 2, dim=2)  # [classes, intervals, 6, 1]
        error = (slopes @ (ends * scales) - known[:, :, 1:-1, 1]).abs().amax((0, 2, 3))
        allowed = torch.where((left + width) * cutoffs.max() > shortest, tolerance, 1000.0 * tolerance)
        good = error <= allowed
        done.append(left[good])
        left, width = left[~good], 0.5 * width[~good]
        left, width = torch.cat([left, left + width]), torch.cat([width, width])
        if not len(left):
            break
    return torch.cat([*done, left, left.new_ones(1)]).sort().values


def basis(t: torch.Tensor, derivative: bool = False) -> torch.Tensor:
    """Weights [n, 6] of value, slope and curvature at both ends of an interval of length 1, at t [n]; or their d/dt."""
    powers = torch.stack([torch.ones_like(t), t, t**2, t**3, t**4, t**5], dim=1)
    hermite = torch.tensor(HERMITE, dtype=t.dtype, device=t.device)
    if derivative:
        powers, hermite = powers[:, :5] * torch.arange(1.0, 6.0, dtype=t.dtype), hermite[:, 1:]
    return powers @ hermite.T


def hermite_tables(function: Radial, cutoffs: torch.Tensor, knots: torch.Tensor) -> torch.Tensor:
    """Tables [classes, n + 1, 3, n_functions] of value, slope and curvature at ``knots`` [n + 1], in float64."""
    tables = []
    for some in cutoffs.split(_CLASSES):
        r = some[:, None] * knots.clamp(min=_NEAR_ZERO)
        m = some[:, None].expand_as(r)
        table = derivatives(function, r.reshape(-1, 1), m.reshape(-1, 1)).view(*r.shape, 3, -1)
        back = -r[:, :1]
        table[:, 0, 0] += back * table[:, 0, 1] + 0.5 * back**2 * table[:, 0, 2]
        table[:, 0, 1] += back * table[:, 0, 2]
        tables.append(table)
    return torch.cat(tables)


class RadialTables(torch.nn.Module):
    """``functions`` [classes, n + 1, 3, n_functions] by `hermite_tables`; scriptable, on any device.

    ``cutoffs`` [classes] (A) are the m of the classes, ``knots`` [n + 1] relative to them, and multiples of a power of
    1/2: ``cell`` [n_cells] is the interval of each of the equal cells into which the shortest interval divides [0, 1].
    """

    def __init__(self, functions: torch.Tensor, cutoffs: torch.Tensor, knots: torch.Tensor):
        super().__init__()
        self.knots = len(knots)
        self.cells = round(1.0 / float(knots.diff().min()))
        self.register_buffer("table", functions.contiguous())
        self.register_buffer("cutoffs", cutoffs)
        self.register_buffer("start", knots[:-1].clone())
        self.register_buffer("width", knots.diff())
        self.register_buffer("hermite", knots.new_tensor(HERMITE))
        middles = (torch.arange(self.cells, dtype=torch.float64) + 0.5) / self.cells
        self.register_buffer("cell", torch.searchsorted(knots, middles) - 1)

    def forward(self, distances: torch.Tensor, pair_class: torch.Tensor) -> torch.Tensor:
        """Radial functions [n_pairs, n] at ``distances`` [n_pairs] (A, up to the cutoff) of classes [n_pairs] int64."""
        m = self.cutoffs.index_select(0, pair_class)
        x = distances / m
        cell = (x.detach().nan_to_num(0.0) * self.cells).floor().clamp(0.0, self.cells - 1.0)
        interval = self.cell.index_select(0, cell.to(torch.int64))
        width = self.width.index_select(0, interval)
        t, h = (x - self.start.index_select(0, interval)) / width, m * width
        one = torch.ones_like(t)
        powers = torch.stack([one, t, t**2, t**3, t**4, t**5], dim=1)
        weights = (powers @ self.hermite.t()) * torch.stack([one, h, h**2, one, h, h**2], dim=1)
        first = 3 * (pair_class * self.knots + interval)
        rows = first[:, None] + torch.arange(6, device=first.device)
        table = self.table.view(-1, self.table.shape[3])
        return torch.nn.functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
