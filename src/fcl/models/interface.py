"""`Potential`, the interface of a model, and what all models share: forces, stress, checks, and the parts of FCL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from fcl.cutoffs.edges import RadialSelector

if TYPE_CHECKING:
    from fcl.cutoffs.mixing import MixingRule
    from fcl.data.batch import Batch
    from fcl.models.conditioning import Conditioning


class Potential(torch.nn.Module, ABC):
    """A model of energies from undirected pairs: a backbone with the parts of a static or a flexible model.

    A backbone implements `element_features` and `propagate`. The parts (`fcl.models.conditioning.Conditioning`: edge
    features with their taper, embedding of the cutoff) are composed into it as ``radial_embedding`` and
    ``cutoff_embedding``.

    Attributes:
        architecture: name of the backbone in cards and in `fcl.models.registry`.
        backends: evaluation paths that this model has; ``backend`` is the one in use and can be assigned.
        settings: the `fcl.config.sections.ModelSettings`.
        elements: atomic numbers that the model knows, ascending.
        cutoff_limit: r_max (A), the largest admissible cutoff; the one cutoff of a static model. (``r_max`` is the
            buffer of the state dict.)
        bessel_range: range of the Bessel functions (A).
        flexible: whether the cutoffs of the atoms are inputs; ``kind`` is "fcl" or "static".
        selector: which pairs are kept and their m_ij (`fcl.cutoffs.edges`); ``mixing`` is its rule.
        head: name of the head whose energies are given.
        card: what the model file says, {} for a model that was not loaded.
    """

    architecture: str
    backends: tuple[str, ...] = ("reference",)
    head = "Default"

    def __init__(self, settings, r_max: float, elements: Sequence[int], parts: Conditioning, mixing: str):
        super().__init__()
        self.settings = settings
        self.elements = tuple(elements)
        self.cutoff_limit = float(r_max)
        self.bessel_range = float(parts.bessel_range)
        self.selector = RadialSelector(mixing)
        self.card: dict = {}
        self.radial_embedding = parts.radial_embedding
        self.cutoff_embedding = parts.cutoff_embedding
        self._compiled = None
        self._backend = self.backends[0]

    @property
    def mixing(self) -> MixingRule:
        """m_ij (A) from a_i and a_j, symmetric (`fcl.cutoffs.mixing.MIXING_RULES`)."""
        return self.selector.mixing

    @property
    def flexible(self) -> bool:
        return self.cutoff_embedding is not None

    @property
    def kind(self) -> str:
        return "fcl" if self.flexible else "static"

    @property
    def backend(self) -> str:
        """The evaluation path in use, one of ``backends``; ``auto`` may be assigned for the first of them."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        name = self.backends[0] if name == "auto" else name
        if name not in BACKENDS:
            raise ValueError(f"backend {name!r} is unknown; known are {', '.join(BACKENDS)}")
        if name not in self.backends:
            raise ValueError(
                f"the {name} path covers max_ell = 1, correlation 1, two layers of scalars and vectors only"
            )
        self._backend, self._compiled = name, None
        if name == "compiled":
            from fcl.models.compile import CompiledEnergies

            self._compiled = CompiledEnergies(self)

    # -- what a backbone implements ------------------------------------------------------------------------------------

    @abstractmethod
    def element_features(self, numbers: torch.Tensor) -> torch.Tensor:
        """h_i^(0): initial node features [n_atoms, channels] of atoms with atomic ``numbers`` [n_atoms]."""

    @abstractmethod
    def propagate(self, numbers, pair_index, vectors, distances, features, nodes):
        """Site energies [n_atoms] (eV), and what the last layers read: one tensor [n_atoms, width] for each readout.

        numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A from i to j; distances [n_pairs, 1] A;
        features [n_pairs, num_bessel], tapered; nodes [n_atoms, channels], initial node features.
        """

    @abstractmethod
    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [n_features] and shift [] (eV): site energies are `last_layer_features` @ weights + shift."""

    @property
    @abstractmethod
    def energy_offsets(self) -> torch.Tensor:
        """Energy of an isolated atom of each of ``elements`` [n_elements] (eV), which predictions do not hold."""

    def freeze(self, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        """A scriptable module for engines: the model with one cutoff (A) for each of ``elements`` (atomic numbers).

        Its forward takes (numbers, pair_index, vectors) and gives site energies, as `site_energies`. Raises
        `ValueError` for a model that cannot be exported.
        """
        raise ValueError("export covers max_ell = 1, correlation 1, two layers of scalars and vectors only")

    # -- checks --------------------------------------------------------------------------------------------------------

    def check_cutoff(self, cutoff: float) -> None:
        """Raise `ValueError` when the model cannot be evaluated at a uniform ``cutoff`` (A).

        A static model has one cutoff; those of a flexible model are positive and at most r_max.
        """
        if not self.flexible and abs(cutoff - self.cutoff_limit) > 1e-9:
            raise ValueError(f"a static model of cutoff {self.cutoff_limit} A cannot be evaluated at {cutoff} A")
        if self.flexible and not 0.0 < cutoff <= self.cutoff_limit + 1e-9:
            raise ValueError(f"cutoff {cutoff} A is not within (0, {self.cutoff_limit}] A, the range of this model")

    def check_elements(self, numbers: torch.Tensor) -> None:
        """Raise `ValueError` for atomic numbers that are not among ``elements``."""
        known = self.elements
        consecutive = known[-1] - known[0] + 1 == len(known)
        if not len(numbers) or (consecutive and known[0] <= int(numbers.min()) and int(numbers.max()) <= known[-1]):
            return
        unknown = sorted(set(numbers.tolist()) - set(known))
        if unknown:
            from ase.data import chemical_symbols

            def name(z: int) -> str:
                return chemical_symbols[z] if 0 <= z < len(chemical_symbols) else str(z)

            has = f"Z = {known[0]}-{known[-1]}" if consecutive else ", ".join(map(name, known))
            raise ValueError(f"the model has the elements {has}, not {', '.join(map(name, unknown))}")

    # -- inputs of the backbone, with the parts of FCL -----------------------------------------------------------------

    def initial_node_features(self, numbers: torch.Tensor, cutoffs: torch.Tensor | None) -> torch.Tensor:
        """h_i^(0), in a flexible model + q(a_i), Eq. 16: [n_atoms, channels]. ``cutoffs`` [n_atoms] A."""
        nodes = self.element_features(numbers)
        return nodes + self.cutoff_embedding(cutoffs[:, None]) if self.flexible else nodes

    def edge_features(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None) -> torch.Tensor:
        """Tapered radial features of pairs, Eq. 13 or Eq. 14: [n_pairs, 1] A -> [n_pairs, num_bessel]."""
        return self.radial_embedding(distances, pair_cutoffs)

    def _evaluate(self, numbers, pair_index, vectors, cutoffs):
        """`propagate` from positions' pairs and cutoffs, shapes as in `site_energies`."""
        if self.flexible and cutoffs is None:
            raise ValueError("a flexible model needs the cutoffs of the atoms")
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        pair_cutoffs = None
        if self.flexible:
            pair_cutoffs = self.selector.pair_cutoffs(*pair_index, cutoffs)[:, None]
        features = self.edge_features(distances, pair_cutoffs)
        nodes = self.initial_node_features(numbers, cutoffs)
        return self.propagate(numbers, pair_index, vectors, distances, features, nodes)

    def site_energies(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Energy of each atom [n_atoms] (eV) from undirected pairs.

        numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A from i to j; cutoffs [n_atoms] A, for a
        flexible model (`ValueError` without).
        """
        return self._evaluate(numbers, pair_index, vectors, cutoffs)[0]

    def last_layer_features(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What the last, linear layers of all readouts read, [n_atoms, n_features]; inputs as of `site_energies`."""
        return torch.cat(self._evaluate(numbers, pair_index, vectors, cutoffs)[1], dim=1)

    # -- energies, forces and stress -----------------------------------------------------------------------------------

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

        ``cutoffs`` [n_atoms] (A) are the per-atom radii by which the pairs were selected (flexible models only). With
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

    def load_backbone(self, state: dict[str, torch.Tensor]) -> None:
        """Start from pre-trained weights: all but the radial and the cutoff embedding, which keep their initial ones.

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


#: Evaluation paths that a model may have; ``auto`` is the first that it has.
BACKENDS = ("auto", "fast", "reference", "compiled")


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
