"""Warm start: a flexible model that equals a given static one at its cutoff before its first step of training.

With the functions of distance b(r) of the given model, a radial network u that returns them unchanged and a cutoff
embedding q of zero, the features of Eq. 14 at m = r_c are b(r) s(r, r_c), those of Eq. 13. Both are exact: with
silu(x) - silu(-x) = x, two hidden units per function make u the identity. The other hidden units keep their random
weights, and start without influence.
"""

from __future__ import annotations

import torch

from fcl.models.interface import Potential


@torch.no_grad()
def warm_start(model: Potential, start: Potential) -> None:
    """Initialise the flexible ``model`` from the static ``start``: backbone, functions of distance, u and q.

    Raises `ValueError` if the weights do not fit, the functions of distance have another range, or the radial network
    has too few hidden units.
    """
    if model.bessel_range != start.bessel_range:
        ranges = f"{start.bessel_range:g} A, not {model.bessel_range:g} A"
        raise ValueError(f"warm start: the given model's functions of distance have a range of {ranges}")
    model.load_backbone(start.state_dict())
    radial, given = model.radial_embedding, start.radial_embedding
    for name, source in (("bessel", "bessel_fn"), ("distance_transform", "distance_transform")):
        own = getattr(radial, name, None)
        if own is not None and own.state_dict():  # functions of a converted model; ours have nothing to load
            own.load_state_dict(getattr(given, source).state_dict())
    identity(radial.network)
    silence(model.cutoff_embedding)


def identity(network: torch.nn.Sequential) -> None:
    """Make u([b, m]) = b exactly, for any m; `ValueError` with fewer than two hidden units per function."""
    first, _, last = network
    count = last.out_features
    if first.out_features < 2 * count:
        raise ValueError(
            f"model.radial_embedding_hidden: {first.out_features}; a warm start takes at least two for each of the "
            f"{count} functions of distance"
        )
    unit = torch.eye(count, dtype=first.weight.dtype, device=first.weight.device)
    first.weight[: 2 * count] = torch.nn.functional.pad(torch.cat([unit, -unit]), (0, 1))
    first.bias[: 2 * count] = 0.0
    last.weight.zero_()
    last.bias.zero_()
    last.weight[:, : 2 * count] = torch.cat([unit, -unit], dim=1)


def silence(embedding: torch.nn.Module) -> None:
    """Make q(a) = 0 for all a, by the weights of its last layer."""
    last = embedding.projection
    if isinstance(last, torch.nn.Identity):  # the literal variant ends with its network
        last = embedding.network[-1]
        last.bias.zero_()
    last.weight.zero_()
