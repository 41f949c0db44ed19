"""Models for TorchSim, which simulates many systems in one batch. Importing this requires torch-sim-atomistic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch_sim.models.interface import ModelInterface

from fcl.cutoffs.choice import CutoffChoice, Cutoffs
from fcl.cutoffs.edges import Candidates
from fcl.data.batch import Batch
from fcl.data.neighbors import half_pairs
from fcl.models.files import prepared
from fcl.models.fixed import FixedModel, Radial
from fcl.runs.device import torch_dtype

#: Added to the search radius (A), so that pairs at r_ij = m_ij are decided here and not by rounding in the library.
_MARGIN = 1e-6


@dataclass(frozen=True)
class _Candidates:
    """Pairs of all systems within m_ij + skin, and the state for which they were built."""

    numbers: torch.Tensor
    system: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    pbc: tuple[bool, ...]
    cutoffs: torch.Tensor
    exact_cutoffs: torch.Tensor
    pair_index: torch.Tensor
    shifts: torch.Tensor
    pair_cutoffs: torch.Tensor


class FCLTorchSimModel(ModelInterface):
    """A `fcl.Potential` as a TorchSim model: energies, forces and stresses of a batch of systems.

    Args:
        model: a model, or the path of a model file.
        cutoffs: as for `fcl.FCLCalculator`, but no per-atom cutoffs, since the atoms of a batch change.
        device, dtype, backend, radial: as for `fcl.FCLCalculator`.
        skin: thickness (A) of the shell beyond the cutoffs included in the neighbour list. The list is rebuilt when an
            atom of any system has moved by more than half of it or a cell has changed; results do not depend on it.
        compute_forces, compute_stress: what to compute in addition to the energy. Stress needs a cell volume: set
            ``compute_stress=False`` for molecules.

    Results: ``energy`` [n_systems] eV (relative to isolated atoms), ``forces`` [n_atoms, 3] eV/A, ``stress``
    [n_systems, 3, 3] eV/A^3 (positive under tension, as in ASE). Raises `ValueError` for cutoffs, elements and
    positions that `fcl.FCLCalculator` would reject.
    """

    def __init__(
        self,
        model,
        cutoffs: Cutoffs | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "float64",
        skin: float = 0.5,
        backend: str | None = None,
        radial: Radial | None = None,
        compute_forces: bool = True,
        compute_stress: bool = True,
    ):
        super().__init__()
        if not 0.0 <= skin < float("inf"):
            raise ValueError(f"skin: {skin} A is not a length")
        self.model = prepared(model, torch_dtype(dtype), device, backend)
        self.choice = CutoffChoice(self.model, cutoffs)
        if self.choice.by_element is None and self.choice.per_atom.ndim:
            raise ValueError("cutoffs given atom by atom do not go with batches of systems: give them by element")
        self._fixed = FixedModel(self.model, self.choice, radial, backend)
        parameter = next(self.model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._compute_forces, self._compute_stress = bool(compute_forces), bool(compute_stress)
        self.skin, self.rebuilds = float(skin), 0
        self._candidates: _Candidates | None = None

    @ModelInterface.compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = bool(value)

    @ModelInterface.compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = bool(value)

    def forward(self, state, **_) -> dict[str, torch.Tensor]:
        """Evaluate a state of TorchSim (or a dictionary with its fields); the state is not modified."""
        fields = ("positions", "atomic_numbers", "cell", "system_idx", "pbc")
        positions, numbers, cells, system, pbc = (
            state[name] if isinstance(state, dict) else getattr(state, name) for name in fields
        )
        positions, numbers, system = positions.detach(), numbers.long(), system.long()
        cells = cells.detach().transpose(-2, -1).contiguous()  # TorchSim stores lattice vectors as columns
        pbc = tuple(torch.as_tensor(pbc).cpu().expand(3).tolist())
        if not self._still_good(numbers, system, positions, cells, pbc):
            self._candidates = self._find(numbers, system, positions, cells, pbc)
            self.rebuilds += 1
        batch = self._batch(positions, cells)
        forces, stress = self._compute_forces, self._compute_stress
        output = self._fixed(batch, self._candidates.cutoffs, forces=forces, stress=stress)
        return {name: output[name] for name in ("energy", "forces", "stress") if name in output}

    def _still_good(self, numbers, system, positions, cells, pbc) -> bool:
        """Whether the candidates still contain every pair within its cutoff."""
        found = self._candidates
        if found is None or self.skin == 0.0 or pbc != found.pbc:
            return False
        same = torch.equal(numbers, found.numbers) and torch.equal(system, found.system)
        if not (same and torch.equal(cells, found.cells)):
            return False
        return bool(2.0 * (positions - found.positions).norm(dim=1).max() <= self.skin)

    def _find(self, numbers, system, positions, cells, pbc) -> _Candidates:
        """Concatenated neighbour lists of all systems, built on the CPU as for the calculator."""
        host = positions.double().cpu().numpy()
        if not (np.isfinite(host).all() and bool(torch.isfinite(cells).all())):
            raise ValueError("positions or cells hold values that are not finite")
        self.model.check_elements(numbers)
        a = np.array(self.choice.for_candidates(numbers.cpu().numpy()))
        of_atom, margin = system.cpu().numpy(), self.skin + _MARGIN
        lists = []
        for number, box in enumerate(cells.double().cpu().numpy()):
            atoms = np.flatnonzero(of_atom == number)
            reach = float(self.model.selector.reach(a[atoms])) + margin
            pairs, shifts, distances = half_pairs(host[atoms], box, np.array(pbc), reach)
            lists.append((atoms[pairs], shifts.T, distances))
        pair_index, shifts, distances = (
            torch.as_tensor(np.concatenate(arrays, axis=-1)) for arrays in zip(*lists, strict=True)
        )
        cutoffs = torch.as_tensor(a)
        near = self.model.selector.select(Candidates(*pair_index, distances, numbers=numbers.cpu()), cutoffs, margin)
        return _Candidates(
            numbers=numbers.clone(),
            system=system.clone(),
            positions=positions.clone(),
            cells=cells.clone(),
            pbc=pbc,
            cutoffs=cutoffs.to(self._device, self._dtype),
            exact_cutoffs=cutoffs.to(self._device),
            pair_index=pair_index.index_select(1, near.index).to(self._device),
            shifts=shifts.T.index_select(0, near.index).to(self._device, torch.float64),
            pair_cutoffs=near.pair_cutoffs.to(self._device),
        )

    def _batch(self, positions: torch.Tensor, cells: torch.Tensor) -> Batch:
        """The systems with the candidate pairs currently within their cutoffs (in float64)."""
        found = self._candidates
        i, j = found.pair_index
        x, lattice = positions.double(), cells.double()
        vectors = x.index_select(0, j) - x.index_select(0, i)
        pair_system = found.system.index_select(0, i)
        vectors = vectors + torch.einsum("ps,psd->pd", found.shifts, lattice.index_select(0, pair_system))
        distances = torch.linalg.vector_norm(vectors, dim=1)
        candidates = Candidates(i, j, distances, vectors, found.pair_cutoffs, found.numbers)
        keep = self.model.selector.select(candidates, found.exact_cutoffs).topology
        counts = torch.bincount(found.system, minlength=len(cells))
        empty = positions.new_zeros(len(cells), dtype=self._dtype)
        return Batch(
            indices=torch.arange(len(cells), device=self._device),
            ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            structure=found.system,
            numbers=found.numbers,
            positions=positions.to(self._dtype),
            cells=cells.to(self._dtype),
            energy=empty,
            forces=empty[:1].expand(len(positions), 3),
            n_candidates=found.pair_index.shape[1],
            pair_index=found.pair_index.index_select(1, keep),
            pair_shifts=found.shifts.index_select(0, keep).to(self._dtype),
        )
