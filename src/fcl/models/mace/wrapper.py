"""mace-torch's ScaleShiftMACE as a `Potential`: for other settings than the paper's, and as a reference for `MACE`."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace

import e3nn
import torch

from fcl.cutoffs.edges import RepulsionSelector
from fcl.models.conditioning import Conditioning, FixedBessel, FlexibleRadialEmbedding, conditioning, taper
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


def directed_site_energies(
    mace, element: torch.Tensor, pair_index, vectors, features, nodes, head: int = 0, distances=None, envelope=None
):
    """Evaluate the blocks of ``mace`` (a ScaleShiftMACE) on directed edges, i -> j with r_ij and j -> i with -r_ij.

    Returns site energies [n_atoms] (eV) without isolated-atom energies, and the inputs of the last layers. ``element``
    [n_atoms] is the index among the elements of ``mace``; ``distances`` [n_pairs, 1] (A) are those of a pair repulsion;
    ``envelope`` [n_pairs, 1] multiplies the messages where it is not in the features; other shapes as in
    `Potential.propagate`.
    """
    edge_index = torch.cat([pair_index, pair_index.flip(0)], dim=1)
    edge_attrs = mace.spherical_harmonics(torch.cat([vectors, -vectors]))
    edge_feats = torch.cat([features, features])
    cutoff = None if envelope is None else torch.cat([envelope, envelope])
    node_attrs = torch.nn.functional.one_hot(element, len(mace.atomic_numbers)).to(vectors.dtype)
    heads = torch.full_like(element, head)
    energies = torch.zeros(len(element), dtype=vectors.dtype, device=vectors.device)
    if hasattr(mace, "pair_repulsion_fn"):
        energies = mace.pair_repulsion_fn(
            torch.cat([distances, distances]), node_attrs, edge_index, mace.atomic_numbers
        )
    read = []
    silent = len(mace.products) - len(mace.readouts)  # only the last layers are read
    for layer, (interaction, product) in enumerate(zip(mace.interactions, mace.products, strict=True)):
        nodes, skip = interaction(
            node_attrs=node_attrs,
            node_feats=nodes,
            edge_attrs=edge_attrs,
            edge_feats=edge_feats,
            edge_index=edge_index,
            cutoff=cutoff,
            first_layer=layer == 0,
        )
        nodes = product(node_feats=nodes, sc=skip, node_attrs=node_attrs)
        if layer >= silent:
            readout = mace.readouts[layer - silent]
            energies = energies + readout(nodes, heads).gather(1, heads[:, None]).squeeze(-1)
            read.append(_read_by(readout, nodes, heads))
    return mace.scale_shift(energies, heads), tuple(read)


def _read_by(readout, nodes: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
    """Input of the last linear layer of ``readout``: [n_atoms, width]."""
    for name in ("linear_1", "linear_mid"):
        if hasattr(readout, name):
            nodes = readout.non_linearity(getattr(readout, name)(nodes))
            nodes = mask_head(nodes, heads, readout.num_heads) if readout.num_heads > 1 else nodes
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


class FlexibleRadialBlock(FlexibleRadialEmbedding):
    """Eq. 14 with the functions of distance of a model of mace-torch: u([b(t(r)), m]) s(r, m).

    ``block`` is mace-torch's RadialEmbeddingBlock with the range ``reach`` (A): its functions b, of any type, and their
    transform t of the distance, which depends on the elements of the pair. Without ``apply_cutoff`` the envelope s
    multiplies the messages, and is returned as the last column.
    """

    def __init__(self, block, settings, reach: float):
        super().__init__(reach, settings.num_bessel, settings.polynomial_order, settings.radial_embedding_hidden)
        self.bessel = block.bessel_fn
        self.distance_transform = getattr(block, "distance_transform", None)
        self.apply_cutoff = block.apply_cutoff

    def forward(self, distances: torch.Tensor, pair_cutoffs: torch.Tensor, *pair) -> torch.Tensor:
        """``pair``: elements [n_atoms, n_elements] (one-hot), pair_index [2, n] and atomic numbers [n_elements]."""
        transformed = distances if self.distance_transform is None else self.distance_transform(distances, *pair)
        features = self.network(torch.cat([self.bessel(transformed), pair_cutoffs], dim=-1))
        envelope = taper(distances, pair_cutoffs, self.polynomial_order)
        return features * envelope if self.apply_cutoff else torch.cat([features, envelope], dim=1)


class MACETorch(Potential):
    """Any ScaleShiftMACE of mace-torch on a `Batch` of undirected pairs; the names of its blocks are kept.

    ``parts`` make it flexible; None keeps the radial embedding of ``mace``, i.e. a static model. ``r_max`` (A) is that
    of ``mace`` in full precision. Without ``settings`` the model can be evaluated but not saved. Energies exclude
    isolated-atom energies (``energy_offsets``). ``head`` is the name of a head of ``mace``, None: that of the settings,
    or the first. A pair repulsion keeps pairs of its own in a flexible model (`RepulsionSelector`). Raises `ValueError`
    for an unknown head, and for embeddings of other inputs.
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
        if hasattr(mace, "joint_embedding"):
            raise ValueError("a MACE model with embeddings of other inputs cannot be wrapped")
        r_max = float(mace.r_max) if r_max is None else r_max
        if parts is None:
            parts = Conditioning(
                mace.radial_embedding, None, float(getattr(mace.radial_embedding.bessel_fn, "r_max", r_max))
            )
        mixing = "arithmetic" if settings is None else settings.mixing_rule
        super().__init__(settings, r_max, mace.atomic_numbers.tolist(), parts, mixing)
        heads = list(mace.heads)
        head = getattr(settings, "head", None) if head is None else head
        if head is not None and head not in heads:
            raise ValueError(f"head {head!r} is unknown; the model has {', '.join(heads)}")
        self.head = heads[0] if head is None else head
        self._head = heads.index(self.head)
        self.avg_num_neighbors = float(mace.interactions[0].avg_num_neighbors)
        self.apply_cutoff = mace.apply_cutoff
        transform = hasattr(mace.radial_embedding, "distance_transform")
        self._needs_elements = transform or not mace.apply_cutoff
        if self.flexible and hasattr(mace, "pair_repulsion_fn"):
            self.selector = RepulsionSelector(mixing, mace.pair_repulsion_fn.covalent_radii, self.elements)
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
        if self._needs_elements:
            raise ValueError("the functions of distance of this model depend on the elements: see pair_features")
        if self.flexible:
            return super().edge_features(distances, pair_cutoffs)
        return self.radial_embedding(distances, None, None, None)[0]

    def pair_features(self, numbers, pair_index, distances, pair_cutoffs) -> torch.Tensor:
        """`edge_features`; where the envelope multiplies the messages instead, it is a column more, the last."""
        if not self._needs_elements:
            return self.edge_features(distances, pair_cutoffs)
        element = self._element.index_select(0, numbers)
        one_hot = torch.nn.functional.one_hot(element, len(self.elements)).to(distances.dtype)
        pair = one_hot, pair_index, self.atomic_numbers
        if self.flexible:
            return self.radial_embedding(distances, pair_cutoffs, *pair)
        features, envelope = self.radial_embedding(distances, *pair)
        return features if envelope is None else torch.cat([features, envelope], dim=1)

    def propagate(self, numbers, pair_index, vectors, distances, features, nodes):
        element = self._element.index_select(0, numbers)
        envelope = None
        if not self.apply_cutoff:
            features, envelope = features[:, :-1], features[:, -1:]
        return directed_site_energies(
            self, element, pair_index, vectors, features, nodes, self._head, distances, envelope
        )

    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        weights, bias = [], 0.0
        for readout in self.readouts:
            linear = readout.linear_2 if hasattr(readout, "linear_2") else readout.linear
            units = torch.eye(linear.irreps_in.dim, dtype=linear.weight.dtype, device=linear.weight.device)
            constant = linear(0.0 * units[:1])[:, self._head]
            weights.append(linear(units)[:, self._head] - constant)
            bias = bias + constant.squeeze(0)
        scale, shift = (
            torch.atleast_1d(value)[self._head] for value in (self.scale_shift.scale, self.scale_shift.shift)
        )
        return scale * torch.cat(weights), shift + scale * bias


