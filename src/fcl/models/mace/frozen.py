"""A model whose cutoffs are chosen: tables and matrices for TorchScript, without mace-torch or e3nn.

With the cutoffs of the elements fixed, what acts on single atoms is linear and depends on the element only. So the
chain of mace-torch's blocks behind each sum of messages becomes one matrix an element, found by sending unit vectors
through the blocks themselves. What is left is what depends on distances: radial features, messages and their sums.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch

from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.mixing import MixingRule
from fcl.models.files import prepared
from fcl.models.mace.fast import supports_fast


class FrozenMACE(torch.nn.Module):
    """Site energies of a `StaticMACE` or `FlexibleMACE` at fixed cutoffs; scriptable, on any device.

    ``choice`` gives the cutoffs by element (or one number, for all elements of the model). Matrices are computed in
    float64 and kept in ``dtype``; ``model`` is left as it is. Pairs are cut off by the model's own mixing rule. Raises
    `ValueError` for cutoffs given atom by atom, for models that the fast path does not cover and for a mixing rule that
    TorchScript does not take.

    Attributes: ``elements``, atomic numbers in ascending order; ``largest_cutoff`` (A), which no pair exceeds;
    ``interaction_range`` (A), beyond which no atom matters to the energy of another: as many times the largest cutoff
    as there are layers of messages.
    """

    def __init__(self, model, choice: CutoffChoice, dtype: torch.dtype = torch.float64):
        super().__init__()
        if not supports_fast(model):
            raise ValueError("export covers max_ell = 1, correlation 1, two layers of scalars and vectors only")
        elements = torch.tensor(exported_elements(model, choice))
        cutoffs = torch.as_tensor(np.array(choice.of(elements.numpy())))
        self.elements: list[int] = elements.tolist()
        self.largest_cutoff = float(cutoffs.max())
        self.interaction_range = len(model.interactions) * self.largest_cutoff
        self.mixing = _scriptable_rule(model)
        self.flexible = bool(model.needs_cutoffs)
        self.polynomial_order = int(model.settings.polynomial_order)
        exact = prepared(model, torch.float64, "cpu", None)
        row = torch.full((int(elements.max()) + 1,), -1, dtype=torch.int64)
        row[elements] = torch.arange(len(elements))
        self.register_buffer("row", row)  # of an atomic number in the tables
        with torch.no_grad():
            first, second = (interaction.conv_tp_weights for interaction in exact.interactions)
            width = 2 * exact.node_embedding.linear.irreps_out.dim  # the messages that reach the energy
            self.first, self.second = _radial_network(first, width), _radial_network(second, width)
            self.embedding = _embedding(exact)
            for name, value in {"cutoffs": cutoffs, **_radial(exact), **_on_atoms(exact, elements, cutoffs)}.items():
                self.register_buffer(name, value.detach().clone())
        self.to(dtype).eval().requires_grad_(False)

    def forward(self, numbers: torch.Tensor, pair_index: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Energy of each atom [n_atoms] (eV) from undirected pairs; pairs beyond their cutoff may be among them.

        numbers [n_atoms] int64, all of them in ``elements``; pair_index [2, n_pairs] int64; vectors [n_pairs, 3] A from
        i to j.
        """
        rows = self.row.index_select(0, numbers)
        a = self.cutoffs.index_select(0, rows)
        i, j = pair_index[0], pair_index[1]
        a_i, a_j = a.index_select(0, i), a.index_select(0, j)
        m = self.mixing(a_i, a_j)
        within = torch.nonzero(torch.linalg.vector_norm(vectors.detach(), dim=1) <= m).squeeze(1)
        i, j, vectors = i.index_select(0, within), j.index_select(0, within), vectors.index_select(0, within)
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        features = self.edge_features(distances, m.index_select(0, within)[:, None])
        directions = (vectors / distances)[:, :, None]

        # Layer 1: what an atom sends depends on its element only.
        channels = self.sent.shape[1]
        sent = self.sent.index_select(0, rows)
        sent_i, sent_j = sent.index_select(0, i), sent.index_select(0, j)
        weights = self.first(features)
        to_scalar, to_vector = weights[:, :channels], weights[:, channels:]
        zero = torch.zeros(numbers.shape[0], channels, dtype=vectors.dtype, device=vectors.device)
        message = zero.index_add(0, j, to_scalar * sent_i).index_add(0, i, to_scalar * sent_j)
        scalars = torch.bmm(message[:, None], self.scalar_map.index_select(0, rows))[:, 0]
        zero = torch.zeros(numbers.shape[0], 3, channels, dtype=vectors.dtype, device=vectors.device)
        arrows = zero.index_add(0, j, (to_vector * sent_i)[:, None] * directions)
        arrows = arrows.index_add(0, i, (to_vector * sent_j)[:, None] * -directions)
        arrows = torch.bmm(arrows, self.vector_map.index_select(0, rows))
        energies = scalars @ self.readout

        # Layer 2: scalar messages from the sender's scalars and from its vectors along the pair.
        up, up_arrows = scalars @ self.up, arrows @ self.up_vectors
        along_i = (up_arrows.index_select(0, i) * directions).sum(1)
        along_j = (up_arrows.index_select(0, j) * directions).sum(1)
        weights = self.second(features)
        to_j = weights * torch.cat([up.index_select(0, i), along_i], dim=1)
        to_i = weights * torch.cat([up.index_select(0, j), -along_j], dim=1)
        zero = torch.zeros(numbers.shape[0], 2 * channels, dtype=vectors.dtype, device=vectors.device)
        message = torch.cat([zero.index_add(0, j, to_j).index_add(0, i, to_i), scalars], dim=1)
        scalars = torch.bmm(message[:, None], self.last_map.index_select(0, rows))[:, 0]
        energies = energies + torch.nn.functional.silu(scalars @ self.readout_hidden) @ self.readout_last
        return self.scale * energies.squeeze(1) + self.shift

    def edge_features(self, distances: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        """Tapered radial features of Eq. 14 (static model: Eq. 13) from [n_pairs, 1] A: [n_pairs, num_bessel]."""
        features = self.bessel_prefactor * torch.sin(self.bessel_frequencies * distances) / distances
        if self.flexible:
            features = self.embedding(torch.cat([features, m], dim=1))
        x = (distances / m).clamp(max=1.0)
        p = self.polynomial_order
        series = torch.full_like(x, 0.5 * p * (p + 1))  # the taper as in fcl.models.conditioning
        for step in range(p - 1):
            k = p - 2 - step
            series = series * x + 0.5 * (k + 1) * (k + 2)
        return features * (1.0 - x) ** 3 * series


def exported_elements(model, choice: CutoffChoice) -> list[int]:
    """Atomic numbers that have a cutoff, ascending; `ValueError` where there is none or cutoffs belong to atoms."""
    known = len(model.atomic_numbers)
    if choice.by_element is None:
        if choice.per_atom.ndim:
            raise ValueError("cutoffs given atom by atom cannot be exported: give them by element")
        return list(range(1, known + 1))
    elements = np.flatnonzero(~np.isnan(choice.by_element))
    model.check_elements(torch.as_tensor(elements))
    return elements.tolist()


def _scriptable_rule(model) -> MixingRule:
    """The model's mixing rule, which becomes part of the exported program; `ValueError` names one that cannot."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
            torch.jit.script(model.mixing)
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        name = model.settings.mixing_rule
        raise ValueError(f"mixing rule {name!r} cannot be exported: TorchScript does not take it ({error})") from error
    return model.mixing


def _linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.nn.Linear:
    """A layer x -> x @ weight + bias."""
    layer = torch.nn.Linear(*weight.shape, bias=bias is not None, dtype=weight.dtype)
    layer.weight.copy_(weight.T)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


def _radial_network(network, width: int) -> torch.nn.Sequential:
    """mace-torch's radial MLP, its first ``width`` outputs; the factors of its normalisation join the weights."""
    layers, factor = [], 1.0
    for layer in network:
        scale = factor / (layer.h_in * layer.var_in) ** 0.5
        if layer.act is None:
            layers.append(_linear(layer.weight[:, :width] * (scale * layer.var_out**0.5)))
        else:
            layers += [_linear(layer.weight * scale), torch.nn.SiLU()]
            factor = layer.act.cst * layer.var_out**0.5
    return torch.nn.Sequential(*layers)


def _embedding(model) -> torch.nn.Module:
    """u of Eq. 15 without the padding of its matrices; a static model has none."""
    if not model.needs_cutoffs:
        return torch.nn.Identity()
    first, _, second = model.radial_embedding.network
    return torch.nn.Sequential(
        _linear(first.weight.T, first.bias), torch.nn.SiLU(), _linear(second.weight.T, second.bias)
    )


def _radial(model) -> dict[str, torch.Tensor]:
    """The Bessel functions."""
    if model.needs_cutoffs:
        basis = model.radial_embedding.bessel
        return {
            "bessel_frequencies": basis.frequencies,
            "bessel_prefactor": torch.tensor(basis.prefactor, dtype=torch.float64),
        }
    basis = model.radial_embedding.bessel_fn
    return {"bessel_frequencies": basis.bessel_weights, "bessel_prefactor": basis.prefactor}


def _on_atoms(model, elements: torch.Tensor, cutoffs: torch.Tensor) -> dict[str, torch.Tensor]:
    """All that acts on single atoms: rows of ``sent`` and matrices [in, out] for each element, and for all of them.

    Features of an atom are ``channels`` scalars, then as many vectors of three components each. Vectors turn alike in
    all components, so that the first one stands for all three.
    """
    (first, second), (product_1, product_2) = model.interactions, model.products
    n, channels = len(elements), model.node_embedding.linear.irreps_out.dim
    scalars, vectors = slice(0, channels), slice(channels, 4 * channels, 3)

    def rows(at: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors [n * len(at), width] with a one at each of ``at``, for each element, and its one-hot vector."""
        units = torch.eye(width, dtype=torch.float64)[at].repeat(n, 1)
        one_hot = torch.nn.functional.one_hot(elements - 1, len(model.atomic_numbers)).double()
        return units, one_hot.repeat_interleave(len(at), 0)

    def by_element(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(n, -1, channels)

    def layer(interaction, product, at: torch.Tensor) -> torch.Tensor:
        """Features of atoms whose sum of messages is one at each of ``at``; as the forward pass of mace-torch."""
        units, one_hot = rows(at, interaction.linear.irreps_in.dim)
        message = interaction.linear(units) / interaction.avg_num_neighbors
        if interaction is first:
            message = interaction.skip_tp(message, one_hot)
        return product(node_feats=interaction.reshape(message), sc=None, node_attrs=one_hot)

    everything = torch.arange(4 * channels)
    units, one_hot = rows(everything[scalars], 4 * channels)
    skip = by_element(second.skip_tp(units, one_hot))
    last = by_element(layer(second, product_2, torch.arange(2 * channels)))
    up = second.linear_up(torch.eye(4 * channels, dtype=torch.float64))
    readout, last_readout = model.readouts
    return {
        "sent": first.linear_up(model.initial_node_features(elements, cutoffs)),
        "scalar_map": by_element(layer(first, product_1, everything[scalars])[:, scalars]),
        # the first spherical harmonic is sqrt(3) times the direction
        "vector_map": by_element(layer(first, product_1, everything[vectors])[:, vectors]) * math.sqrt(3.0),
        "last_map": torch.cat([last, skip], dim=1),
        "up": up[scalars, scalars],
        "up_vectors": up[vectors, vectors],
        "readout": readout.linear(torch.eye(4 * channels, dtype=torch.float64))[scalars],
        "readout_hidden": last_readout.linear_1(torch.eye(channels, dtype=torch.float64)),
        "readout_last": last_readout.linear_2(torch.eye(last_readout.linear_2.irreps_in.dim, dtype=torch.float64))
        * last_readout.non_linearity.acts[0].cst,
        "scale": model.scale_shift.scale,
        "shift": model.scale_shift.shift,
    }
