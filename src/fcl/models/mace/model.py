"""`StaticMACE` and `FlexibleMACE`: one interface, mace-torch's parameters and names."""

from __future__ import annotations

import torch

from fcl.cutoffs.mixing import mixing_rule
from fcl.data.batch import Batch
from fcl.models.conditioning import CutoffEmbedding, FlexibleRadialEmbedding
from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments
from fcl.models.mace.fast import fast_site_energies, supports_fast

BACKENDS = ("auto", "fast", "reference", "compiled")


class StaticMACE(ScaleShiftMACE):
    """mace-torch's ScaleShiftMACE with one fixed cutoff, evaluated on a `Batch` of undirected pairs.

    Same parameters and names as in mace-torch: a state dict goes both ways. ``backend``: ``reference`` evaluates
    mace-torch's own blocks on directed edges, ``fast`` the same mathematics on undirected pairs, ``compiled`` the fast
    path as a compiled program (`fcl.models.compile`; a minute to compile, for long runs), ``auto`` the fast path
    wherever it covers the model.
    """

    kind = "static"
    needs_cutoffs = False

    def __init__(self, settings, r_max: float, avg_num_neighbors: float, backend: str = "auto"):
        super().__init__(**backbone_arguments(settings, r_max, avg_num_neighbors))
        self.settings = settings
        self.cutoff_limit = float(r_max)
        self.avg_num_neighbors = float(avg_num_neighbors)
        self.mixing = mixing_rule(settings.mixing_rule)
        self.backend = backend

    @property
    def backend(self) -> str:
        """The evaluation path in use: ``fast``, ``reference`` or ``compiled``."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"backend {name!r} is unknown; known are {', '.join(BACKENDS)}")
        covered = supports_fast(self)
        if name in ("fast", "compiled") and not covered:
            raise ValueError(
                f"the {name} path covers max_ell = 1, correlation 1, two layers of scalars and vectors only"
            )
        self._backend = name if name != "auto" else "fast" if covered else "reference"
        self._compiled = None
        if name == "compiled":
            from fcl.models.compile import CompiledEnergies

            self._compiled = CompiledEnergies(self)

    def check_cutoff(self, cutoff: float) -> None:
        """Raise `ValueError` when the model cannot be evaluated at a uniform ``cutoff`` (A): a static model has one."""
        if abs(cutoff - self.cutoff_limit) > 1e-9:
            raise ValueError(f"a static model of cutoff {self.cutoff_limit} A cannot be evaluated at {cutoff} A")

    def check_elements(self, numbers: torch.Tensor) -> None:
        """Raise `ValueError` for an atomic number outside 1 .. the model's number of elements."""
        known = len(self.atomic_numbers)
        if len(numbers) and not (1 <= int(numbers.min()) and int(numbers.max()) <= known):
            from ase.data import chemical_symbols

            unknown = sorted({z for z in numbers.tolist() if not 1 <= z <= known})
            names = ", ".join(chemical_symbols[z] if 0 <= z < len(chemical_symbols) else str(z) for z in unknown)
            raise ValueError(f"the model has the elements Z = 1-{known}, not {names}")

    # -- what differs between the static and the flexible model --------------------------------------------------------

    def initial_node_features(self, numbers: torch.Tensor, cutoffs: torch.Tensor | None) -> torch.Tensor:
        """h_i^(0): [n_atoms, channels], the row of the linear embedding that belongs to Z_i."""
        linear = self.node_embedding.linear
        channels = linear.irreps_out.dim
        weight = linear.weight.view(-1, channels) * linear.instructions[0].path_weight
        return weight.index_select(0, numbers - 1)

    def edge_features(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None) -> torch.Tensor:
        """Tapered radial features of pairs: [n_pairs, 1] A -> [n_pairs, num_bessel] (Eq. 13)."""
        features, _ = self.radial_embedding(distances, None, None, None)
        return features

    # -- energies ------------------------------------------------------------------------------------------------------

    def site_energies(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Energy of each atom [n_atoms] (eV) from undirected pairs.

        numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A from i to j; cutoffs [n_atoms] A.
        """
        if self.needs_cutoffs and cutoffs is None:
            raise ValueError("a FlexibleMACE needs the cutoffs of the atoms")
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        pair_cutoffs = None
        if self.needs_cutoffs:
            i, j = pair_index
            pair_cutoffs = self.mixing(cutoffs.index_select(0, i), cutoffs.index_select(0, j))[:, None]
        features = self.edge_features(distances, pair_cutoffs)
        nodes = self.initial_node_features(numbers, cutoffs)
        if self._backend != "reference":
            return fast_site_energies(self, numbers, pair_index, vectors, distances, features, nodes)
        return self._reference_site_energies(numbers, pair_index, vectors, features, nodes)

    def _reference_site_energies(self, numbers, pair_index, vectors, features, nodes) -> torch.Tensor:
        """mace-torch's blocks on directed edges: each pair becomes i -> j with r_ij and j -> i with -r_ij."""
        edge_index = torch.cat([pair_index, pair_index.flip(0)], dim=1)
        edge_attrs = self.spherical_harmonics(torch.cat([vectors, -vectors]))
        edge_feats = torch.cat([features, features])
        node_attrs = torch.nn.functional.one_hot(numbers - 1, len(self.atomic_numbers)).to(vectors.dtype)
        heads = torch.zeros_like(numbers)
        energies = torch.zeros(len(numbers), dtype=vectors.dtype, device=vectors.device)
        for layer, (interaction, product, readout) in enumerate(
            zip(self.interactions, self.products, self.readouts, strict=True)
        ):
            nodes, skip = interaction(
                node_attrs=node_attrs,
                node_feats=nodes,
                edge_attrs=edge_attrs,
                edge_feats=edge_feats,
                edge_index=edge_index,
                cutoff=None,
                first_layer=layer == 0,
            )
            nodes = product(node_feats=nodes, sc=skip, node_attrs=node_attrs)
            energies = energies + readout(nodes, heads).squeeze(-1)
        return self.scale_shift(energies, heads)

    def forward(
        self,
        batch: Batch,
        cutoffs: torch.Tensor | None = None,
        *,
        forces: bool = True,
        stress: bool = False,
        training: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Energies, forces and stress of a batch whose pairs have been selected.

        ``cutoffs`` [n_atoms] (A) are the per-atom radii by which the pairs were selected (`FlexibleMACE` only). With
        ``training`` the results stay differentiable, also with respect to ``cutoffs`` and ``batch.positions``.
        Returns energy [n_structures] eV, node_energy [n_atoms] eV, forces [n_atoms, 3] eV/A, stress [n_structures, 3,
        3] eV/A^3. Forces and stress both follow from one gradient g = dE/dr_ij: F_i = sum g, F_j = -sum g,
        stress = sum r_ij (x) g / V, symmetrised. Raises `ValueError` when no pairs have been selected and, on the CPU,
        for an element that the model does not know.
        """
        if batch.pair_index is None:
            raise ValueError("the batch has no pairs: call GraphData.select_pairs first")
        if batch.numbers.device.type == "cpu":  # on a GPU the host would have to wait for the answer
            self.check_elements(batch.numbers)
        i, j = batch.pair_index
        with torch.set_grad_enabled(training or forces or stress):
            positions = batch.positions
            pair_structure = batch.pair_structure
            shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, batch.cells.index_select(0, pair_structure))
            vectors = positions.index_select(0, j) - positions.index_select(0, i) + shifts
            node_energy, gradient = self._energies_and_gradient(
                batch, vectors, cutoffs, wanted=forces or stress, training=training
            )
            results = {
                "node_energy": node_energy,
                "energy": node_energy.new_zeros(batch.n_structures).index_add(0, batch.structure, node_energy),
            }
            if gradient is not None:
                if forces:
                    zero = torch.zeros_like(positions)
                    results["forces"] = zero.index_add(0, i, gradient).index_add(0, j, -gradient)
                if stress:
                    outer = vectors[:, :, None] * gradient[:, None, :]
                    virial = torch.zeros_like(batch.cells).index_add(0, pair_structure, outer)
                    volume = torch.linalg.det(batch.cells).abs()[:, None, None]
                    if (volume == 0).any():
                        raise ValueError("stress was asked for a structure without a cell volume")
                    results["stress"] = 0.5 * (virial + virial.transpose(1, 2)) / volume
        return results if training else {name: value.detach() for name, value in results.items()}

    def _energies_and_gradient(self, batch: Batch, vectors, cutoffs, *, wanted: bool, training: bool):
        """Site energies, and dE/dr_ij [n_pairs, 3] where it is ``wanted``; differentiable again in ``training``."""
        inputs = (batch.numbers, batch.pair_index, vectors, cutoffs)
        if wanted and self._compiled is not None and self._compiled.covers(batch.numbers, batch.pair_index):
            with torch.set_grad_enabled(training):
                return self._compiled(*inputs)
        if wanted and not vectors.requires_grad:
            vectors.requires_grad_(True)
        energies = self.site_energies(*inputs)
        if not wanted:
            return energies, None
        (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=training, materialize_grads=True)
        return energies, gradient


class FlexibleMACE(StaticMACE):
    """MACE with per-atom cutoffs as inputs: Eq. 14 radial embedding and Eq. 16 node embedding (Appendix A).

    ``r_max`` (A) is the largest admissible cutoff (7.0 in the paper) and the range of the Bessel functions;
    ``settings.fcl_avg_num_neighbors`` is 50 "throughout all experiments" (Appendix A, below Table 3).
    """

    kind = "fcl"
    needs_cutoffs = True

    def __init__(self, settings, r_max: float, avg_num_neighbors: float | None = None, backend: str = "auto"):
        neighbors = settings.fcl_avg_num_neighbors if avg_num_neighbors is None else avg_num_neighbors
        super().__init__(settings, r_max, neighbors, backend)
        self.radial_embedding = FlexibleRadialEmbedding(
            r_max, settings.num_bessel, settings.polynomial_order, settings.radial_embedding_hidden
        )
        channels = self.node_embedding.linear.irreps_out.dim
        self.cutoff_embedding = CutoffEmbedding(settings.cutoff_embedding_hidden, channels, settings.cutoff_embedding)

    def check_cutoff(self, cutoff: float) -> None:
        """Raise `ValueError` for a ``cutoff`` (A) that is not positive or exceeds the range of the Bessel functions."""
        if not 0.0 < cutoff <= self.cutoff_limit + 1e-9:
            raise ValueError(f"cutoff {cutoff} A is not within (0, {self.cutoff_limit}] A, the range of this model")

    def initial_node_features(self, numbers: torch.Tensor, cutoffs: torch.Tensor | None) -> torch.Tensor:
        """h_i^(0) + q(a_i), Eq. 16: [n_atoms, channels]."""
        return super().initial_node_features(numbers, cutoffs) + self.cutoff_embedding(cutoffs[:, None])

    def edge_features(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None) -> torch.Tensor:
        """u([b(r), m]) s(r, m), Eq. 14: [n_pairs, num_bessel]."""
        return self.radial_embedding(distances, pair_cutoffs)

    def load_backbone(self, state: dict[str, torch.Tensor]) -> None:
        """Start from pre-trained weights: everything but the radial embedding, which FCL initialises from scratch.

        Raises `ValueError` naming the parameters when ``state`` is not that of a backbone of the same shape.
        """
        own = self.state_dict()
        new = ("radial_embedding.", "cutoff_embedding.")
        taken = {name: value for name, value in state.items() if not name.startswith("radial_embedding.")}
        taken.pop("r_max", None)  # the buffer of the range belongs to this model, not to the pre-trained one
        missing = [name for name in own if not name.startswith(new) and name != "r_max" and name not in taken]
        wrong = [name for name, value in taken.items() if name not in own or own[name].shape != value.shape]
        if missing or wrong:
            raise ValueError(f"pre-trained weights do not fit: missing {missing}, unknown or other shape {wrong}")
        self.load_state_dict(taken, strict=False)


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
