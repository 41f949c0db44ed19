"""The paper's MACE in plain PyTorch, with mace-torch's parameters and names."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fcl.models.conditioning import Conditioning, conditioning
from fcl.models.interface import Potential
from fcl.models.mace import blocks
from fcl.models.mace.fast import fast_site_energies


def channels_of(settings) -> int | None:
    """n if `MACE` supports ``settings`` (a `fcl.config.architectures.ModelSettings`), else None.

    Supported: two layers, max_ell 1, correlation 1, hidden features n x 0e + n x 1o, and readouts with scalars.
    """
    hidden = [part.strip().split("x") for part in settings.hidden_irreps.split("+")]
    covered = (
        settings.num_interactions == 2
        and settings.max_ell == 1
        and settings.correlation == 1
        and [irrep for _, irrep in hidden] == ["0e", "1o"]
        and hidden[0][0] == hidden[1][0]
        and all(part.strip().endswith("x0e") for part in settings.mlp_irreps.split("+"))
    )
    return int(hidden[0][0]) if covered else None


class MACE(Potential):
    """mace-torch's ScaleShiftMACE for the paper's settings, evaluated on undirected pairs.

    Parameters, buffers and their names are those of mace-torch, so that state dicts can be exchanged. ``backend``:
    ``fast`` evaluates the blocks on undirected pairs, ``compiled`` does the same in a compiled program
    (`fcl.models.compile`; takes a minute to compile, for long runs), ``reference`` evaluates mace-torch's blocks on
    directed edges with the parameters of this model.

    Fixed by the paper, not configurable: SiLU gate, no pair repulsion, scale 1 and shift 0, isolated-atom energies 0
    (removed from the labels). ``r_max`` in A; raises `ValueError` for settings not supported (`channels_of`).
    """

    architecture = "mace"
    backends = ("fast", "reference", "compiled")
    max_ell, gate = 1, "SiLU"
    apply_cutoff = True

    def __init__(self, settings, r_max: float, avg_num_neighbors: float, parts: Conditioning):
        n_elements, channels = settings.num_elements, channels_of(settings)
        if channels is None:
            raise ValueError("max_ell = 1, correlation 1, two layers of scalars and vectors only")
        super().__init__(settings, r_max, range(1, n_elements + 1), parts, settings.mixing_rule)
        self.avg_num_neighbors = float(avg_num_neighbors)
        self.register_buffer("atomic_numbers", torch.arange(1, n_elements + 1))
        self.register_buffer("r_max", torch.tensor(float(r_max)))
        self.register_buffer("num_interactions", torch.tensor(2))
        widths = [settings.num_bessel, *settings.radial_mlp]
        layer = channels, n_elements, widths, avg_num_neighbors
        self.node_embedding = blocks.LinearNodeEmbeddingBlock(n_elements, channels)
        self.atomic_energies_fn = blocks.Buffers(atomic_energies=torch.zeros(n_elements))
        self.interactions = torch.nn.ModuleList(
            [blocks.RealAgnosticInteractionBlock(*layer), blocks.RealAgnosticResidualInteractionBlock(*layer)]
        )
        self.products = torch.nn.ModuleList(
            blocks.EquivariantProductBasisBlock(channels, n_elements, degrees) for degrees in ((0, 1), (0,))
        )
        width = sum(int(part.split("x")[0]) for part in settings.mlp_irreps.split("+"))
        self.readouts = torch.nn.ModuleList(
            [blocks.LinearReadoutBlock(channels), blocks.NonLinearReadoutBlock(channels, width)]
        )
        self.scale_shift = blocks.Buffers(scale=torch.tensor(1.0), shift=torch.tensor(0.0))
        self._reference = None

    @property
    def energy_offsets(self) -> torch.Tensor:
        return self.atomic_energies_fn.atomic_energies

    def element_features(self, numbers: torch.Tensor) -> torch.Tensor:
        """h_i^(0): [n_atoms, channels], the row of the linear embedding for Z_i."""
        weight = self.node_embedding.linear.matrix(0)
        return weight.index_select(0, numbers - 1)

    def propagate(self, numbers, pair_index, vectors, distances, features, nodes):
        if self._backend != "reference":
            return fast_site_energies(self, numbers, pair_index, vectors, distances, features, nodes)
        return self._oracle()(self, numbers, pair_index, vectors, features, nodes)

    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = self.readouts
        weights = torch.cat([first.linear.matrix(0), second.linear_2.matrix(0)])[:, 0]
        return self.scale_shift.scale * weights, self.scale_shift.shift

    def freeze(self, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        from fcl.models.mace.frozen import FrozenMACE

        return FrozenMACE(self, elements, cutoffs, dtype)

    def tabulate(self, elements: Sequence[int], cutoffs: Sequence[float], dtype: torch.dtype = torch.float64):
        from fcl.models.mace.tabulated import tabulate

        return tabulate(self.freeze(elements, cutoffs), dtype)

    def _oracle(self):
        """mace-torch's blocks with the parameters of this model, built on first use."""
        if self._reference is None:
            from fcl.models.mace.wrapper import BorrowedBlocks

            self._reference = BorrowedBlocks(self.settings, self.cutoff_limit, self.avg_num_neighbors)
        return self._reference


def build(
    kind: str, settings, r_max: float, avg_num_neighbors: float | None = None, backend: str = "auto"
) -> Potential:
    """A `MACE` of ``kind`` "static" or "fcl", or a wrapped mace-torch model if `MACE` does not support the settings.

    ``r_max`` (A) is the cutoff of a static model or the largest cutoff of a flexible model (7.0 in the paper).
    ``avg_num_neighbors`` None: ``settings.fcl_avg_num_neighbors``, 50 "throughout all experiments" for flexible models
    (Appendix A, below Table 3). Weights are drawn from torch's global generator.
    """
    channels = channels_of(settings)
    if channels is None:
        from fcl.models.mace.wrapper import build as build_wrapped

        return build_wrapped(kind, settings, r_max, avg_num_neighbors, backend)
    neighbors = settings.fcl_avg_num_neighbors if avg_num_neighbors is None else avg_num_neighbors
    model = MACE(settings, r_max, neighbors, conditioning(kind, settings, r_max, channels))
    model.backend = backend
    return model
