"""A MACE at fixed cutoffs with tabulated radial functions: eager and scriptable, on any device.

The chain of linear blocks behind each sum of messages (`fcl.models.mace.frozen`) goes on through the next layer up to
what is needed there: of the messages of layer 1, what the atom sends in layer 2, its energy, and its share of the
hidden layer of the last readout. What is left per pair is a look-up and products with what the sender sends.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fcl.cutoffs.edges import indices_within
from fcl.models.mace.frozen import FrozenMACE
from fcl.models.mace.tables import Radial, RadialTables, hermite_tables, knots_for
from fcl.runs.files import atomic_path, cache_folder

#: Largest size (bytes, in float64) of the tables of a model; beyond it, networks are evaluated. And of a file of them.
LARGEST_TABLES = 2**28
LARGEST_FILE = 2**26
#: Allowed errors of the tables in random environments: eV per atom, eV/A.
ENERGY_TOLERANCE, FORCE_TOLERANCE = 1e-6, 1e-5
#: Allowed errors of the slopes of radial functions (1/A), tried in turn, and the distance (A) from which they count.
SLOPE_TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SHORTEST = 0.6
#: Knots that any table has.
FEWEST = 17
#: Atoms of an environment, and the number of environments.
ATOMS, FEWEST_CLUSTERS, CLUSTERS = 12, 24, 120
#: To be changed when tables are made differently.
FORMAT = 1


class TabulatedMACE(torch.nn.Module):
    """Site energies of a `FrozenMACE` (float64, on the CPU) from ``tables`` of its radial functions, in ``dtype``.

    ``tables`` [classes, n, 3, 4 channels] by `radial_tables` at ``knots`` [n]. Attributes as those of `FrozenMACE`, and
    ``classes``, the number of distinct pair cutoffs.
    """

    def __init__(
        self, frozen: FrozenMACE, knots: torch.Tensor, tables: torch.Tensor, dtype: torch.dtype = torch.float64
    ):
        super().__init__()
        self.elements = frozen.elements
        self.largest_cutoff, self.interaction_range = frozen.largest_cutoff, frozen.interaction_range
        pair_cutoffs, pair_class = classes(frozen)
        self.classes = len(pair_cutoffs)
        width = tables.shape[3] // 2
        self.first = RadialTables(tables[..., :width], pair_cutoffs, knots)
        self.second = RadialTables(tables[..., width:], pair_cutoffs, knots)
        up, skip = frozen.up, frozen.last_map[:, width:]
        hidden = frozen.readout_hidden
        with torch.no_grad():
            buffers = {
                "cutoffs": frozen.cutoffs,
                "pair_cutoffs": pair_cutoffs,
                "sent": frozen.sent,
                "up": frozen.scalar_map @ up,
                "up_vectors": frozen.vector_map @ frozen.up_vectors,
                "linear": (frozen.scalar_map @ frozen.readout)[:, :, 0] * frozen.scale,
                "hidden_1": frozen.scalar_map @ skip @ hidden,
                "hidden_2": frozen.last_map[:, :width] @ hidden,
                "last": frozen.readout_last[:, 0] * frozen.scale,
                "shift": frozen.shift,
            }
        for name, value in {"row": frozen.row, "pair_class": pair_class, **buffers}.items():
            self.register_buffer(name, value.detach().clone().contiguous())
        self.to(dtype).eval().requires_grad_(False)

    def forward(self, numbers: torch.Tensor, pair_index: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Energy of each atom [n_atoms] (eV); arguments as for `FrozenMACE`, pairs beyond their cutoff among them."""
        rows = self.row.index_select(0, numbers)
        i, j = pair_index[0], pair_index[1]
        pair_class = self.pair_class[rows.index_select(0, i), rows.index_select(0, j)]
        m = self.pair_cutoffs.index_select(0, pair_class)
        kept = indices_within(torch.linalg.vector_norm(vectors.detach(), dim=1), m)
        return self.energies_of(rows, pair_index.index_select(1, kept), vectors.index_select(0, kept))

    def energies_of(self, rows: torch.Tensor, pair_index: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """`forward` for pairs that are all within their cutoffs; rows [n_atoms] int64, of the elements."""
        i, j = pair_index[0], pair_index[1]
        pair_class = self.pair_class[rows.index_select(0, i), rows.index_select(0, j)]
        distances = torch.linalg.vector_norm(vectors, dim=1)
        directions = (vectors / distances[:, None])[:, :, None]

        channels = self.sent.shape[1]
        sent = self.sent.index_select(0, rows)
        sent_i, sent_j = sent.index_select(0, i), sent.index_select(0, j)
        weights = self.first(distances, pair_class)
        to_scalar, to_vector = weights[:, :channels], weights[:, channels:]
        zero = torch.zeros(rows.shape[0], channels, dtype=vectors.dtype, device=vectors.device)
        message = zero.index_add(0, j, to_scalar * sent_i).index_add(0, i, to_scalar * sent_j)
        zero = torch.zeros(rows.shape[0], 3, channels, dtype=vectors.dtype, device=vectors.device)
        arrows = zero.index_add(0, j, (to_vector * sent_i)[:, None] * directions)
        arrows = arrows.index_add(0, i, (to_vector * sent_j)[:, None] * -directions)

        up = torch.bmm(message[:, None], self.up.index_select(0, rows))[:, 0]
        up_vectors = torch.bmm(arrows, self.up_vectors.index_select(0, rows))
        energies = (message * self.linear.index_select(0, rows)).sum(1)
        hidden = torch.bmm(message[:, None], self.hidden_1.index_select(0, rows))

        along_i = (up_vectors.index_select(0, i) * directions).sum(1)
        along_j = (up_vectors.index_select(0, j) * directions).sum(1)
        weights = self.second(distances, pair_class)
        to_j = weights * torch.cat([up.index_select(0, i), along_i], dim=1)
        to_i = weights * torch.cat([up.index_select(0, j), -along_j], dim=1)
        zero = torch.zeros(rows.shape[0], 2 * channels, dtype=vectors.dtype, device=vectors.device)
        message = zero.index_add(0, j, to_j).index_add(0, i, to_i)
        hidden = hidden + torch.bmm(message[:, None], self.hidden_2.index_select(0, rows))
        return energies + torch.nn.functional.silu(hidden[:, 0]) @ self.last + self.shift


def classes(frozen: FrozenMACE) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct m_ij [n] (A, ascending), and the class [n_elements, n_elements] int64 of each pair of elements."""
    a = frozen.cutoffs.double()
    m = frozen.mixing(a[:, None].expand(-1, len(a)), a[None].expand(len(a), -1))
    return torch.unique(m, return_inverse=True)


def tabulate(frozen: FrozenMACE, dtype: torch.dtype = torch.float64) -> TabulatedMACE:
    """Tables of ``frozen`` (float64, on the CPU) with as many knots as its accuracy needs, in ``dtype``.

    Knots are added until energies and forces agree with the networks to `ENERGY_TOLERANCE` and `FORCE_TOLERANCE` in
    float64, in `environments` of pairs of elements. Tables are kept in the user's cache folder. Raises `ValueError` for
    tables that would be larger than `LARGEST_TABLES`, or are not accurate enough.
    """
    pair_cutoffs, _ = classes(frozen)
    file = cache_folder() / "tables" / f"{_digest(frozen, pair_cutoffs)}.safetensors"
    if (kept := _read(file)) is not None:
        return TabulatedMACE(frozen, kept["knots"], kept["tables"], dtype)
    _check_size(frozen, len(pair_cutoffs), FEWEST)
    tried = environments(frozen.elements)
    expected = _energies_and_forces(frozen, *tried)
    function = radial(frozen)
    for tolerance in SLOPE_TOLERANCES:
        knots = knots_for(function, pair_cutoffs, tolerance, SHORTEST)
        _check_size(frozen, len(pair_cutoffs), len(knots))
        tables = hermite_tables(function, pair_cutoffs, knots)
        found = _energies_and_forces(TabulatedMACE(frozen, knots, tables), *tried)
        energy, force = ((new - old).abs().max() for new, old in zip(found, expected, strict=True))
        if energy <= ENERGY_TOLERANCE and force <= FORCE_TOLERANCE:
            _write(file, {"knots": knots, "tables": tables})
            return TabulatedMACE(frozen, knots, tables, dtype)
    raise ValueError(f"tables differ from the networks by {energy:.1e} eV per atom and {force:.1e} eV/A")


def _check_size(frozen: FrozenMACE, n_classes: int, knots: int) -> None:
    size = n_classes * knots * 3 * 4 * frozen.sent.shape[1] * 8
    if size > LARGEST_TABLES:
        raise ValueError(f"tables of {n_classes} pair cutoffs would have {size / 1e6:.0f} MB")


def environments(elements: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clusters of `ATOMS` atoms at random distances from 0.6 A on, for every pair of ``elements``, at most `CLUSTERS`.

    Returns numbers [n], positions [n, 3] A, pair_index [2, n_pairs] of all pairs within each cluster, and cluster [n].
    """
    random = torch.Generator().manual_seed(24)
    chosen = torch.combinations(torch.tensor(elements), with_replacement=True)
    chosen = chosen[torch.randperm(len(chosen), generator=random)[:CLUSTERS]]
    chosen = chosen.repeat(-(-FEWEST_CLUSTERS // len(chosen)), 1)
    n = len(chosen)
    kind = torch.randint(2, (n, ATOMS), generator=random)
    kind[:, :2] = torch.tensor([0, 1])
    numbers = chosen.gather(1, kind)
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(2)).double()
    spacing = 1.0 + 1.6 * torch.rand(n, 1, 1, generator=random, dtype=torch.float64)
    positions = spacing * (grid + 0.4 * torch.rand(n, ATOMS, 3, generator=random, dtype=torch.float64))
    first, second = torch.combinations(torch.arange(ATOMS)).T
    start = ATOMS * torch.arange(n)[:, None]
    pair_index = torch.stack([(start + first).flatten(), (start + second).flatten()])
    return numbers.flatten(), positions.view(-1, 3), pair_index, torch.arange(n).repeat_interleave(ATOMS)


def _energies_and_forces(model, numbers, positions, pair_index, cluster) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy per atom (eV) of each cluster, and forces [n, 3] (eV/A)."""
    positions = positions.clone().requires_grad_(True)
    i, j = pair_index
    with torch.enable_grad():
        energies = model(numbers, pair_index, positions.index_select(0, j) - positions.index_select(0, i))
        (gradient,) = torch.autograd.grad(energies.sum(), positions)
    total = energies.new_zeros(int(cluster[-1]) + 1).index_add(0, cluster, energies.detach())
    return total / ATOMS, -gradient


def _digest(frozen: FrozenMACE, pair_cutoffs: torch.Tensor) -> str:
    """Hash of what determines the tables: weights and cutoffs of ``frozen``, and how tables are made."""
    digest = hashlib.sha256(repr((FORMAT, frozen.elements, frozen.polynomial_order, frozen.flexible)).encode())
    for name, value in sorted({**frozen.state_dict(), "pair_cutoffs": pair_cutoffs}.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _read(file: Path) -> dict[str, torch.Tensor] | None:
    try:
        kept = load_file(file)
        return kept if {"knots", "tables"} <= kept.keys() else None
    except (OSError, SafetensorError):  # not there, or not whole: they are made again
        return None


def _write(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    if tensors["tables"].nbytes <= LARGEST_FILE:
        # a folder that cannot be written, or is full
        with contextlib.suppress(OSError, SafetensorError), atomic_path(file) as temporary:
            save_file(tensors, temporary)


class _SiLU(torch.nn.Module):
    """SiLU by operations whose forward derivatives can be taken twice, unlike those of torch's own."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * torch.sigmoid(values)


def radial(frozen: FrozenMACE) -> Radial:
    """The radial functions of both layers: distances and pair cutoffs [n, 1] A -> [n, 4 channels]."""
    frozen = copy.deepcopy(frozen)
    for module in list(frozen.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU):
                setattr(module, name, _SiLU())

    def function(r: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        features = frozen.edge_features(r, m)
        return torch.cat([frozen.first(features), frozen.second(features)], dim=1)

    return function