def build(
    kind: str, settings, r_max: float, avg_num_neighbors: float | None = None, backend: str = "auto"
) -> MACETorch:
    """A `MACETorch` of ``kind`` "static" or "fcl" with any settings; arguments: see `fcl.models.mace.model.build`."""
    neighbors = settings.fcl_avg_num_neighbors if avg_num_neighbors is None else avg_num_neighbors
    own_functions = getattr(settings, "elements", None) is not None  # converted: those of the checkpoint, not ours
    reach = settings.bessel_range if own_functions and settings.bessel_range is not None else r_max
    with scripted(backend == "reference"):
        mace = ScaleShiftMACE(**backbone_arguments(settings, reach, neighbors))
    mace.r_max.fill_(r_max)
    parts = None
    if kind == "static" and settings.bessel_range is not None and not own_functions:
        mace.radial_embedding.bessel_fn = FixedBessel(settings.bessel_range, settings.num_bessel)
    if kind != "static":
        parts = conditioning(kind, settings, r_max, mace.node_embedding.linear.irreps_out.dim)
        if own_functions:
            parts = replace(parts, radial_embedding=FlexibleRadialBlock(mace.radial_embedding, settings, reach))
    model = MACETorch(mace, settings, r_max, parts)
    model.backend = backend
    return model
