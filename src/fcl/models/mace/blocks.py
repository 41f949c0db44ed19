"""The blocks of the paper's MACE in plain PyTorch, under mace-torch's names.

Two message-passing layers, max_ell = 1, correlation 1, hidden features of n scalars and n vectors (``n x 0e + n x
1o``), a linear and a non-linear readout. Each block has the parameters and buffers of mace-torch's block of the same
name, with the same names, shapes and initial distributions, so that state dicts can be exchanged in both directions.
The blocks only give access to their parameters; they are evaluated by `fcl.models.mace.fast`.

mace-torch is based on e3nn, whose layers reduce to the following for scalars (l = 0) and vectors (l = 1):

* ``Linear``: one matrix per pair of an input and an output of equal l, W / sqrt(number of inputs of the output);
* ``FullyConnectedTensorProduct`` with the one-hot vector of the element: one such matrix per element Z, W_Z /
  sqrt(inputs x elements). The path weight sqrt(2 l + 1) cancels with the Wigner 3j symbol delta / sqrt(2 l + 1);
* ``TensorProduct`` of the messages: no parameters, only buffers; the path weights are in `fcl.models.mace.fast`;
* ``SymmetricContraction`` at correlation 1: one factor per element, l and channel;
* ``FullyConnectedNet``: W / sqrt(inputs), and SiLU times `SILU_SCALE`.

All weights are initialised independently from N(0, 1), with torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

#: 1 / sqrt(E[SiLU(z)^2]) for z from N(0, 1), as estimated by e3nn's `normalize2mom` from 10^6 fixed samples (exactly
#: 1.67653). With this factor, SiLU preserves a second moment of 1.
SILU_SCALE = 1.6791767923989418


class Buffers(torch.nn.Module):
    """A module with named buffers only."""

    def __init__(self, **values: torch.Tensor):
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value)


class Linear(torch.nn.Module):
    """e3nn's ``Linear``: one flat ``weight`` [sum(rows x columns)] for the matrices of all ``paths``.

    ``paths``: shapes (inputs, outputs) of the matrices in e3nn's order; ``fan_in``: number of inputs per output;
    ``irreps_out``: e3nn's name of the outputs; ``dim``: their dimension, including the components of vectors.
    """

    def __init__(self, paths: Sequence[tuple[int, int]], fan_in: int, irreps_out: str, dim: int):
        super().__init__()
        self.paths, self.irreps_out, self.factor = tuple(paths), irreps_out, fan_in**-0.5
        self.weight = torch.nn.Parameter(torch.randn(sum(map(math.prod, self.paths))))
        self.register_buffer("bias", torch.zeros(0))
        self.register_buffer("output_mask", torch.ones(dim))

    def matrix(self, path: int) -> torch.Tensor:
        """Matrix [inputs, outputs] of the ``path``-th path; outputs are inputs @ matrix, for each component."""
        rows, columns = self.paths[path]
        start = sum(map(math.prod, self.paths[:path]))
        return self.weight[start : start + rows * columns].view(rows, columns) * self.factor


class ElementLinear(torch.nn.Module):
    """e3nn's ``FullyConnectedTensorProduct`` with one-hot elements: a matrix per element and degree.

    ``weight`` is flat, [degrees x channels x n_elements x channels].
    """

    def __init__(self, channels: int, n_elements: int, degrees: Sequence[int]):
        super().__init__()
        self.shape, self.factor = (channels, n_elements, channels), (channels * n_elements) ** -0.5
        self.weight = torch.nn.Parameter(torch.randn(len(degrees) * math.prod(self.shape)))
        self.register_buffer("output_mask", torch.ones(sum(channels * (2 * degree + 1) for degree in degrees)))

    def matrices(self, path: int, element: torch.Tensor) -> torch.Tensor:
        """Matrices [n_atoms, channels, channels] of the ``path``-th degree, for ``element`` indices [n_atoms]."""
        size = math.prod(self.shape)
        weight = self.weight[path * size : (path + 1) * size].view(self.shape) * self.factor
        return weight.transpose(0, 1).index_select(0, element)


class RadialLayer(torch.nn.Module):
    """One layer of a `RadialNetwork`: ``weight`` [h_in, h_out]."""

    def __init__(self, h_in: int, h_out: int):
        super().__init__()
        self.h_in, self.h_out = h_in, h_out
        self.weight = torch.nn.Parameter(torch.randn(h_in, h_out))


class RadialNetwork(torch.nn.Sequential):
    """e3nn's ``FullyConnectedNet`` with layers of ``widths``: radial features -> weights of the messages."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        for index, (h_in, h_out) in enumerate(zip(widths, widths[1:], strict=False)):
            self.add_module(f"layer{index}", RadialLayer(h_in, h_out))

    def matrices(self, columns: int | None = None) -> list[torch.Tensor]:
        """Matrices [h_in, h_out] including all constant factors, for use with SiLU between them; of the last one only
        the first ``columns``."""
        scales = [layer.h_in**-0.5 * (SILU_SCALE if index else 1.0) for index, layer in enumerate(self)]
        weights = [layer.weight for layer in self]
        weights[-1] = weights[-1][:, :columns]
        return [weight * scale for weight, scale in zip(weights, scales, strict=True)]

    def forward(self, features: torch.Tensor, columns: int | None = None) -> torch.Tensor:
        """[n_pairs, num_bessel] -> [n_pairs, columns]; ``features`` may be padded with columns of zeros."""
        first, *others = self.matrices(columns)
        features = features @ torch.nn.functional.pad(first, (0, 0, 0, features.shape[1] - first.shape[0]))
        for matrix in others:
            features = torch.nn.functional.silu(features) @ matrix
        return features


