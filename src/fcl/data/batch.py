"""Batches: gathered from a store by structure index, without a Python loop over structures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from fcl.cutoffs.edges import Candidates, EdgeSelector
from fcl.cutoffs.plain import within
from fcl.data.store import StoreArrays

#: Larger energies (eV/atom, RMS over structures) are not relative to isolated atoms: cohesive energies end at 9 eV/atom
#: (tungsten), and even data sets of strongly compressed structures stay within tens. A model starts near zero and would
#: spend its training on the offset.
LARGEST_ENERGY = 100.0
#: Larger forces (eV/A, RMS over components) are of another unit, or of a calculation that failed: 1000 eV/A on an atom
#: is a collision.
LARGEST_FORCE = 1000.0


@dataclass(frozen=True)
class Batch:
    """Some structures, their labels and the pairs that are kept; shapes and units as in `fcl.data`.

    ``pair_index`` and ``pair_shifts`` are None until `GraphData.select_pairs` has chosen pairs; ``n_candidates`` is the
    number of pairs in the store from which it chooses. ``energy_mask`` is None where every structure of the *data* has
    an energy, ``stress`` and ``stress_mask`` where none has a stress, so that the usual case costs nothing.
    """

    indices: torch.Tensor
    ptr: torch.Tensor
    structure: torch.Tensor
    numbers: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor
    n_candidates: int
    pair_index: torch.Tensor | None = None
    pair_shifts: torch.Tensor | None = None
    energy_mask: torch.Tensor | None = None
    stress: torch.Tensor | None = None
    stress_mask: torch.Tensor | None = None

    @property
    def n_structures(self) -> int:
        return len(self.ptr) - 1

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def atoms_per_structure(self) -> torch.Tensor:
        """[n_structures] int64."""
        return self.ptr[1:] - self.ptr[:-1]

    @property
    def pair_structure(self) -> torch.Tensor:
        """Structure of each pair, [n_pairs]."""
        return self.structure.index_select(0, self.pair_index[0])


def ranges(starts: torch.Tensor, counts: torch.Tensor, total: int | None = None) -> torch.Tensor:
    """Concatenated integer ranges [start, start + count), without a loop: [sum(counts)] int64.

    Whoever knows ``total`` = sum(counts) should give it: reading it from a GPU waits for all that the GPU has to do.
    """
    total = int(counts.sum()) if total is None else total
    offsets = torch.repeat_interleave(starts - (counts.cumsum(0) - counts), counts, output_size=total)
    return offsets + torch.arange(total, device=starts.device)


class GraphData:
    """A whole split on one device in one floating-point type, from which batches are gathered.

    Nothing is read back from the device on the way to a batch (sizes come from ``atom_counts`` and ``pair_counts`` in
    host memory), except the number of pairs that `select_pairs` keeps. Subsets, fidelities, parents and frames are in
    host memory. Labels that are missing are NaN, and their masks are false.
    """

    def __init__(self, arrays: StoreArrays, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"):
        def real(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(values).to(device=device, dtype=dtype)

        def integer(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(values.astype(np.int64)).to(device)

        self.r_max, self.dtype = arrays.r_max, dtype
        self.subset_names, self.fidelity_names = arrays.subset_names, arrays.fidelity_names
        self.parent_names = arrays.parent_names
        self.device = torch.device(device)
        self.ptr, self.pair_ptr = integer(arrays.ptr), integer(arrays.pair_ptr)
        # In host memory: what decides sizes, and what structures are chosen or grouped by.
        self.subset, self.fidelity, self.parent, self.frame = (
            torch.as_tensor(values.astype(np.int64))
            for values in (arrays.subset, arrays.fidelity, arrays.parent, arrays.frame)
        )
        self._groups = torch.as_tensor(arrays.groups())
        self.atom_counts = torch.as_tensor(np.diff(arrays.ptr).astype(np.int64))
        self.pair_counts = torch.as_tensor(np.diff(arrays.pair_ptr).astype(np.int64))
        self.numbers = integer(arrays.numbers)
        self.positions, self.forces = real(arrays.positions), real(arrays.forces)
        self.cells, self.energy, self.stress = real(arrays.cells), real(arrays.energy), real(arrays.stress)
        self.energy_mask, self.stress_mask = (
            torch.as_tensor(mask).to(device) for mask in (arrays.energy_mask, arrays.stress_mask)
        )
        self.without_energy = int((~arrays.energy_mask).sum())
        self.with_stress = int(arrays.stress_mask.sum())
        # Pair arrays keep the narrow types of the store: they are widened after pruning.
        narrow = {np.dtype(np.uint16): np.int32}
        self._pair_i, self._pair_j, self._pair_shifts = (
            torch.as_tensor(a.astype(narrow.get(a.dtype, a.dtype))).to(device)
            for a in (arrays.pair_i, arrays.pair_j, arrays.pair_shifts)
        )
        self._pair_distances = torch.as_tensor(arrays.pair_distances).to(device)

    def __len__(self) -> int:
        return len(self.energy)

    def require_energies(self, purpose: str, indices: torch.Tensor | None = None) -> None:
        """`ValueError` when one of the structures (all, or ``indices``) lacks the energy that ``purpose`` needs, or the
        energies are total energies (`LARGEST_ENERGY`)."""
        chosen = slice(None) if indices is None else indices.to(self.device)
        mask, energies = self.energy_mask[chosen], self.energy[chosen]
        if lacking := int((~mask).sum()):
            raise ValueError(
                f"{purpose}: {lacking} of {len(mask)} structures have no energy, and the loss needs one of each: "
                "leave them out of the data"
            )
        per_atom = energies.double() / self.atom_counts.to(self.device)[chosen]
        size = float(per_atom.square().mean().sqrt())
        if LARGEST_ENERGY < size < math.inf:  # infinite energies are named where they occur
            raise ValueError(
                f"{purpose}: energies of {size:.6g} eV/atom (RMS) are not relative to isolated atoms. Subtract "
                "reference energies: reference_energies: fit (or values) in the data manifest, --reference-energies of "
                "fcl train; for a trained model, those of its card"
            )

    def require_forces(self, purpose: str) -> None:
        """`ValueError` when the forces are larger than those of any material (`LARGEST_FORCE`)."""
        size = float(self.forces.double().square().mean().sqrt())
        if LARGEST_FORCE < size < math.inf:
            raise ValueError(
                f"{purpose}: forces of {size:.6g} eV/A (RMS): is this their unit? Single frames with large forces are "
                "refused with data.max_force in a study, --max-force of fcl train"
            )

    def require_pairs(self, purpose: str, cutoff: float, indices: torch.Tensor | None = None) -> None:
        """`ValueError` when no structure (of all, or of ``indices``) has a pair of atoms within ``cutoff`` (A)."""
        chosen = torch.arange(len(self)) if indices is None else indices
        distances = self.candidates(chosen)[0]
        if not bool((distances <= cutoff).any()):
            raise ValueError(f"{purpose}: in none of {len(chosen)} structures two atoms are within {cutoff:g} A")

    def groups(self) -> torch.Tensor:
        """`StoreArrays.groups`, as a tensor in host memory."""
        return self._groups

    def members(self, subset: str) -> torch.Tensor:
        """Indices [n] of the structures of ``subset``, in host memory.

        `ValueError` lists the subsets when it is unknown or empty.
        """
        if subset not in self.subset_names:
            raise ValueError(f"subset {subset!r} is not in the data; there are {', '.join(self.subset_names)}")
        return torch.nonzero(self.subset == self.subset_names.index(subset)).flatten()

    def batch(self, indices: torch.Tensor) -> Batch:
        """Gather structures ``indices`` [n_structures] (int64) with their labels and without pairs.

        Indices in host memory are best: those on a GPU have to be read back for the size of the batch.
        """
        host = torch.as_tensor(indices).cpu()
        n_atoms = int(self.atom_counts.index_select(0, host).sum())
        indices = host.to(self.device, non_blocking=True)
        first = self.ptr.index_select(0, indices)
        counts = self.ptr.index_select(0, indices + 1) - first
        atoms = ranges(first, counts, n_atoms)
        structure = torch.repeat_interleave(torch.arange(len(indices), device=self.device), counts, output_size=n_atoms)
        return Batch(
            indices=indices,
            ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            structure=structure,
            numbers=self.numbers.index_select(0, atoms),
            positions=self.positions.index_select(0, atoms),
            cells=self.cells.index_select(0, indices),
            energy=self.energy.index_select(0, indices),
            forces=self.forces.index_select(0, atoms),
            n_candidates=int(self.pair_counts.index_select(0, host).sum()),
            energy_mask=self.energy_mask.index_select(0, indices) if self.without_energy else None,
            stress=self.stress.index_select(0, indices) if self.with_stress else None,
            stress_mask=self.stress_mask.index_select(0, indices) if self.with_stress else None,
        )

    def candidates(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances (A) of all stored pairs of the structures ``indices``, and the position of each there."""
        counts = self.pair_counts.index_select(0, indices.cpu())
        pairs = ranges(self.pair_ptr.cpu().index_select(0, indices.cpu()), counts, int(counts.sum()))
        structure = torch.repeat_interleave(torch.arange(len(indices)), counts)
        return self._pair_distances.index_select(0, pairs.to(self.device)), structure.to(self.device)

    def select_pairs(self, batch: Batch, cutoffs: torch.Tensor, selector: EdgeSelector) -> Batch:
        """Keep the pairs that the model's ``selector`` keeps for per-atom ``cutoffs`` [n_atoms] (A), Eq. 4.

        The topology is then fixed.
        Only the distance and the two atoms of a candidate are read before the decision. Distances are the
        stored float32 ones: at a distance that equals m_ij to 1e-7 the taper is zero either way.
        Raises `ValueError` when the selector reaches beyond the r_max of the store, which could miss pairs (on a GPU
        the check does not wait, and its failure is an error of the device), or gives weights to pairs.
        """
        cutoffs = cutoffs.detach()
        if cutoffs.numel():
            self._check_reach(selector.reach(cutoffs))
        rows, candidates = self._candidates(batch)
        keep = selector.select(candidates, cutoffs).topology
        return replace(
            batch,
            pair_index=torch.stack([candidates.i.index_select(0, keep), candidates.j.index_select(0, keep)]),
            pair_shifts=self._pair_shifts.index_select(0, rows.index_select(0, keep)).to(self.dtype),
        )

    def _candidates(self, batch: Batch) -> tuple[torch.Tensor, Candidates]:
        """The stored pairs of the structures of ``batch``, and their rows [n_candidates] in the store."""
        first = self.pair_ptr.index_select(0, batch.indices)
        counts = self.pair_ptr.index_select(0, batch.indices + 1) - first
        rows = ranges(first, counts, batch.n_candidates)
        offset = torch.repeat_interleave(batch.ptr[:-1], counts, output_size=batch.n_candidates)
        i = offset + self._pair_i.index_select(0, rows)
        j = offset + self._pair_j.index_select(0, rows)
        return rows, Candidates(i, j, self._pair_distances.index_select(0, rows), numbers=batch.numbers)

    def _check_reach(self, largest: torch.Tensor) -> None:
        """Whether the ``largest`` cutoff (A, scalar) is within the r_max of the store."""
        limit = self.r_max * (1 + 1e-6)
        if largest.device.type == "cpu":
            if not float(largest) <= limit:  # NaN is refused too
                raise ValueError(f"a cutoff of {float(largest):.4f} A exceeds the store's r_max of {self.r_max} A")
        else:  # NaN passes here, and shows in the cost of the objective: a failed assertion would end the whole process
            torch._assert_async(~(largest > limit), f"a cutoff exceeds the store's r_max of {self.r_max} A")


