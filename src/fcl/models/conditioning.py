"""Conditioning on cutoffs: the parts of a model that depend on them (composed into it by `fcl.models.interface`).

A static model has the radial features of Eq. 13 with one cutoff. FCL replaces them by those of Eq. 14, with an envelope
that vanishes at the cutoff of each pair, and adds an embedding of the cutoff to the node features, Eq. 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


def taper(distances: torch.Tensor, pair_cutoffs: torch.Tensor, p: int) -> torch.Tensor:
    """Polynomial envelope s(r, m) of Eq. 1 with pairwise cutoffs; any broadcastable shapes, A.

    Evaluated as (1 - x)^3 sum_{k < p} (k + 1)(k + 2) / 2 x^k with x = r / m, identical to Eq. 1 for integer p: s and
    its first and second derivatives vanish at r = m, the third does not. In the printed form, terms cancel at r = m,
    which in float32 causes a step of 4e-6 and negative values; this form has no cancellation.
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
    """Columns missing to a multiple of 16, since products of other widths are far slower."""
    return -width % 16


def padded(values: torch.Tensor) -> torch.Tensor:
    """``values`` [n, width] padded with columns of zeros to a multiple of 16."""
    # cat, since tracing torch's pad makes the variable size n a constant (`fcl.models.compile`)
    return torch.cat([values, values.new_zeros(values.shape[0], padding(values.shape[1]))], dim=1)


class PaddedLinear(torch.nn.Linear):
    """`torch.nn.Linear` [n, in] -> [n, out] with `padded` matrices; same result."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        columns, rows = padding(self.in_features), padding(self.out_features)
        weight = torch.nn.functional.pad(self.weight, (0, columns, 0, rows))
        bias = torch.nn.functional.pad(self.bias, (0, rows))
        values = padded(values) if columns else values
        return torch.nn.functional.linear(values, weight, bias)[:, : self.out_features]


class FixedBessel(torch.nn.Module):
    """`BesselBasis` under mace-torch's names: buffers ``bessel_weights``, ``r_max`` (range, A) and ``prefactor``."""

    def __init__(self, bessel_range: float, num_bessel: int):
        super().__init__()
        self.register_buffer("bessel_weights", math.pi / bessel_range * torch.arange(1.0, num_bessel + 1.0))
        self.register_buffer("r_max", torch.tensor(float(bessel_range)))
        self.register_buffer("prefactor", torch.tensor(math.sqrt(2.0 / bessel_range)))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        return self.prefactor * torch.sin(self.bessel_weights * distances) / distances


class FixedTaper(torch.nn.Module):
    """`taper` with one cutoff under mace-torch's names: buffers ``p`` and ``r_max`` (A)."""

    def __init__(self, cutoff: float, p: int):
        super().__init__()
        self.order = int(p)
        self.register_buffer("p", torch.tensor(p, dtype=torch.int32))
        self.register_buffer("r_max", torch.tensor(float(cutoff)))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        return taper(distances, self.r_max, self.order)


class FixedRadialEmbedding(torch.nn.Module):
    """Edge features b(r) s(r, r_max) of a static model, Eq. 13; names of mace-torch's RadialEmbeddingBlock."""

    def __init__(self, cutoff: float, bessel_range: float, num_bessel: int, polynomial_order: int):
        super().__init__()
        self.bessel_fn = FixedBessel(bessel_range, num_bessel)
        self.cutoff_fn = FixedTaper(cutoff, polynomial_order)

    def forward(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None = None) -> torch.Tensor:
        """distances [n, 1] A -> edge features [n, num_bessel]; there is only one cutoff."""
        return self.bessel_fn(distances) * self.cutoff_fn(distances)