class RealAgnosticInteractionBlock(torch.nn.Module):
    """First message-passing layer: n scalars in; ``skip_tp`` acts on the summed messages (n scalars, n vectors)."""

    def __init__(self, channels: int, n_elements: int, radial_widths: Sequence[int], avg_num_neighbors: float):
        super().__init__()
        self.avg_num_neighbors = float(avg_num_neighbors)
        self.linear_up = Linear([(channels, channels)], channels, f"{channels}x0e", channels)
        self.conv_tp = Buffers(weight=torch.zeros(0), output_mask=torch.ones(4 * channels))
        self.conv_tp_weights = RadialNetwork([*radial_widths, 2 * channels])
        self.linear = Linear([(channels, channels)] * 2, channels, _hidden(channels), 4 * channels)
        self.skip_tp = ElementLinear(channels, n_elements, (0, 1))


class RealAgnosticResidualInteractionBlock(torch.nn.Module):
    """Second layer: n scalars and n vectors in; ``skip_tp`` is a skip connection for the scalars.

    The messages are 2 n scalars and 2 n vectors. At correlation 1 the energy does not depend on the vectors; their
    weights, the second halves of ``linear`` and of the last radial layer, exist only to match mace-torch's shapes.
    """

    def __init__(self, channels: int, n_elements: int, radial_widths: Sequence[int], avg_num_neighbors: float):
        super().__init__()
        self.avg_num_neighbors = float(avg_num_neighbors)
        self.linear_up = Linear([(channels, channels)] * 2, channels, _hidden(channels), 4 * channels)
        self.conv_tp = Buffers(weight=torch.zeros(0), output_mask=torch.ones(8 * channels))
        self.conv_tp_weights = RadialNetwork([*radial_widths, 4 * channels])
        self.linear = Linear([(channels, channels)] * 4, 2 * channels, _hidden(channels), 4 * channels)
        self.skip_tp = ElementLinear(channels, n_elements, (0,))


class Contraction(torch.nn.Module):
    """A factor per element and channel, ``weights_max`` [n_elements, 1, channels], for features of one degree."""

    correlation = 1

    def __init__(self, channels: int, n_elements: int, degree: int):
        super().__init__()
        self.weights_max = torch.nn.Parameter(torch.randn(n_elements, 1, channels))
        rows = torch.eye(4)[degree**2 : (degree + 1) ** 2, :, None]  # the four components of a channel
        self.register_buffer("U_matrix_1", rows[0].clone() if degree == 0 else rows.clone())
        self.register_buffer("weights_max_zeroed", torch.tensor(False))

    def factors(self, element: torch.Tensor) -> torch.Tensor:
        """Factors [n_atoms, channels] for ``element`` indices [n_atoms]."""
        return self.weights_max[:, 0].index_select(0, element)


class SymmetricContraction(torch.nn.Module):
    """One `Contraction` per degree."""

    def __init__(self, channels: int, n_elements: int, degrees: Sequence[int]):
        super().__init__()
        self.contractions = torch.nn.ModuleList(Contraction(channels, n_elements, degree) for degree in degrees)


class EquivariantProductBasisBlock(torch.nn.Module):
    """Product basis of correlation 1: a factor per element and channel, then a linear map."""

    def __init__(self, channels: int, n_elements: int, degrees: Sequence[int]):
        super().__init__()
        self.symmetric_contractions = SymmetricContraction(channels, n_elements, degrees)
        irreps, dim = (_hidden(channels), 4 * channels) if len(degrees) == 2 else (f"{channels}x0e", channels)
        self.linear = Linear([(channels, channels)] * len(degrees), channels, irreps, dim)

    def factors(self, path: int, element: torch.Tensor) -> torch.Tensor:
        """Factors [n_atoms, channels] of the ``path``-th degree."""
        return self.symmetric_contractions.contractions[path].factors(element)


class LinearReadoutBlock(torch.nn.Module):
    """Site energy from the scalars after the first layer."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear = Linear([(channels, 1)], channels, "1x0e", 1)


class NonLinearReadoutBlock(torch.nn.Module):
    """Site energy from the scalars after the second layer: one hidden layer of ``width`` with SiLU."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.linear_1 = Linear([(channels, width)], channels, f"{width}x0e", width)
        self.linear_2 = Linear([(width, 1)], width, "1x0e", 1)


class LinearNodeEmbeddingBlock(torch.nn.Module):
    """h_i^(0): a row [channels] per element."""

    def __init__(self, n_elements: int, channels: int):
        super().__init__()
        self.linear = Linear([(n_elements, channels)], n_elements, f"{channels}x0e", channels)


def _hidden(channels: int) -> str:
    return f"{channels}x0e+{channels}x1o"