def average_neighbors(arrays: StoreArrays, cutoff: float) -> dict[str, float]:
    """The three meanings of average neighbours at ``cutoff`` (A) that the field uses.

    ``per_connected_atom``: over atoms that have at least one pair (MACE's avg_num_neighbors);
    ``per_atom``: over all atoms; ``per_structure``: mean over structures of directed pairs / atoms.
    """
    keep, structure = _kept(arrays, cutoff)
    i = arrays.ptr[structure] + arrays.pair_i[keep]
    j = arrays.ptr[structure] + arrays.pair_j[keep]
    neighbors = np.bincount(np.concatenate([i, j]), minlength=int(arrays.ptr[-1]))
    connected = neighbors[neighbors > 0]
    return {
        "per_connected_atom": float(connected.mean()) if connected.size else 0.0,
        "per_atom": float(neighbors.mean()),
        "per_structure": float(_pairs_per_atom(arrays, structure).mean()),
    }


def pairs_of_structures(arrays: StoreArrays, cutoff: float) -> np.ndarray:
    """[n_structures] directed pairs per atom within ``cutoff`` (A); `ValueError` beyond the range of the store."""
    return _pairs_per_atom(arrays, _kept(arrays, cutoff)[1])


def _kept(arrays: StoreArrays, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs of the store are within ``cutoff`` (A), and the structures of these."""
    if cutoff > arrays.r_max:
        raise ValueError(f"cutoff {cutoff} A exceeds the store's r_max of {arrays.r_max} A")
    keep = within(arrays.pair_distances, np.float32(cutoff))
    return keep, np.repeat(np.arange(len(arrays)), np.diff(arrays.pair_ptr))[keep]


def _pairs_per_atom(arrays: StoreArrays, structure: np.ndarray) -> np.ndarray:
    return 2.0 * np.bincount(structure, minlength=len(arrays)) / np.diff(arrays.ptr)
