"""`Potential`, the interface of models, and their common parts: forces, stress, checks and conditioning on cutoffs."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from fcl.cutoffs.edges import Candidates, RadialSelector

if TYPE_CHECKING:
    from fcl.cutoffs.edges import EdgeSelector, Kept
    from fcl.cutoffs.mixing import MixingRule
    from fcl.data.batch import Batch
    from fcl.models.conditioning import Conditioning


logger = logging.getLogger(__name__)

#: Elements in fewer training structures than this are warned of.
RARE = 5


class Potential(torch.nn.Module, ABC):
    """A model that predicts energies from undirected pairs: a backbone with the parts of a static or flexible model.

    A backbone implements `element_features` and `propagate`. The parts (`fcl.models.conditioning.Conditioning`: edge
    features with their envelope, cutoff embedding) are its modules ``radial_embedding`` and ``cutoff_embedding``.

    Attributes:
        architecture: name of the backbone in cards and in `fcl.models.registry`.
        backends: available evaluation paths; ``backend`` is the one in use and can be assigned.
        settings: the `fcl.config.architectures.ModelSettings`.
        elements: supported atomic numbers, ascending.
        cutoff_limit: r_max (A), the largest admissible cutoff; for a static model, its cutoff. (``r_max`` is the
            buffer in the state dict.)
        bessel_range: range of the Bessel functions (A).
        flexible: whether the cutoffs of the atoms are inputs; ``kind`` is "fcl" or "static".
        selector: which pairs are kept and their m_ij (`fcl.cutoffs.edges`); ``mixing`` is its rule.
        head: name of the head whose energies are predicted.
        card: the card of the model file; {} if the model was not loaded from a file.
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
        self._met: set[int] = set()  # elements that `_warn_of_rare_elements` has looked up
        self._said = False  # that a selector is evaluated without the compiled program
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
        """The evaluation path in use, one of ``backends``; assign ``auto`` for the first of them."""
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
        """h_i^(0): initial node features [n_atoms, channels] for atomic ``numbers`` [n_atoms]."""

    @abstractmethod
    def propagate(self, numbers, pair_index, vectors, distances, features, nodes):
        """Site energies [n_atoms] (eV), and the inputs of the last layers: one tensor [n_atoms, width] per readout.

        numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A from i to j; distances [n_pairs, 1] A;
        features [n_pairs, num_bessel], with the envelope; nodes [n_atoms, channels], initial node features.
        """

    @abstractmethod
    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [n_features] and shift [] (eV): site energies are `last_layer_features` @ weights + shift."""

    @property
    @abstractmethod
    def energy_offsets(self) -> torch.Tensor:
        """Isolated-atom energies of ``elements`` [n_elements] (eV), which are not included in predictions."""

    def freeze(self, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        """A scriptable module for engines: the model with fixed ``cutoffs`` (A) of ``elements`` (atomic numbers).

        Its forward takes (numbers, pair_index, vectors) and returns site energies, as `site_energies`. Raises
        `ValueError` for a model that cannot be exported.
        """
        raise ValueError("export covers max_ell = 1, correlation 1, two layers of scalars and vectors only")

    def tabulate(self, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        """`freeze` with tabulated radial functions (`fcl.models.mace.tabulated.TabulatedMACE`).

        Raises `ValueError` for a model that cannot be tabulated, and for tables that would be too large.
        """
        raise ValueError("tables cover max_ell = 1, correlation 1, two layers of scalars and vectors only")

    # -- checks --------------------------------------------------------------------------------------------------------

    @property
    def single_cutoff(self) -> bool:
        """Whether ``cutoff_limit`` is the only cutoff: of a static model, or of FCL with r_min = r_max."""
        return not self.flexible or self.card.get("r_min_angstrom") == self.cutoff_limit

    @property
    def own_cutoffs(self) -> dict[str, float] | None:
        """Cutoffs (A) by chemical symbol for which an FCL model was specialised; None: it was not."""
        return self.card.get("cutoffs_angstrom")

    def check_cutoff(self, cutoff: float) -> None:
        """Raise `ValueError` if the model cannot be evaluated at a uniform ``cutoff`` (A).

        A model with a `single_cutoff` requires it, any other 0 < cutoff <= r_max.
        """
        if self.single_cutoff and abs(cutoff - self.cutoff_limit) > 1e-9:
            kind = "an FCL model trained at" if self.flexible else "a static model of cutoff"
            only = " only" if self.flexible else ""
            raise ValueError(f"{kind} {self.cutoff_limit} A{only} cannot be evaluated at {cutoff} A")
        if self.flexible and not 0.0 < cutoff <= self.cutoff_limit + 1e-9:
            raise ValueError(f"cutoff {cutoff} A is not within (0, {self.cutoff_limit}] A, the range of this model")

    def check_elements(self, numbers: torch.Tensor, *, warn: bool = True) -> None:
        """Raise `ValueError` for atomic numbers that are not among ``elements``.

        With ``warn``, elements in fewer than `RARE` training structures (by the card, if it says) are warned of, once.
        """
        known = self.elements
        consecutive = known[-1] - known[0] + 1 == len(known)
        if not len(numbers) or (consecutive and known[0] <= int(numbers.min()) and int(numbers.max()) <= known[-1]):
            if warn:
                self._warn_of_rare_elements(numbers)
            return
        unknown = sorted(set(numbers.tolist()) - set(known))
        if unknown:
            from ase.data import chemical_symbols

            def name(z: int) -> str:
                return chemical_symbols[z] if 0 <= z < len(chemical_symbols) else str(z)

            has = f"Z = {known[0]}-{known[-1]}" if consecutive else ", ".join(map(name, known))
            raise ValueError(f"the model supports the elements {has}, not {', '.join(map(name, unknown))}")
        if warn:
            self._warn_of_rare_elements(numbers)

    def _warn_of_rare_elements(self, numbers: torch.Tensor) -> None:
        trained = self.card.get("training_structures")
        if trained is None:
            return
        from ase.data import chemical_symbols

        new = set(numbers.tolist()) - self._met
        self._met |= new
        rare = {symbol: trained.get(symbol, 0) for symbol in (chemical_symbols[z] for z in sorted(new))}
        found = ", ".join(f"{symbol} in {count}" for symbol, count in rare.items() if count < RARE)
        if found:
            logger.warning(f"elements that the model hardly knows: {found} of its training structures")

    # -- inputs of the backbone, with the parts of FCL -----------------------------------------------------------------

    def initial_node_features(self, numbers: torch.Tensor, cutoffs: torch.Tensor | None) -> torch.Tensor:
        """h_i^(0), plus q(a_i) in a flexible model, Eq. 16: [n_atoms, channels]. ``cutoffs`` [n_atoms] A."""
        nodes = self.element_features(numbers)
        return nodes + self.cutoff_embedding(cutoffs[:, None]) if self.flexible else nodes

    def edge_features(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None) -> torch.Tensor:
        """Radial features of pairs with their envelope, Eq. 13 or Eq. 14: [n_pairs, 1] A -> [n_pairs, num_bessel]."""
        return self.radial_embedding(distances, pair_cutoffs)

    def pair_features(self, numbers, pair_index, distances, pair_cutoffs) -> torch.Tensor:
        """`edge_features`, for backbones whose functions of distance depend on the two elements of a pair as well."""
        return self.edge_features(distances, pair_cutoffs)

    def _evaluate(self, numbers, pair_index, vectors, cutoffs, pair_cutoffs=None, weights=None):
        """`propagate` for pairs and cutoffs, shapes as in `site_energies`.

        ``pair_cutoffs`` [n_pairs] A, None: by the mixing rule; ``weights`` [n_pairs] multiply the radial features.
        """
        if self.flexible and cutoffs is None:
            raise ValueError("a flexible model requires per-atom cutoffs")
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        if self.flexible and pair_cutoffs is None:
            pair_cutoffs = self.selector.pair_cutoffs(*pair_index, cutoffs)
        pair_cutoffs = pair_cutoffs[:, None] if self.flexible else None
        features = self.pair_features(numbers, pair_index, distances, pair_cutoffs)
        if weights is not None:
            features = features * weights[:, None]
        nodes = self.initial_node_features(numbers, cutoffs)
        return self.propagate(numbers, pair_index, vectors, distances, features, nodes)

    def site_energies(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Site energies [n_atoms] (eV) from undirected pairs.

        numbers [n_atoms]; pair_index [2, n_pairs]; vectors [n_pairs, 3] A from i to j; cutoffs [n_atoms] A, required by
        a flexible model (else `ValueError`).
        """
        return self._evaluate(numbers, pair_index, vectors, cutoffs)[0]

    def last_layer_features(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Inputs of the last, linear layers of all readouts, [n_atoms, n_features]; arguments: see `site_energies`."""
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
        selector: EdgeSelector | None = None,
    ) -> dict[str, torch.Tensor]:
        """Energies, forces and stress of a batch with selected pairs.

        ``cutoffs`` [n_atoms] (A) are the per-atom cutoffs used to select the pairs (flexible models only). With
        ``training`` the results remain differentiable, also with respect to ``cutoffs`` and ``batch.positions``.
        Returns energy [n_structures] eV, node_energy [n_atoms] eV, forces [n_atoms, 3] eV/A, stress [n_structures, 3,
        3] eV/A^3. Forces and stress are computed from the gradient g = dE/dr_ij: F_i = sum g, F_j = -sum g,
        stress = sum r_ij (x) g / V, symmetrised.

        A ``selector`` that depends on positions takes the pairs of the batch as its candidates, and ``cutoffs`` as
        those for which they were selected; its m_ij, weights and cutoffs replace those of the model's own one, and g is
        the gradient with respect to all candidates. The results then hold kept_pairs [n_kept], those that the network
        evaluates, and cutoffs [n_atoms] A. Raises `ValueError` if no pairs have been selected and, on the CPU,
        for unsupported elements.
        """
        if batch.pair_index is None:
            raise ValueError("the batch has no pairs: call GraphData.select_pairs first")
        if batch.numbers.device.type == "cpu":  # on a GPU this would synchronise with the host
            self.check_elements(batch.numbers)
        kept = None
        with torch.set_grad_enabled(training or forces or stress):
            vectors = pair_vectors(batch)
            if selector is not None:
                vectors.requires_grad_(forces or stress or vectors.requires_grad)
                kept = self._kept(selector, batch, vectors, cutoffs)
            node_energy, gradient = self._energies_and_gradient(
                batch, vectors, cutoffs, wanted=forces or stress, training=training, kept=kept
            )
            results = {"node_energy": node_energy, "energy": structure_sums(batch, node_energy)}
            if kept is not None:
                results["kept_pairs"] = kept.index
                results["cutoffs"] = cutoffs if kept.cutoffs is None else kept.cutoffs
            if gradient is not None:
                if forces:
                    i, j = batch.pair_index
                    zero = torch.zeros_like(batch.positions)
                    results["forces"] = zero.index_add(0, i, gradient).index_add(0, j, -gradient)
                if stress:
                    results["stress"] = stresses(batch, vectors, gradient)
        return results if training else {name: value.detach() for name, value in results.items()}

    def _kept(self, selector: EdgeSelector, batch: Batch, vectors, cutoffs) -> Kept:
        """What ``selector`` keeps of the pairs of ``batch``, as functions of ``vectors``."""
        if self._compiled is not None and not self._said:
            self._said = True
            logger.warning(f"{selector}: pairs depend on positions, and are evaluated without the compiled program")
        distances = torch.linalg.vector_norm(vectors, dim=1)
        return selector.select(Candidates(*batch.pair_index, distances, vectors, numbers=batch.numbers), cutoffs)

    def _site_energies_of(self, kept: Kept, batch: Batch, vectors, cutoffs) -> torch.Tensor:
        """Site energies [n_atoms] (eV) of the candidates ``batch`` that are ``kept``."""
        pair_index = batch.pair_index.index_select(1, kept.index)
        own = cutoffs if kept.cutoffs is None else kept.cutoffs
        vectors = vectors.index_select(0, kept.index)
        return self._evaluate(batch.numbers, pair_index, vectors, own, kept.pair_cutoffs, kept.weights)[0]

    def _energies_and_gradient(self, batch: Batch, vectors, cutoffs, *, wanted: bool, training: bool, kept=None):
        """Site energies, and dE/dr_ij [n_pairs, 3] if ``wanted``; both differentiable in ``training``."""
        if kept is not None:
            energies = self._site_energies_of(kept, batch, vectors, cutoffs)
            return energies, self._gradient(energies, vectors, training) if wanted else None
        inputs = (batch.numbers, batch.pair_index, vectors, cutoffs)
        if wanted and self._compiled is not None and self._compiled.covers(batch.numbers, batch.pair_index):
            with torch.set_grad_enabled(training):
                return self._compiled(*inputs)
        if wanted and not vectors.requires_grad:
            vectors.requires_grad_(True)
        energies = self.site_energies(*inputs)
        if not wanted:
            return energies, None
        return energies, self._gradient(energies, vectors, training)

    @staticmethod
    def _gradient(energies, vectors, training: bool) -> torch.Tensor:
        return torch.autograd.grad(energies.sum(), vectors, create_graph=training, materialize_grads=True)[0]

    def load_backbone(self, state: dict[str, torch.Tensor]) -> None:
        """Load pre-trained weights of the backbone; radial and cutoff embedding keep their initial weights.

        Raises `ValueError` naming the parameters if ``state`` does not fit.
        """
        own = self.state_dict()
        new = ("radial_embedding.", "cutoff_embedding.")
        taken = {name: value for name, value in state.items() if not name.startswith("radial_embedding.")}
        taken.pop("r_max", None)  # keep the range of this model
        missing = [name for name in own if not name.startswith(new) and name != "r_max" and name not in taken]
        wrong = [name for name, value in taken.items() if name not in own or own[name].shape != value.shape]
        if missing or wrong:
            raise ValueError(f"pre-trained weights do not fit: missing {missing}, unknown or other shape {wrong}")
        self.load_state_dict(taken, strict=False)


def pair_vectors(batch: Batch) -> torch.Tensor:
    """Vectors [n_pairs, 3] (A) from i to j; differentiable with respect to the positions."""
    i, j = batch.pair_index
    if batch.n_structures == 1:
        shifts = batch.pair_shifts @ batch.cells[0]
    else:
        shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, batch.cells.index_select(0, batch.pair_structure))
    return batch.positions.index_select(0, j) - batch.positions.index_select(0, i) + shifts


def evaluated_pairs(batch: Batch, results: dict[str, torch.Tensor]) -> torch.Tensor:
    """Structures [n_pairs] of the pairs that the network evaluated for ``results``: all of the batch, or kept_pairs."""
    structure = batch.pair_structure
    return structure if "kept_pairs" not in results else structure.index_select(0, results["kept_pairs"])


def structure_sums(batch: Batch, node_energy: torch.Tensor) -> torch.Tensor:
    """Energies [n_structures] (eV) from site energies [n_atoms]."""
    return node_energy.new_zeros(batch.n_structures).index_add(0, batch.structure, node_energy)


def stresses(batch: Batch, vectors: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Symmetric stress [n_structures, 3, 3] (eV/A^3): sum r_ij (x) g / V over ``vectors`` and g [n_pairs, 3] (eV/A).

    Raises `ValueError` for a structure without a cell volume; where some structures of the data have a stress as a
    label, the stress of such a structure is NaN instead, and is of no influence on gradients where it is masked.
    """
    if batch.n_structures == 1:
        virial = (vectors.T @ gradient)[None]
    else:
        outer = vectors[:, :, None] * gradient[:, None, :]
        virial = torch.zeros_like(batch.cells).index_add(0, batch.pair_structure, outer)
    volume = torch.linalg.det(batch.cells).abs()[:, None, None]
    if batch.stress_mask is not None:
        flat = volume == 0
        stress = 0.5 * (virial + virial.transpose(1, 2)) / torch.where(flat, torch.ones_like(volume), volume)
        return stress.masked_fill(flat, torch.nan)
    if (volume == 0).any():
        raise ValueError("stress requested for a structure without a cell volume")
    return 0.5 * (virial + virial.transpose(1, 2)) / volume


#: Possible evaluation paths; ``auto`` is the first one of a model.
BACKENDS = ("auto", "fast", "reference", "compiled")


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
