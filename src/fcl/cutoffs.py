"""Cutoff radii: mixing rules, sampling, assignment, the cost model and measured pairs per atom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from fcl.data.batch import Batch


def arithmetic_mean(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    """m_ij = (a_i + a_j) / 2 (A), the paper's mixing rule (Eq. 4)."""
    return 0.5 * (a_i + a_j)


def geometric_mean(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    """m_ij = sqrt(a_i a_j) (A)."""
    return torch.sqrt(a_i * a_j)


#: m_ij (A) from the cutoffs of two atoms, elementwise.
MixingRule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Mixing rules by name. All are symmetric, so a pair has one cutoff and total force is zero; all lie between the two
#: cutoffs, so lists of neighbours reach far enough with the largest one. For export, TorchScript has to take them.
MIXING_RULES: dict[str, MixingRule] = {
    "arithmetic": arithmetic_mean,
    "geometric": geometric_mean,
}


def mixing_rule(name: str) -> MixingRule:
    """The mixing rule ``name``; `ValueError` for an unknown one, and for a function that is no symmetric mean."""
    if name not in MIXING_RULES:
        raise ValueError(f"mixing rule {name!r} is unknown; known are {', '.join(MIXING_RULES)}")
    rule = MIXING_RULES[name]
    _check_mixing_rule(name, rule)
    return rule


def _check_mixing_rule(name: str, rule: MixingRule) -> None:
    """Try the rule at cutoffs up to 20 A: lists, stores and exported files rely on what `MIXING_RULES` says of it."""
    tried = torch.linspace(0.5, 20.0, 40, dtype=torch.float64, device="cpu")
    a_i, a_j = torch.meshgrid(tried, tried, indexing="ij")
    m, margin = rule(a_i, a_j), 1e-9
    if not torch.allclose(m, m.T, rtol=margin, atol=0.0):
        raise ValueError(f"mixing rule {name!r} is not symmetric: a pair has to have one cutoff")
    low, high = torch.minimum(a_i, a_j), torch.maximum(a_i, a_j)
    if not bool(((m >= low * (1.0 - margin)) & (m <= high * (1.0 + margin))).all()):
        raise ValueError(
            f"mixing rule {name!r} is no mean: m_ij has to lie between the two cutoffs, as lists of neighbours reach "
            "as far as the larger one"
        )


def sample_cutoffs(
    n_atoms: int, r_min: float, r_max: float, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Per-atom cutoffs [n_atoms] (A) from U(r_min, r_max), Algorithm 1 line 10; drawn on the generator's device."""
    uniform = torch.rand(n_atoms, generator=generator, device=generator.device, dtype=dtype)
    return r_min + (r_max - r_min) * uniform


#: What shares a drawn cutoff: ``atoms``, nothing (Algorithm 1); ``structures``, all atoms of a structure.
SAMPLINGS = ("atoms", "structures")


def cutoff_sampler(settings, generator: torch.Generator, dtype: torch.dtype) -> Callable[[Batch], torch.Tensor]:
    """How training draws the cutoffs [n_atoms] (A) of a batch: by ``settings.sampling`` (`SAMPLINGS`) from
    U(``settings.r_min``, ``settings.r_max``). `ValueError` for an unknown sampling."""
    low, high = settings.r_min, settings.r_max
    if settings.sampling == "atoms":
        return lambda batch: sample_cutoffs(batch.n_atoms, low, high, generator, dtype)
    if settings.sampling == "structures":
        return lambda batch: sample_cutoffs(batch.n_structures, low, high, generator, dtype)[batch.structure]
    raise ValueError(f"sampling {settings.sampling!r} is unknown; known are {', '.join(SAMPLINGS)}")


def uniform_cutoffs(numbers: torch.Tensor, cutoff: float, dtype: torch.dtype) -> torch.Tensor:
    """The same cutoff (A) for every atom: [n_atoms]. Raises `ValueError` when it is not positive and finite."""
    if not 0.0 < float(cutoff) < float("inf"):
        raise ValueError(f"cutoff {cutoff} A is not a positive radius in angstroms")
    return torch.full(numbers.shape, float(cutoff), dtype=dtype, device=numbers.device)


def element_table(cutoffs: Mapping[str, float], dtype: torch.dtype = torch.float64, size: int = 119) -> torch.Tensor:
    """Table [size] of cutoffs (A) by atomic number from a dict by chemical symbol; NaN where none is given."""
    from ase.data import atomic_numbers

    table = torch.full((size,), float("nan"), dtype=dtype)
    for symbol, cutoff in cutoffs.items():
        if symbol not in atomic_numbers:
            raise ValueError(f"cutoffs: {symbol!r} is not a chemical symbol")
        if not 0.0 < float(cutoff) < float("inf"):
            raise ValueError(f"cutoffs: {symbol}: {cutoff} is not a positive radius in angstroms")
        table[atomic_numbers[symbol]] = float(cutoff)
    return table


def element_cutoffs(numbers: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Broadcast per-element cutoffs to atoms, Eq. 8: a_i = table[Z_i], [n_atoms]; differentiable in ``table``.

    Raises `ValueError` naming the elements that have no cutoff.
    """
    cutoffs = table.index_select(0, numbers)
    if torch.isnan(cutoffs).any():
        from ase.data import chemical_symbols

        missing = sorted({chemical_symbols[z] for z in numbers[torch.isnan(cutoffs)].tolist()})
        raise ValueError(f"cutoffs: no cutoff is given for {', '.join(missing)}")
    return cutoffs


#: Means of the cost model: ``structures``, over structures of the mean over their atoms (Eq. 10); ``atoms``, over all
#: atoms alike, so that a structure counts in proportion to its size.
COST_MEANS = ("structures", "atoms")


def cost(cutoffs: torch.Tensor, structure: torch.Tensor, n_structures: int, mean: str = "structures") -> torch.Tensor:
    """Cost model Eq. 10 (A^3, scalar): the mean of a^3 in the sense of ``mean`` (`COST_MEANS`).

    cutoffs [n_atoms] A, structure [n_atoms] index of each atom's structure. `ValueError` for an unknown ``mean``.
    """
    if mean not in COST_MEANS:
        raise ValueError(f"mean {mean!r} of the cost is unknown; known are {', '.join(COST_MEANS)}")
    if mean == "atoms":
        return (cutoffs**3).mean()
    total = torch.zeros(n_structures, dtype=cutoffs.dtype, device=cutoffs.device)
    total = total.index_add(0, structure, cutoffs**3)
    return (total / _count(structure, n_structures).to(cutoffs.dtype)).mean()


def pairs_per_atom(pair_structure: torch.Tensor, structure: torch.Tensor, n_structures: int) -> torch.Tensor:
    """Directed pairs / atoms of each structure, [n_structures] float64.

    pair_structure [n_pairs] is the structure of each undirected pair (a pair counts twice: i sees j and j sees i).
    The pairs per atom of Figs. 3 and 5 are the mean of this over structures.
    """
    return 2.0 * _count(pair_structure, n_structures).double() / _count(structure, n_structures).double()


def _count(structure: torch.Tensor, n_structures: int) -> torch.Tensor:
    """How often each structure occurs, [n_structures] int64; torch.bincount would make the host wait for a GPU."""
    zero = torch.zeros(n_structures, dtype=torch.int64, device=structure.device)
    return zero.index_add(0, structure, torch.ones_like(structure))
