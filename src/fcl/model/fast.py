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


def _skip(block, index: int, elements: torch.Tensor) -> torch.Tensor:
    """Weights [n_elements, in, out] of path ``index`` of a tensor product with the one-hot element vector.

    The path l x 0e -> l carries the Wigner 3j symbol delta / sqrt(2 l + 1) beside its path weight.
    """
    start = sum(math.prod(instruction.path_shape) for instruction in block.instructions[:index])
    instruction = block.instructions[index]
    rows, species, columns = instruction.path_shape
    l = block.irreps_in1[instruction.i_in1].ir.l  # noqa: E741
    weight = block.weight[start : start + rows * species * columns].view(rows, species, columns)
    return weight.index_select(1, elements).transpose(0, 1) * (instruction.path_weight / (2 * l + 1) ** 0.5)


def _radial(network, features: torch.Tensor, columns: int | None = None) -> torch.Tensor:
    """mace-torch's radial MLP [n_pairs, num_bessel] -> [n_pairs, n_weights]; only the first ``columns`` weights."""
    layers = list(network)
    for layer in layers[:-1]:
        weight = layer.weight / (layer.h_in * layer.var_in) ** 0.5
        features = torch.nn.functional.silu(features @ weight) * (layer.act.cst * layer.var_out**0.5)
    last = layers[-1]
    weight = last.weight if columns is None else last.weight[:, :columns]
    return features @ (weight / (last.h_in * last.var_in / last.var_out) ** 0.5)


def _by_element(values: torch.Tensor, weights: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
    """values [n_atoms, ..., in] times weights [n_elements, in, out] of each atom's element."""
    return torch.matmul(values, weights.index_select(0, element))


def fast_site_energies(model, numbers, pair_index, vectors, distances, features, nodes) -> torch.Tensor:
    """Energies of atoms [n_atoms] (eV).

    numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A; distances [n_pairs, 1] A; features [n_pairs,
    num_bessel]; nodes [n_atoms, channels] initial node features. Vector features are [n_atoms, 3, channels].
    """
    first, second = model.interactions
    channels = nodes.shape[1]
    n_atoms = len(numbers)
    i, j = pair_index
    both = torch.cat([j, i])  # receivers of the two directions of a pair
    directions = vectors / distances
    elements, element = torch.unique(numbers - 1, return_inverse=True)

    def collect(to_j: torch.Tensor, to_i: torch.Tensor) -> torch.Tensor:
        """Sum the messages of both directions at their receivers: [n_atoms, ...]."""
        out = torch.zeros(n_atoms, *to_j.shape[1:], dtype=to_j.dtype, device=to_j.device)
        return out.index_add(0, both, torch.cat([to_j, to_i]))

    # Layer 1: scalars of the sender make scalar and vector messages.
    up = nodes @ _linear(first.linear_up, 0)
    weights = _radial(first.conv_tp_weights, features)
    sent_i, sent_j = up.index_select(0, i), up.index_select(0, j)
    to_scalar, to_vector = weights[:, :channels], weights[:, channels:]
    scalars = collect(to_scalar * sent_i, to_scalar * sent_j)
    normals = (_SQRT3 * directions)[:, :, None]
    vectors_in = collect((to_vector * sent_i)[:, None, :] * normals, (to_vector * sent_j)[:, None, :] * -normals)
    # skip_tp acts on the message in the first layer (RealAgnosticInteractionBlock).
    scale = 1.0 / first.avg_num_neighbors
    scalars = _by_element(
        (scalars @ _linear(first.linear, 0) * scale)[:, None], _skip(first.skip_tp, 0, elements), element
    )
    vectors_in = _by_element(vectors_in @ _linear(first.linear, 1) * scale, _skip(first.skip_tp, 1, elements), element)
    product = model.products[0]
    weight_0, weight_1 = (
        contraction.weights_max[:, 0].index_select(0, elements).index_select(0, element)
        for contraction in product.symmetric_contractions.contractions
    )
    scalars = (scalars[:, 0] * weight_0) @ _linear(product.linear, 0)
    vectors_in = (vectors_in * weight_1[:, None]) @ _linear(product.linear, 1)
    energies = (scalars @ _linear(model.readouts[0].linear, 0)).squeeze(-1)

    # Layer 2: scalar messages from the sender's scalars and from its vectors along the pair.
    skip = _by_element(scalars[:, None], _skip(second.skip_tp, 0, elements), element)[:, 0]
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
    scalars = (message @ mix / second.avg_num_neighbors) * weight_0.index_select(0, numbers - 1)
    scalars = scalars @ _linear(product.linear, 0) + skip
    readout = model.readouts[1]
    hidden = scalars @ _linear(readout.linear_1, 0)
    activation = readout.non_linearity.acts[0]
    energies = energies + (activation(hidden) @ _linear(readout.linear_2, 0)).squeeze(-1)
    return model.scale_shift.scale * energies + model.scale_shift.shift
