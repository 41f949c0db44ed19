"""Evaluation of `fcl.models.mace.blocks`, equivalent to mace-torch for scalars and vectors, on undirected pairs.

Exact (up to rounding), since r_ij, m_ij and hence the radial network are symmetric in i and j, and the l = 1 spherical
harmonics change sign: pair quantities are computed once instead of twice. Per-element weights are looked up instead of
multiplied with one-hot vectors, and the l = 1 messages of the last layer, on which the energy does not depend at
correlation 1, are omitted.

Path weights of e3nn's tensor products with component normalisation (Y_1 = sqrt(3) n): 0e x 1o -> 1o gives h sqrt(3) n,
1o x 1o -> 0e gives v . n, 1o x 0e -> 1o gives v. Tests compare them with mace-torch.
"""

from __future__ import annotations

import math

import torch

from fcl.models.conditioning import padded
from fcl.models.mace.blocks import SILU_SCALE

_SQRT3 = math.sqrt(3.0)


def fast_site_energies(
    model, numbers, pair_index, vectors, distances, features, nodes
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Site energies [n_atoms] (eV), and the inputs of the last layers, [n_atoms, channels] and [n_atoms, width].

    ``model`` is a `fcl.models.mace.model.MACE`; shapes as in `fcl.models.interface.Potential.propagate`. Vector
    features are [n_atoms, 3, channels].
    """
    first, second = model.interactions
    channels = nodes.shape[1]
    n_atoms = numbers.shape[0]  # not len(), so that sizes remain symbolic in tracing
    i, j = pair_index
    directions = vectors / distances
    element = numbers - 1
    features = padded(features)

    def collect(to_j: torch.Tensor, to_i: torch.Tensor) -> torch.Tensor:
        """Sum the messages in both directions at their receivers: [n_atoms, ...]."""
        out = torch.zeros(n_atoms, *to_j.shape[1:], dtype=to_j.dtype, device=to_j.device)
        return out.index_add_(0, j, to_j).index_add_(0, i, to_i)

    # Layer 1: scalar and vector messages from the scalars of the sender.
    up = nodes @ first.linear_up.matrix(0)
    weights = first.conv_tp_weights(features)
    sent_i, sent_j = up.index_select(0, i), up.index_select(0, j)
    to_scalar, to_vector = weights.split(channels, dim=1)
    scalars = collect(to_scalar * sent_i, to_scalar * sent_j)
    normals = (_SQRT3 * directions)[:, :, None]
    vectors_in = collect((to_vector * sent_i)[:, None, :] * normals, (to_vector * sent_j)[:, None, :] * -normals)
    # skip_tp acts on the message in the first layer (RealAgnosticInteractionBlock).
    scale = 1.0 / first.avg_num_neighbors
    scalars = (scalars @ (first.linear.matrix(0) * scale))[:, None] @ first.skip_tp.matrices(0, element)
    vectors_in = (vectors_in @ (first.linear.matrix(1) * scale)) @ first.skip_tp.matrices(1, element)
    product = model.products[0]
    scalars = (scalars[:, 0] * product.factors(0, element)) @ product.linear.matrix(0)
    vectors_in = (vectors_in * product.factors(1, element)[:, None]) @ product.linear.matrix(1)
    energies = (scalars @ model.readouts[0].linear.matrix(0)).squeeze(-1)

    # Layer 2: scalar messages from the scalars of the sender and the components of its vectors along the pair.
    skip = (scalars[:, None] @ second.skip_tp.matrices(0, element))[:, 0]
    up = scalars @ second.linear_up.matrix(0)
    up_vectors = vectors_in @ second.linear_up.matrix(1)
    weights = second.conv_tp_weights(features, columns=2 * channels)
    normals = directions[:, :, None]
    along_i = (up_vectors.index_select(0, i) * normals).sum(1)
    along_j = (up_vectors.index_select(0, j) * normals).sum(1)
    sent_i = torch.cat([up.index_select(0, i), along_i], dim=1)
    sent_j = torch.cat([up.index_select(0, j), -along_j], dim=1)
    message = collect(weights * sent_i, weights * sent_j)
    mix = torch.cat([second.linear.matrix(0), second.linear.matrix(1)])
    product = model.products[1]
    scalars_1, scalars = scalars, (message @ (mix / second.avg_num_neighbors)) * product.factors(0, element)
    scalars = scalars @ product.linear.matrix(0) + skip
    readout = model.readouts[1]
    hidden = SILU_SCALE * torch.nn.functional.silu(scalars @ readout.linear_1.matrix(0))
    energies = energies + (hidden @ readout.linear_2.matrix(0)).squeeze(-1)
    return model.scale_shift.scale * energies + model.scale_shift.shift, (scalars_1, hidden)
