"""What FCL adds to MACE: the taper with a cutoff of its own for each pair, Eq. 14 and Eq. 16."""

from __future__ import annotations

import math

import torch


def taper(distances: torch.Tensor, pair_cutoffs: torch.Tensor, p: int) -> torch.Tensor:
    """Polynomial taper s(r, m) of Eq. 1 as a function of two variables; any broadcastable shapes, A.

    Written as (1 - x)^3 sum_{k < p} (k + 1)(k + 2) / 2 x^k with x = r / m, which is Eq. 1 for whole p: s and its first
    and second derivatives vanish at r = m, the third does not. The terms of Eq. 1 as printed cancel there, which in
    float32 leaves a step of 4e-6 and values below zero; these do not.
    """
    x = (distances / pair_cutoffs).clamp(max=1.0)
    series = torch.full_like(x, 0.5 * p * (p + 1))
    for k in reversed(range(p - 1)):
        series = series * x + 0.5 * (k + 1) * (k + 2)
    return (1.0 - x) ** 3 * series


class BesselBasis(torch.nn.Module):
    """b_a(r) = sqrt(2 / r_max) sin(a pi r / r_max) / r for a = 1 .. num_bessel; [..., 1] A -> [..., num_bessel]."""

    def __init__(self, r_max: float, num_bessel: int):
        super().__init__()
        self.r_max = float(r_max)
        self.prefactor = math.sqrt(2.0 / self.r_max)
        frequencies = math.pi / self.r_max * torch.arange(1, num_bessel + 1, dtype=torch.float64)
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()), persistent=False)

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        return self.prefactor * torch.sin(self.frequencies * distances) / distances


def padding(width: int) -> int:
    """Columns that are missing to a multiple of 16: products of narrower matrices run far below a processor's speed."""
    return -width % 16


def padded(values: torch.Tensor) -> torch.Tensor:
    """``values`` [n, width] with columns of zeros up to a multiple of 16."""
    # cat, since torch's pad makes a constant of the variable size n when it is traced (`fcl.models.compile`)
    return torch.cat([values, values.new_zeros(values.shape[0], padding(values.shape[1]))], dim=1)


class PaddedLinear(torch.nn.Linear):
    """`torch.nn.Linear` [n, in] -> [n, out], multiplied as matrices that are `padded` with zeros; same result."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        columns, rows = padding(self.in_features), padding(self.out_features)
        weight = torch.nn.functional.pad(self.weight, (0, columns, 0, rows))
        bias = torch.nn.functional.pad(self.bias, (0, rows))
        values = padded(values) if columns else values
        return torch.nn.functional.linear(values, weight, bias)[:, : self.out_features]


class FlexibleRadialEmbedding(torch.nn.Module):
    """Edge features of Eq. 14: u([b(r), m]) s(r, m), with u of Eq. 15 (num_bessel + 1 -> hidden -> num_bessel).

    The Bessel functions have the fixed range ``r_max`` (the largest cutoff that is sampled); only the taper,
    outside the network, knows that a pair ends at its own m.
    """

    def __init__(self, r_max: float, num_bessel: int, polynomial_order: int, hidden: int):
        super().__init__()
        self.polynomial_order = polynomial_order
        self.out_dim = num_bessel
        self.bessel = BesselBasis(r_max, num_bessel)
        self.network = torch.nn.Sequential(
            PaddedLinear(num_bessel + 1, hidden), torch.nn.SiLU(), PaddedLinear(hidden, num_bessel)
        )

    def forward(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor) -> torch.Tensor:
        """distances [n, 1] A and pair_cutoffs [n, 1] A -> edge features [n, num_bessel]."""
        features = self.network(torch.cat([self.bessel(distances), pair_cutoffs], dim=-1))
        return features * taper(distances, pair_cutoffs, self.polynomial_order)


class CutoffEmbedding(torch.nn.Module):
    """q(a) of Eq. 16: [n, 1] A -> [n, channels], added to the initial node features.

    ``released``: e of Eq. 15 with 64 outputs, then a linear map 64 -> channels without bias (6 336 parameters; with u
    9 162, the "approximately 9 000" of the text). ``literal``: 1 -> hidden -> channels as Eq. 15 alone reads (5 034).
    """

    def __init__(self, hidden: int, channels: int, kind: str = "released"):
        super().__init__()
        if kind not in ("released", "literal"):
            raise ValueError(f"cutoff embedding {kind!r} is unknown; known are released, literal")
        width = hidden if kind == "released" else channels
        self.network = torch.nn.Sequential(torch.nn.Linear(1, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, width))
        self.projection = torch.nn.Linear(hidden, channels, bias=False) if kind == "released" else torch.nn.Identity()

    def forward(self, cutoffs: torch.Tensor) -> torch.Tensor:
        return self.projection(self.network(cutoffs))
