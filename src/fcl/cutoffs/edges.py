"""Which pairs are kept: Eq. 4, r_ij <= m_ij, in one place for stores, simulations, engines, exports and figures.

Neighbour lists propose *candidates*, and a selector keeps some of them. A list has to extend to the selector's
`reach`; that of Eq. 4 is the largest cutoff, because m_ij <= max(a_i, a_j), which `fcl.cutoffs.mixing.mixing_rule`
checks for each rule.

No gradient flows through the choice itself. Pair cutoffs and weights may be functions of *all* candidates, also of
those that are dropped: a selector that computes them from ``distances`` and ``vectors`` has forces and stress by
differentiation; it is evaluated in the model (``selector`` of `fcl.Potential.forward`), on a batch whose pairs are the
candidates. Those of `RadialSelector` depend on cutoffs alone, so the topology is fixed.

The comparison itself is `fcl.cutoffs.mixing.within`, which figures use without torch. TorchScript compiles it and
`indices_within` into exported models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcl.cutoffs.mixing import mixing_rule
from fcl.cutoffs.plain import within

if TYPE_CHECKING:
    import torch


def indices_within(distances: torch.Tensor, pair_cutoffs: torch.Tensor, margin: float = 0.0) -> torch.Tensor:
    """Indices [n_kept] int64, ascending, of the pairs `within` m_ij + ``margin``; all [n_pairs], A."""
    return within(distances, pair_cutoffs + margin if margin else pair_cutoffs).nonzero().flatten()


@dataclass(frozen=True)
class Candidates:
    """Undirected pairs (i, j), each once, from which a selector chooses.

    i, j [n] int64, atoms; distances [n] A (those of a store are float32); vectors [n, 3] A from i to j, None where a
    list has distances only; pair_cutoffs [n] A, m_ij of an earlier selection of the same pairs and cutoffs: for
    selectors whose m_ij depend on nothing else, others ignore it; numbers [n_atoms] int64, atomic numbers: for
    selectors that depend on the elements.
    """

    i: torch.Tensor
    j: torch.Tensor
    distances: torch.Tensor
    vectors: torch.Tensor | None = None
    pair_cutoffs: torch.Tensor | None = None
    numbers: torch.Tensor | None = None


@dataclass(frozen=True)
class Kept:
    """What a selector keeps: indices of candidates [n_kept] int64, ascending.

    ``candidate_cutoffs`` [n] (A) and ``candidate_weights`` [n] are m_ij and weights of all candidates, so that nothing
    is gathered without need; weights are None where all are 1. ``cutoffs`` [n_atoms] (A) are those of the atoms where
    the selector decides them too, None where they are those that it was given.
    """

    index: torch.Tensor
    candidate_cutoffs: torch.Tensor
    candidate_weights: torch.Tensor | None = None
    cutoffs: torch.Tensor | None = None

    @property
    def pair_cutoffs(self) -> torch.Tensor:
        """m_ij [n_kept] (A) of the kept pairs."""
        return self.candidate_cutoffs.index_select(0, self.index)

    @property
    def weights(self) -> torch.Tensor | None:
        """Weights [n_kept] of the kept pairs, None where all are 1."""
        return None if self.candidate_weights is None else self.candidate_weights.index_select(0, self.index)

    @property
    def topology(self) -> torch.Tensor:
        """``index``, for batches, which have no weights; `ValueError` if there are some."""
        if self.candidate_weights is not None:
            raise ValueError("the selector gives weights to pairs, and batches have none")
        return self.index


class EdgeSelector(ABC):
    """Decides which candidates are kept, and their m_ij and weights; ``cutoffs`` [n_atoms] (A) are per atom."""

    @abstractmethod
    def reach(self, cutoffs):
        """Distance (A) to which candidates have to extend, as a scalar of the same library as ``cutoffs``.

        Tensors or NumPy arrays. Candidates beyond it are not kept and have no influence.
        """

    @abstractmethod
    def select(self, candidates: Candidates, cutoffs: torch.Tensor, margin: float = 0.0) -> Kept:
        """The kept pairs. With ``margin`` (A): all that can be kept, or matter, until a distance shrinks by more."""


class RadialSelector(EdgeSelector):
    """Eq. 4 with m_ij from the cutoffs of the two atoms by the mixing rule ``name``; all weights are 1.

    Attributes: ``name``; ``mixing``, the rule. Raises `ValueError` as `fcl.cutoffs.mixing.mixing_rule`.
    """

    def __init__(self, name: str):
        self.name, self.mixing = name, mixing_rule(name)

    def reach(self, cutoffs):
        return cutoffs.max()

    def pair_cutoffs(self, i: torch.Tensor, j: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
        """m_ij [n] (A) of the pairs of atoms i, j [n]; differentiable with respect to ``cutoffs`` [n_atoms] (A)."""
        return self.mixing(cutoffs.index_select(0, i), cutoffs.index_select(0, j))

    def select(self, candidates: Candidates, cutoffs: torch.Tensor, margin: float = 0.0) -> Kept:
        m = self._of(candidates, cutoffs)
        return Kept(indices_within(candidates.distances, m, margin), m)

    def _of(self, candidates: Candidates, cutoffs: torch.Tensor) -> torch.Tensor:
        if candidates.pair_cutoffs is not None:
            return candidates.pair_cutoffs
        return self.pair_cutoffs(candidates.i, candidates.j, cutoffs)


class RepulsionSelector(RadialSelector):
    """Eq. 4, and all pairs within the sum of the ``radii`` (A, by atomic number) of their atoms.

    For models with a pair repulsion, which does not end at m_ij. The envelope of the other pairs is zero there.
    """

    def __init__(self, name: str, radii: torch.Tensor, elements: Sequence[int]):
        super().__init__(name)
        self.radii = radii.detach().double().cpu()
        self.largest = 2.0 * float(self.radii[list(elements)].max())

    def reach(self, cutoffs):
        return cutoffs.max().clip(min=self.largest)

    def select(self, candidates: Candidates, cutoffs: torch.Tensor, margin: float = 0.0) -> Kept:
        if candidates.numbers is None:
            raise ValueError("pairs of a model with a pair repulsion are selected by their elements: none are given")
        m = self._of(candidates, cutoffs)
        radii = self.radii.to(m).index_select(0, candidates.numbers)
        repelled = radii.index_select(0, candidates.i) + radii.index_select(0, candidates.j)
        return Kept(indices_within(candidates.distances, m.maximum(repelled), margin), m)