class FlexibleRadialEmbedding(torch.nn.Module):
    """Edge features of Eq. 14: u([b(r), m]) s(r, m), with u of Eq. 15 (num_bessel + 1 -> hidden -> num_bessel).

    The Bessel functions have the fixed range ``bessel_range`` (A; in the paper the largest sampled cutoff). Features
    vanish at m only through the envelope, which is applied after the network.
    """

    def __init__(self, bessel_range: float, num_bessel: int, polynomial_order: int, hidden: int):
        super().__init__()
        self.polynomial_order = polynomial_order
        self.bessel = BesselBasis(bessel_range, num_bessel)
        self.network = torch.nn.Sequential(
            PaddedLinear(num_bessel + 1, hidden), torch.nn.SiLU(), PaddedLinear(hidden, num_bessel)
        )

    def forward(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor) -> torch.Tensor:
        """distances [n, 1] A and pair_cutoffs [n, 1] A -> edge features [n, num_bessel]."""
        features = self.network(torch.cat([self.bessel(distances), pair_cutoffs], dim=-1))
        return features * taper(distances, pair_cutoffs, self.polynomial_order)


#: Variants of the cutoff embedding, see `CutoffEmbedding`.
CUTOFF_EMBEDDINGS = ("released", "released_no_silu", "literal")


class CutoffEmbedding(torch.nn.Module):
    """q(a) of Eq. 16: [n, 1] A -> [n, channels], added to the initial node features.

    ``released``, as in the authors' code: Linear(1, hidden), SiLU, Linear(hidden, hidden), Linear(hidden, channels)
    without bias, SiLU; 6 336 parameters for 64 and 32, with u 9 162, the "approximately 9 000" of the text.
    ``released_no_silu``: without the last SiLU, as in models with card format fcl-model-1. ``literal``: 1 -> hidden ->
    channels with one SiLU, Eq. 15 taken literally (5 034 with u). Raises `ValueError` for any other ``kind``.
    """

    def __init__(self, hidden: int, channels: int, kind: str = "released"):
        super().__init__()
        if kind not in CUTOFF_EMBEDDINGS:
            raise ValueError(f"cutoff embedding {kind!r} is unknown; known are {', '.join(CUTOFF_EMBEDDINGS)}")
        literal = kind == "literal"
        width = channels if literal else hidden
        self.network = torch.nn.Sequential(torch.nn.Linear(1, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, width))
        self.projection = torch.nn.Identity() if literal else torch.nn.Linear(hidden, channels, bias=False)
        self.activation = torch.nn.SiLU() if kind == "released" else torch.nn.Identity()

    def forward(self, cutoffs: torch.Tensor) -> torch.Tensor:
        return self.activation(self.projection(self.network(cutoffs)))


@dataclass(frozen=True)
class Conditioning:
    """The two parts that make a backbone a static or a flexible model.

    ``radial_embedding`` maps distances [n_pairs, 1] and pair cutoffs [n_pairs, 1] (A; None without cutoffs) to edge
    features [n_pairs, num_bessel]. ``cutoff_embedding`` maps cutoffs [n_atoms, 1] (A) to a term added to the initial
    node features [n_atoms, channels]; None in a static model. ``bessel_range`` in A.
    """

    radial_embedding: torch.nn.Module
    cutoff_embedding: torch.nn.Module | None
    bessel_range: float


def conditioning(kind: str, settings, r_max: float, channels: int) -> Conditioning:
    """The parts of a model of ``kind`` "static" (with cutoff ``r_max``, A) or "fcl" (with cutoffs up to ``r_max``).

    ``settings`` is a `fcl.config.architectures.ModelSettings`; if its ``bessel_range`` is None, ``r_max`` is used.
    Weights are drawn from torch's global generator. Raises `ValueError` for any other kind.
    """
    bessel_range = float(r_max if settings.bessel_range is None else settings.bessel_range)
    basis = settings.num_bessel, settings.polynomial_order
    if kind == "static":
        return Conditioning(FixedRadialEmbedding(r_max, bessel_range, *basis), None, bessel_range)
    if kind == "fcl":
        radial = FlexibleRadialEmbedding(bessel_range, *basis, settings.radial_embedding_hidden)
        embedding = CutoffEmbedding(settings.cutoff_embedding_hidden, channels, settings.cutoff_embedding)
        return Conditioning(radial, embedding, bessel_range)
    raise ValueError(f"model kind {kind!r} is unknown; known are static, fcl")
