"""mace-torch's ScaleShiftMACE as a `Potential`: for other settings than the paper's, and as a reference for `MACE`."""

from __future__ import annotations

import contextlib
import warnings

import e3nn
import torch

from fcl.models.conditioning import Conditioning, FixedBessel, conditioning
from fcl.models.interface import Potential
from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments, mask_head


@contextlib.contextmanager
def scripted(wanted: bool):
    """Within the context, build e3nn's blocks with or without TorchScript; results are bitwise identical.

    TorchScript takes two thirds of the build time.
    """
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=wanted)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The TorchScript type system")  # raised for each block
            yield
    finally:
        e3nn.set_optimization_defaults(**before)


def directed_site_energies(mace, element: torch.Tensor, pair_index, vectors, features, nodes, head: int = 0):
    """Evaluate the blocks of ``mace`` (a ScaleShiftMACE) on directed edges, i -> j with r_ij and j -> i with -r_ij.

    Returns site energies [n_atoms] (eV) without isolated-atom energies, and the inputs of the last layers. ``element``
    [n_atoms] is the index among the elements of ``mace``; other shapes as in `Potential.propagate`.
    """
    edge_index = torch.cat([pair_index, pair_index.flip(0)], dim=1)
    edge_attrs = mace.spherical_harmonics(torch.cat([vectors, -vectors]))
    edge_feats = torch.cat([features, features])
    node_attrs = torch.nn.functional.one_hot(element, len(mace.atomic_numbers)).to(vectors.dtype)
    heads = torch.full_like(element, head)
    energies = torch.zeros(len(element), dtype=vectors.dtype, device=vectors.device)
    read = []
    for layer, (interaction, product, readout) in enumerate(
        zip(mace.interactions, mace.products, mace.readouts, strict=True)
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
        energies = energies + readout(nodes, heads).gather(1, heads[:, None]).squeeze(-1)
        read.append(_read_by(readout, nodes, heads))
    return mace.scale_shift(energies, heads), tuple(read)


def _read_by(readout, nodes: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
    """Input of the last linear layer of ``readout``: [n_atoms, width]."""
    if hasattr(readout, "linear_2"):
        nodes = readout.non_linearity(readout.linear_1(nodes))
        return mask_head(nodes, heads, readout.num_heads) if readout.num_heads > 1 else nodes
    return nodes


class _Directed(torch.nn.Module):
    """`directed_site_energies` of ``mace`` as the forward of a module, for `torch.func.functional_call`."""

    def __init__(self, mace):
        super().__init__()
        self.mace = mace

    def forward(self, *inputs):
        return directed_site_energies(self.mace, *inputs)


class BorrowedBlocks:
    """mace-torch's blocks, evaluated with the parameters and buffers of another model with the same names.

    ``settings``, ``r_max`` (A) and ``avg_num_neighbors`` are those of that model. The random state is not changed.
    """

    def __init__(self, settings, r_max: float, avg_num_neighbors: float):
        with torch.random.fork_rng(devices=[]), scripted(True):
            self._module = _Directed(ScaleShiftMACE(**backbone_arguments(settings, r_max, avg_num_neighbors)))
        names = self._module.mace.state_dict()
        self._names = [name for name in names if not name.startswith("radial_embedding.")]

    def __call__(self, model, numbers, pair_index, vectors, features, nodes):
        """`Potential.propagate` of ``model``, a `fcl.models.mace.model.MACE`."""
        state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        borrowed = {f"mace.{name}": state[name] for name in self._names}
        return torch.func.functional_call(self._module, borrowed, (numbers - 1, pair_index, vectors, features, nodes))


class MACETorch(Potential):
    """Any ScaleShiftMACE of mace-torch on a `Batch` of undirected pairs; the names of its blocks are kept.

    ``parts`` make it flexible; None keeps the radial embedding of ``mace``, i.e. a static model. ``r_max`` (A) is that
    of ``mace`` in full precision. Without ``settings`` the model can be evaluated but not saved. Energies exclude
    isolated-atom energies (``energy_offsets``). ``head`` is the name of a head of ``mace``, None: the first. Raises
    `ValueError` for an unknown head and for unsupported features: pair repulsion, transformed distances, a cutoff
    outside the radial embedding, embeddings of other inputs.
    """

    architecture = "mace-torch"

    def __init__(
        self,
        mace,
        settings=None,
        r_max: float | None = None,
        parts: Conditioning | None = None,
        head: str | None = None,
    ):
        refused = {
            "pair repulsion": hasattr(mace, "pair_repulsion_fn"),
            "transformed distances": hasattr(mace.radial_embedding, "distance_transform"),
            "a cutoff outside the radial embedding": not mace.apply_cutoff,
            "embeddings of other inputs": hasattr(mace, "joint_embedding"),
        }
        if any(refused.values()):
            raise ValueError(f"a MACE model with {', '.join(k for k, v in refused.items() if v)} cannot be wrapped")
        r_max = float(mace.r_max) if r_max is None else r_max
        if parts is None:
            parts = Conditioning(mace.radial_embedding, None, float(mace.radial_embedding.bessel_fn.r_max))
        mixing = "arithmetic" if settings is None else settings.mixing_rule
        super().__init__(settings, r_max, mace.atomic_numbers.tolist(), parts, mixing)
        heads = list(mace.heads)
        if head is not None and head not in heads:
            raise ValueError(f"head {head!r} is unknown; the model has {', '.join(heads)}")
        self.head = heads[0] if head is None else head
        self._head = heads.index(self.head)
        self.avg_num_neighbors = float(mace.interactions[0].avg_num_neighbors)
        self.apply_cutoff = mace.apply_cutoff
        for name, buffer in mace.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, block in mace.named_children():
            if name != "radial_embedding":
                self.add_module(name, block)
        index = torch.full((max(self.elements) + 1,), -1)
        index[mace.atomic_numbers.cpu()] = torch.arange(len(self.elements))
        self.register_buffer("_element", index, persistent=False)

    @property
    def max_ell(self) -> int:
        return self.spherical_harmonics.irreps_out.lmax

    @property
    def gate(self) -> str:
        """Name of the activation function, without e3nn's normalisation; SiLU in the paper."""
        functions = (getattr(act, "f", act) for act in self.readouts[-1].non_linearity.acts)
        names = {getattr(function, "__name__", type(function).__name__) for function in functions}
        return ", ".join(sorted("SiLU" if name.lower() == "silu" else name for name in names))

    @property
    def energy_offsets(self) -> torch.Tensor:
        energies = self.atomic_energies_fn.atomic_energies
        return energies if energies.dim() == 1 else energies[self._head]

    def element_features(self, numbers: torch.Tensor) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(self._element.index_select(0, numbers), len(self.elements))
        return self.node_embedding(one_hot.to(self.node_embedding.linear.weight.dtype))

    def edge_features(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor | None) -> torch.Tensor:
        if self.flexible:
            return super().edge_features(distances, pair_cutoffs)
        return self.radial_embedding(distances, None, None, None)[0]

    def propagate(self, numbers, pair_index, vectors, distances, features, nodes):
        element = self._element.index_select(0, numbers)
        return directed_site_energies(self, element, pair_index, vectors, features, nodes, self._head)

    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        weights = []
        for readout in self.readouts:
            linear = readout.linear_2 if hasattr(readout, "linear_2") else readout.linear
            units = torch.eye(linear.irreps_in.dim, dtype=linear.weight.dtype, device=linear.weight.device)
            weights.append(linear(units)[:, self._head])
        scale, shift = (
            torch.atleast_1d(value)[self._head] for value in (self.scale_shift.scale, self.scale_shift.shift)
        )
        return scale * torch.cat(weights), shift


def build(
    kind: str, settings, r_max: float, avg_num_neighbors: float | None = None, backend: str = "auto"
) -> MACETorch:
    """A `MACETorch` of ``kind`` "static" or "fcl" with any settings; arguments: see `fcl.models.mace.model.build`."""
    neighbors = settings.fcl_avg_num_neighbors if avg_num_neighbors is None else avg_num_neighbors
    with scripted(backend == "reference"):
        mace = ScaleShiftMACE(**backbone_arguments(settings, r_max, neighbors))
    parts = None
    if kind == "static" and settings.bessel_range is not None:
        mace.radial_embedding.bessel_fn = FixedBessel(settings.bessel_range, settings.num_bessel)
    if kind != "static":
        parts = conditioning(kind, settings, r_max, mace.node_embedding.linear.irreps_out.dim)
    model = MACETorch(mace, settings, r_max, parts)
    model.backend = backend
    return model
