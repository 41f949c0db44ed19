"""A model whose cutoffs are chosen: tables and matrices for TorchScript, without mace-torch or e3nn.

With the cutoffs of the elements fixed, what acts on single atoms is linear and depends on the element only. So the
chain of blocks behind each sum of messages becomes one matrix per element, the product of theirs. What is left is what
depends on distances: radial features, messages and their sums.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.edges import indices_within
from fcl.cutoffs.mixing import MixingRule
from fcl.models.files import prepared
from fcl.models.mace.blocks import SILU_SCALE

logger = logging.getLogger(__name__)


def freeze(
    model,
    choice: CutoffChoice,
    dtype: torch.dtype = torch.float64,
    *,
    radial: str = "network",
    elements: Sequence[int] | None = None,
) -> torch.nn.Module:
    """`Potential.freeze` at the cutoffs of ``choice``, given by element (or one number, for all elements of the model).

    ``elements`` (atomic numbers) are those to know; None: all that have a cutoff. With ``radial`` "tables" it is
    `Potential.tabulate`, unless the model or the size of the tables does not allow it. Raises `ValueError` for cutoffs
    given atom by atom or by a scheme, elements without a cutoff and models that cannot be exported.
    """
    if radial not in ("tables", "network"):
        raise ValueError(f"radial {radial!r} is unknown; known are tables, network")
    known = exported_elements(model, choice)
    elements = known if elements is None else sorted(set(elements))
    model.check_elements(torch.as_tensor(elements))
    cutoffs = choice.of(np.array(elements))
    if radial == "tables":
        try:
            return model.tabulate(elements, cutoffs, dtype)
        except ValueError as error:
            frozen = model.freeze(elements, cutoffs, dtype)  # a model that cannot be exported raises here
            logger.info(f"radial functions are exported as networks: {error}")
            return frozen
    return model.freeze(elements, cutoffs, dtype)


class FrozenMACE(torch.nn.Module):
    """Site energies of a `fcl.models.mace.model.MACE` at fixed cutoffs; scriptable, on any device.

    ``cutoffs`` (A) are those of ``elements`` (atomic numbers, ascending). Matrices are computed in float64 and kept in
    ``dtype``; ``model`` is left as it is. Pairs are cut off by the model's own mixing rule. Raises `ValueError` for
    elements and cutoffs that ``model`` does not allow, and for a mixing rule that TorchScript does not take.

    Attributes: ``elements``, atomic numbers in ascending order; ``largest_cutoff`` (A), which no pair exceeds;
    ``interaction_range`` (A), beyond which no atom matters to the energy of another: as many times the largest cutoff
    as there are layers of messages.
    """

    def __init__(self, model, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        super().__init__()
        elements = torch.tensor([int(element) for element in elements])
        cutoffs = torch.tensor([float(cutoff) for cutoff in cutoffs], dtype=torch.float64)
        if len(elements) != len(cutoffs) or not bool((elements.diff() > 0).all()):
            raise ValueError("freeze takes elements in ascending order and one cutoff for each")
        model.check_elements(elements, warn=False)  # not all of them need occur
        for cutoff in cutoffs.tolist():
            model.check_cutoff(cutoff)
        self.elements: list[int] = elements.tolist()
        self.largest_cutoff = float(cutoffs.max())
        self.interaction_range = len(model.interactions) * self.largest_cutoff
        self.mixing = _scriptable_rule(model)
        self.flexible = bool(model.flexible)
        self.polynomial_order = int(model.settings.polynomial_order)
        exact = prepared(model, torch.float64, "cpu", None)
        row = torch.full((int(elements.max()) + 1,), -1, dtype=torch.int64)
        row[elements] = torch.arange(len(elements))
        self.register_buffer("row", row)  # of an atomic number in the tables
        with torch.no_grad():
            first, second = (interaction.conv_tp_weights for interaction in exact.interactions)
            width = first.matrices()[-1].shape[1]  # the messages that reach the energy
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
        kept = indices_within(torch.linalg.vector_norm(vectors.detach(), dim=1), m)
        i, j, vectors = i.index_select(0, kept), j.index_select(0, kept), vectors.index_select(0, kept)
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        features = self.edge_features(distances, m.index_select(0, kept)[:, None])
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
    """Atomic numbers that have a cutoff, ascending; `ValueError` where cutoffs are not by element."""
    if choice.scheme is not None:
        raise ValueError(
            f"cutoffs {choice.scheme} follow the environment of each atom and cannot be exported: give them by element"
        )
    if choice.by_element is None:
        if choice.per_atom.ndim:
            raise ValueError("cutoffs given atom by atom cannot be exported: give them by element")
        return list(model.elements)
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
    """A `fcl.models.mace.blocks.RadialNetwork`, its first ``width`` outputs; its constant factors join the weights."""
    first, *others = (_linear(matrix) for matrix in network.matrices(width))
    return torch.nn.Sequential(first, *(module for layer in others for module in (torch.nn.SiLU(), layer)))


def _embedding(model) -> torch.nn.Module:
    """u of Eq. 15 without the padding of its matrices; a static model has none."""
    if not model.flexible:
        return torch.nn.Identity()
    first, _, second = model.radial_embedding.network
    return torch.nn.Sequential(
        _linear(first.weight.T, first.bias), torch.nn.SiLU(), _linear(second.weight.T, second.bias)
    )


def _radial(model) -> dict[str, torch.Tensor]:
    """The Bessel functions."""
    if model.flexible:
        basis = model.radial_embedding.bessel
        return {
            "bessel_frequencies": basis.frequencies,
            "bessel_prefactor": torch.tensor(basis.prefactor, dtype=torch.float64),
        }
    basis = model.radial_embedding.bessel_fn
    return {"bessel_frequencies": basis.bessel_weights, "bessel_prefactor": basis.prefactor}


def _on_atoms(model, elements: torch.Tensor, cutoffs: torch.Tensor) -> dict[str, torch.Tensor]:
    """All that acts on single atoms: rows of ``sent`` and matrices [in, out] for each element, and for all of them.

    The chain of blocks is that of `fcl.models.mace.fast`. Vectors turn alike in all components: one matrix serves all
    three.
    """
    (first, second), (product_1, product_2), element = model.interactions, model.products, elements - 1

    def after(message: torch.Tensor, product, path: int) -> torch.Tensor:
        """[n, in, channels] with the product basis of the ``path``-th degree behind it."""
        return (message * product.factors(path, element)[:, None]) @ product.linear.matrix(path)

    def first_layer(path: int) -> torch.Tensor:
        """Sum of messages to features, for scalars (path 0) and vectors (1): [n, channels, channels]."""
        message = first.linear.matrix(path) / first.avg_num_neighbors
        return after(message @ first.skip_tp.matrices(path, element), product_1, path)

    mix = torch.cat([second.linear.matrix(0), second.linear.matrix(1)]) / second.avg_num_neighbors
    last = after(mix.expand(len(elements), -1, -1), product_2, 0)
    readout, last_readout = model.readouts
    return {
        "sent": model.initial_node_features(elements, cutoffs) @ first.linear_up.matrix(0),
        "scalar_map": first_layer(0),
        # the first spherical harmonic is sqrt(3) times the direction
        "vector_map": first_layer(1) * math.sqrt(3.0),
        "last_map": torch.cat([last, second.skip_tp.matrices(0, element)], dim=1),
        "up": second.linear_up.matrix(0),
        "up_vectors": second.linear_up.matrix(1),
        "readout": readout.linear.matrix(0),
        "readout_hidden": last_readout.linear_1.matrix(0),
        "readout_last": last_readout.linear_2.matrix(0) * SILU_SCALE,
        "scale": model.scale_shift.scale,
        "shift": model.scale_shift.shift,
    }
