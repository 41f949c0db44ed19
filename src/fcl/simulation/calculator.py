"""ASE calculator with cutoffs chosen at construction."""

from __future__ import annotations

import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from fcl.cutoffs.choice import CutoffChoice, Cutoffs
from fcl.data.frames import has_volume
from fcl.data.verlet import VerletList
from fcl.models.files import prepared
from fcl.models.fixed import FixedModel, Radial
from fcl.models.interface import evaluated_pairs
from fcl.runs.device import torch_dtype


class FCLCalculator(Calculator):
    """Energy, forces and stress of a `fcl.Potential` for ASE.

    Args:
        model: a model, the path of a model file, or the name of a shipped model (``"embedded"``, ``"mini"``).
        cutoffs: angstroms, as a number for all atoms, a dict by chemical symbol, an array with one value per atom, a
            scheme (`fcl.NeighbourCutoffs`, `fcl.DynamicCutoffs`, ``"neighbours=30"``), or the path of a cutoffs file;
            None is 6.0 (a static model: its own cutoff). See `fcl.cutoffs.choice`.
        device: ``"cpu"``, ``"cuda"``, ...; None keeps the device of a model; for a file it selects a GPU if available.
        dtype: ``"float64"`` (default) or ``"float32"``, name or torch dtype; a model in another precision is copied.
        skin: thickness (A) of the shell beyond the cutoffs included in the neighbour list. It only affects how often
            the list is rebuilt; energies and forces do not depend on it. 0 rebuilds it at every step.
        backend: evaluation path of the networks, see `fcl.models.mace.model.MACE`; None keeps that of the model.
        radial: ``"tables"`` of the radial functions, or their ``"network"``; None: tables, unless ``backend`` is given.
            Tables are accurate to 1e-6 eV per atom and 1e-5 eV/A, see `fcl.models.fixed.FixedModel`.

    Results: ``energy`` and ``free_energy`` (eV, identical; relative to isolated atoms, as in the training data),
    ``energies`` [n] per atom (eV), ``forces`` [n, 3] (eV/A) and, where the cell has a volume, ``stress`` [6]
    (eV/A^3, Voigt order). ``pairs_per_atom`` is the number of directed pairs per atom at the last step (the cost
    measure of Fig. 5), ``rebuilds`` the number of neighbour lists built so far. Assigning to ``cutoffs`` changes them.

    Raises `ValueError` for cutoffs that the model or the structure does not allow, for elements that the model does not
    cover and for non-finite positions; `PropertyNotImplementedError` for the stress of a cell
    without volume; `FloatingPointError` for non-finite energy or forces.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]

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
    ):
        super().__init__()
        self.model = prepared(model, torch_dtype(dtype), device, backend)
        parameter = next(self.model.parameters())
        self._neighbors = VerletList(self.model.selector, skin, parameter.dtype, parameter.device)
        self._options = {"radial": radial, "backend": backend}
        self._fixed = FixedModel(self.model, CutoffChoice(self.model, cutoffs), **self._options)
        self.pairs_per_atom = float("nan")

    @property
    def rebuilds(self) -> int:
        """Number of neighbour lists built so far."""
        return self._neighbors.rebuilds

    @property
    def cutoffs(self) -> CutoffChoice:
        """The cutoffs in use; assign a number, dict, array, scheme or path to change them."""
        return self._fixed.choice

    @property
    def path(self) -> str:
        """How the last structure was evaluated: "tables, compiled", "tables" or "network"."""
        return self._fixed.path

    @cutoffs.setter
    def cutoffs(self, cutoffs: Cutoffs | None) -> None:
        self._fixed = FixedModel(self.model, CutoffChoice(self.model, cutoffs), **self._options)
        self.reset()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluate the model on ``atoms``; all properties are computed in one pass."""
        super().calculate(atoms, properties, system_changes)
        numbers, positions = self.atoms.numbers, self.atoms.positions
        cell, pbc = self.atoms.cell.array, np.asarray(self.atoms.pbc)
        self._check(numbers, positions, cell)
        batch, cutoffs = self._neighbors.batch(numbers, positions, cell, pbc, self.cutoffs.for_candidates(numbers))
        with_stress = has_volume(cell)
        output = self._fixed(batch, cutoffs, forces=True, stress=with_stress)
        energy, forces = float(output["energy"]), _array(output["forces"])
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise FloatingPointError("energy or forces are not finite: are there atoms in the same place?")
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": _array(output["node_energy"]),
            "forces": forces,
        }
        if with_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_array(output["stress"][0]))
        self.pairs_per_atom = 2.0 * evaluated_pairs(batch, output).shape[0] / len(numbers)
        if "stress" in properties and not with_stress:
            raise PropertyNotImplementedError("stress: the cell has no volume, as its vectors are not independent")

    def _check(self, numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> None:
        if not len(numbers):
            raise ValueError("a structure without atoms has no energy")
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise ValueError("positions or cell hold values that are not finite")
        self.model.check_elements(torch.as_tensor(numbers))


def _array(values: torch.Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
