"""The same mathematics as mace-torch's blocks for scalars and vectors, on undirected pairs.

Exact (to rounding) because r_ij, m_ij and hence the radial network are symmetric in i and j and the l = 1 spherical
harmonic changes sign: everything that depends on a pair is computed once instead of twice. Per-element weights
are looked up instead of multiplied with one-hot vectors, and the l = 1 messages of the last layer, which never reach
the energy at correlation 1, are left out. The parameters are mace-torch's own, read in place.

Path weights of e3nn's tensor products with component normalisation (Y_1 = sqrt(3) n): 0e x 1o -> 1o gives h sqrt(3) n,
1o x 1o -> 0e gives v . n, 1o x 0e -> 1o gives v. They are compared with mace-torch in the tests.
"""

from __future__ import annotations

import math

import torch

from fcl.models.conditioning import padded

_SQRT3 = math.sqrt(3.0)


def supports_fast(model) -> bool:
    """Whether the fast path covers this model: two layers, max_ell 1, correlation 1, hidden n x 0e + n x 1o."""
    settings = model.settings
    hidden = model.interactions[0].hidden_irreps
    scalars_and_vectors = (
        len(hidden) == 2 and [ir.ir.l for ir in hidden] == [0, 1] and [ir.ir.p for ir in hidden] == [1, -1]
    )
    return (
        settings.num_interactions == 2
        and settings.max_ell == 1
        and settings.correlation == 1
        and scalars_and_vectors
        and hidden[0].mul == hidden[1].mul
    )


def _linear(block, index: int) -> torch.Tensor:
    """Weight [in, out] of the ``index``-th path of an e3nn Linear, with its path weight."""
    start = sum(math.prod(instruction.path_shape) for instruction in block.instructions[:index])
    instruction = block.instructions[index]
    rows, columns = instruction.path_shape
    return block.weight[start : start + rows * columns].view(rows, columns) * instruction.path_weight


def _skip(block, index: int, element: torch.Tensor) -> torch.Tensor:
    """Weights [n_atoms, in, out] of path ``index`` of a tensor product with the one-hot vector of each atom's element.

    The path l x 0e -> l carries the Wigner 3j symbol delta / sqrt(2 l + 1) beside its path weight.
    """
    start = sum(math.prod(instruction.path_shape) for instruction in block.instructions[:index])
    instruction = block.instructions[index]
    rows, species, columns = instruction.path_shape
    l = block.irreps_in1[instruction.i_in1].ir.l  # noqa: E741
    weight = block.weight[start : start + rows * species * columns].view(rows, species, columns)
    weight = weight * (instruction.path_weight / (2 * l + 1) ** 0.5)
    return weight.transpose(0, 1).index_select(0, element)


def _radial(network, features: torch.Tensor, columns: int | None = None) -> torch.Tensor:
    """mace-torch's radial MLP [n_pairs, num_bessel] -> [n_pairs, n_weights]; only the first ``columns`` weights.

    ``features`` may be padded with columns of zeros.
    The constants of an activation are put on the next weight, which is smaller than the features.
    """
    layers = list(network)
    constant = 1.0
    for layer in layers[:-1]:
        weight = layer.weight * (constant / (layer.h_in * layer.var_in) ** 0.5)
        if layer is layers[0]:
            weight = torch.nn.functional.pad(weight, (0, 0, 0, features.shape[1] - weight.shape[0]))
        features = torch.nn.functional.silu(features @ weight)
        constant = layer.act.cst * layer.var_out**0.5
    last = layers[-1]
    weight = last.weight if columns is None else last.weight[:, :columns]
    return features @ (weight * (constant / (last.h_in * last.var_in / last.var_out) ** 0.5))


def fast_site_energies(model, numbers, pair_index, vectors, distances, features, nodes) -> torch.Tensor:
    """Energies of atoms [n_atoms] (eV).

    numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A; distances [n_pairs, 1] A; features [n_pairs,
    num_bessel]; nodes [n_atoms, channels] initial node features. Vector features are [n_atoms, 3, channels].
    """
    first, second = model.interactions
    channels = nodes.shape[1]
    n_atoms = numbers.shape[0]  # not len(): sizes stay symbols when this function is traced
    i, j = pair_index
    directions = vectors / distances
    element = numbers - 1
    features = padded(features)

    def collect(to_j: torch.Tensor, to_i: torch.Tensor) -> torch.Tensor:
        """Sum the messages of both directions at their receivers: [n_atoms, ...]."""
        out = torch.zeros(n_atoms, *to_j.shape[1:], dtype=to_j.dtype, device=to_j.device)
        return out.index_add_(0, j, to_j).index_add_(0, i, to_i)

    # Layer 1: scalars of the sender make scalar and vector messages.
    up = nodes @ _linear(first.linear_up, 0)
    weights = _radial(first.conv_tp_weights, features)
    sent_i, sent_j = up.index_select(0, i), up.index_select(0, j)
    to_scalar, to_vector = weights.split(channels, dim=1)
    scalars = collect(to_scalar * sent_i, to_scalar * sent_j)
    normals = (_SQRT3 * directions)[:, :, None]
    vectors_in = collect((to_vector * sent_i)[:, None, :] * normals, (to_vector * sent_j)[:, None, :] * -normals)
    # skip_tp acts on the message in the first layer (RealAgnosticInteractionBlock).
    scale = 1.0 / first.avg_num_neighbors
    scalars = (scalars @ (_linear(first.linear, 0) * scale))[:, None] @ _skip(first.skip_tp, 0, element)
    vectors_in = (vectors_in @ (_linear(first.linear, 1) * scale)) @ _skip(first.skip_tp, 1, element)
    product = model.products[0]
    weight_0, weight_1 = (
        contraction.weights_max[:, 0].index_select(0, element)
        for contraction in product.symmetric_contractions.contractions
    )
    scalars = (scalars[:, 0] * weight_0) @ _linear(product.linear, 0)
    vectors_in = (vectors_in * weight_1[:, None]) @ _linear(product.linear, 1)
    energies = (scalars @ _linear(model.readouts[0].linear, 0)).squeeze(-1)

    # Layer 2: scalar messages from the sender's scalars and from its vectors along the pair.
    skip = (scalars[:, None] @ _skip(second.skip_tp, 0, element))[:, 0]
    up = scalars @ _linear(second.linear_up, 0)
    up_vectors = vectors_in @ _linear(second.linear_up, 1)
    weights = _radial(second.conv_tp_weights, features, columns=2 * channels)
    normals = directions[:, :, None]
    along_i = (up_vectors.index_select(0, i) * normals).sum(1)
    along_j = (up_vectors.index_select(0, j) * normals).sum(1)
    sent_i = torch.cat([up.index_select(0, i), along_i], dim=1)
    sent_j = torch.cat([up.index_select(0, j), -along_j], dim=1)
    message = collect(weights * sent_i, weights * sent_j)
    mix = torch.cat([_linear(second.linear, 0), _linear(second.linear, 1)])
    product = model.products[1]
    weight_0 = product.symmetric_contractions.contractions[0].weights_max[:, 0]
    scalars = (message @ (mix / second.avg_num_neighbors)) * weight_0.index_select(0, element)
    scalars = scalars @ _linear(product.linear, 0) + skip
    readout = model.readouts[1]
    hidden = scalars @ _linear(readout.linear_1, 0)
    activation = readout.non_linearity.acts[0]
    energies = energies + (activation(hidden) @ _linear(readout.linear_2, 0)).squeeze(-1)
    return model.scale_shift.scale * energies + model.scale_shift.shift
