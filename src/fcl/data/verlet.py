"""The structures of a simulation as batches: a neighbour list with a skin, rebuilt only when it must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fcl.cutoffs.edges import Candidates, EdgeSelector
from fcl.data.batch import Batch
from fcl.data.neighbors import complete_box, half_pairs

#: Added to every search radius (A), so that pairs at r_ij = m_ij are decided here and not by the library's rounding.
_MARGIN = 1e-6


@dataclass(frozen=True)
class _Built:
    """For what the candidates were built."""

    numbers: np.ndarray
    positions: np.ndarray
    box: np.ndarray
    pbc: np.ndarray
    cutoffs: np.ndarray


class VerletList:
    """Candidate pairs within m_ij + ``skin`` (A), pruned to r_ij <= m_ij at every step.

    Candidates are kept until an atom may have come within its pair cutoff unseen. ``rebuilds`` counts how often they
    were computed. The pruned pairs are the same, in the same order, as those of a fresh list, so that energies and
    forces do not depend on the skin, to the last bit. ``selector`` is the model's; tensors are made in ``dtype`` on
    ``device``.
    """

    def __init__(
        self,
        selector: EdgeSelector,
        skin: float = 0.5,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ):
        if not 0.0 <= skin < float("inf"):
            raise ValueError(f"skin: {skin} A is not a length")
        self.skin, self.selector, self.dtype, self.device = float(skin), selector, dtype, torch.device(device)
        self.rebuilds = 0
        self._built: _Built | None = None

    def batch(
        self, numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoffs: np.ndarray
    ) -> tuple[Batch, torch.Tensor]:
        """The structure with its pairs selected, and its cutoffs [n_atoms] (A) as a tensor.

        numbers [n]; positions [n, 3] A; cell [3, 3] A (rows; zero where there is none); pbc [3]; cutoffs [n] A. The
        labels of the batch are empty.
        """
        box = complete_box(cell, pbc)
        if not self._still_good(numbers, positions, box, pbc, cutoffs):
            self._build(numbers, positions, box, pbc, cutoffs)
        x, lattice = self._exact(positions), self._exact(cell)
        i, j = self._pair_index
        vectors = x.index_select(0, j) - x.index_select(0, i) + self._shifts @ lattice
        distances = torch.linalg.vector_norm(vectors, dim=1)
        candidates = Candidates(i, j, distances, vectors, self._pair_cutoffs, self._numbers)
        keep = self.selector.select(candidates, self._exact_cutoffs).topology
        n = len(numbers)
        x, lattice, shifts = (values.to(self.dtype) for values in (x, lattice, self._shifts.index_select(0, keep)))
        empty = x.new_zeros(1)
        batch = Batch(
            indices=torch.zeros(1, dtype=torch.int64, device=self.device),
            ptr=torch.tensor([0, n], device=self.device),
            structure=torch.zeros(n, dtype=torch.int64, device=self.device),
            numbers=self._numbers,
            positions=x,
            cells=lattice[None],
            energy=empty,
            forces=empty.expand(n, 3),
            n_candidates=self._pair_index.shape[1],
            pair_index=self._pair_index.index_select(1, keep),
            pair_shifts=shifts,
        )
        return batch, self._cutoffs

    def _still_good(self, numbers, positions, box, pbc, cutoffs) -> bool:
        """Whether no pair can have come within its cutoff that is not among the candidates.

        Let F map the old lattice onto the new one and d be how far an atom is from where F takes it. A pair that is no
        candidate had r > m + skin, and has r' >= s r - 2 d now, with s the smallest singular value of F; this exceeds m
        as long as 2 d <= min(s, 1) (m_max + skin) - m_max. Without a change of the lattice that is 2 d <= skin.
        Only differences of displacements count, hence their mean is taken off.
        """
        built = self._built
        if built is None or len(numbers) != len(built.numbers) or self.skin == 0.0:
            return False
        same = (numbers == built.numbers).all() and (pbc == built.pbc).all() and (cutoffs == built.cutoffs).all()
        if not same:
            return False
        reach, shrunk, before = float(self.selector.reach(cutoffs)), 1.0, built.positions
        if not np.array_equal(box, built.box):
            deformation = np.linalg.solve(built.box, box)
            shrunk = min(1.0, float(np.linalg.svd(deformation, compute_uv=False).min()))
            before = before @ deformation
        displacements = positions - before
        displacements -= displacements.mean(axis=0)
        farthest = float(np.sqrt(np.einsum("ij,ij->i", displacements, displacements).max()))
        return 2.0 * farthest <= shrunk * (reach + self.skin) - reach

    def _build(self, numbers, positions, box, pbc, cutoffs) -> None:
        reach = float(self.selector.reach(cutoffs)) + self.skin + _MARGIN
        pair_index, shifts, distances = half_pairs(positions, box, pbc, reach)
        a = self._exact(cutoffs)
        i, j = (torch.as_tensor(index).to(self.device) for index in pair_index)
        self._numbers = torch.as_tensor(numbers.astype(np.int64)).to(self.device)
        found = Candidates(i, j, self._exact(distances), numbers=self._numbers)
        near = self.selector.select(found, a, self.skin + _MARGIN)
        self._pair_index = torch.stack([i.index_select(0, near.index), j.index_select(0, near.index)])
        self._pair_cutoffs = near.pair_cutoffs
        self._shifts = self._exact(shifts).index_select(0, near.index)
        self._exact_cutoffs, self._cutoffs = a, a.to(self.dtype)
        arrays = (numbers, positions, box, pbc, cutoffs)
        self._built = _Built(*(np.array(values) for values in arrays))  # copies: ASE changes positions in place
        self.rebuilds += 1

    def _exact(self, values: np.ndarray) -> torch.Tensor:
        """``values`` on the device in float64: pairs are chosen in double precision whatever the model computes in."""
        return torch.tensor(np.asarray(values), dtype=torch.float64, device=self.device)
