"""Models in LAMMPS through its Python module and ``fix external``: any build of LAMMPS, one process.

LAMMPS does integration, thermostats and output; at each step it calls this module for forces, energy and virial. The
whole cell is evaluated at once with the neighbour list and model of the calculator, so results equal those of
`fcl.FCLCalculator`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase.data import atomic_numbers

from fcl.cutoffs.choice import CutoffChoice, Cutoffs
from fcl.data.verlet import VerletList
from fcl.models.files import prepared
from fcl.models.fixed import FixedModel, Radial
from fcl.runs.device import torch_dtype

#: Components of a symmetric tensor in the order of LAMMPS: xx, yy, zz, xy, xz, yz.
_VOIGT = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


class LammpsForces:
    """Forces of a model for one LAMMPS instance; create it after the box and the atoms, before the first ``run``.

    Args:
        lmp: a ``lammps.lammps`` with one process and ``units metal``; sets ``pair_style zero`` and a ``fix external``.
        model, cutoffs, device, dtype, skin, backend, radial: as for `fcl.FCLCalculator`; no per-atom cutoffs.
        elements: chemical symbols of the atom types, in order.
        fix: ID of the fix.

    The energy is part of the potential energy and the virial part of the pressure. `command` runs a line of LAMMPS
    input and re-raises exceptions of the force computation, which LAMMPS cannot propagate. Raises `ValueError` for
    other units, several processes, elements that do not match, and everything that `fcl.FCLCalculator` rejects.
    """

    def __init__(
        self,
        lmp,
        model,
        cutoffs: Cutoffs | None = None,
        *,
        elements: Sequence[str],
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "float64",
        skin: float = 0.5,
        backend: str | None = None,
        radial: Radial | None = None,
        fix: str = "fcl",
    ):
        if (units := lmp.extract_global("units")) != "metal":
            raise ValueError(f"LAMMPS has units {units}; eV and angstrom need: units metal")
        if (processes := lmp.extract_setting("world_size")) != 1:
            raise ValueError(
                f"LAMMPS runs in {processes} processes; fix external works in one, metatomic files (fcl export) in many"
            )
        if not lmp.extract_setting("box_exist"):
            raise ValueError("LAMMPS has no box yet: read or create the atoms first")
        if len(elements) != (types := lmp.extract_global("ntypes")):
            raise ValueError(f"elements: {len(elements)} symbols for {types} atom types")
        if unknown := [symbol for symbol in elements if atomic_numbers.get(symbol, 0) < 1]:
            raise ValueError(f"elements: {', '.join(map(repr, unknown))} is no chemical symbol")
        self._numbers = np.array([0, *(atomic_numbers[symbol] for symbol in elements)])  # types start at 1
        self.model = prepared(model, torch_dtype(dtype), device, backend)
        self.model.check_elements(torch.as_tensor(self._numbers[1:]))
        self.choice = CutoffChoice(self.model, cutoffs)
        if self.choice.by_element is None and self.choice.per_atom.ndim:
            raise ValueError("cutoffs given atom by atom do not go with LAMMPS: give them by element")
        self.choice.for_candidates(self._numbers[1:])  # every type has a cutoff
        self._fixed = FixedModel(self.model, self.choice, radial, backend)
        parameter = next(self.model.parameters())
        self._neighbors = VerletList(self.model.selector, skin, parameter.dtype, parameter.device)
        self._lmp, self._fix = lmp, fix
        self._error: Exception | None = None
        lmp.commands_list(
            [
                "pair_style zero 1.0",
                "pair_coeff * *",
                f"fix {fix} all external pf/callback 1 1",
                f"fix_modify {fix} energy yes virial yes",
            ]
        )
        lmp.set_fix_external_callback(fix, self._compute, None)

    @property
    def rebuilds(self) -> int:
        """Number of neighbour lists built so far."""
        return self._neighbors.rebuilds

    def command(self, line: str) -> None:
        """Run a line of LAMMPS input, such as ``run 1000``; raises errors of the force computation."""
        self._lmp.command(line)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _compute(self, _caller, _step, n: int, tags: np.ndarray, positions: np.ndarray, forces: np.ndarray) -> None:
        """Called by LAMMPS at each step: fills ``forces`` [n, 3] (eV/A) in the current atom order of LAMMPS."""
        try:
            order = np.argsort(tags[:n])  # LAMMPS re-sorts atoms spatially; the neighbour list needs a fixed order
            numbers = self._numbers[self._lmp.numpy.extract_atom("type")[:n][order]]
            cell, pbc = self._box()
            x = positions[:n][order]
            if not (np.isfinite(x).all() and np.isfinite(cell).all()):
                raise FloatingPointError("LAMMPS gave positions or a box that are not finite")
            batch, cutoffs = self._neighbors.batch(numbers, x, cell, pbc, self.choice.for_candidates(numbers))
            output = self._fixed(batch, cutoffs, forces=True, stress=True)
            forces[order] = output["forces"].double().cpu().numpy()
            # LAMMPS's virial is sum r f = -V stress
            virial = -output["stress"][0].double().cpu().numpy() * abs(np.linalg.det(cell))
            self._lmp.fix_external_set_energy_global(self._fix, float(output["energy"]))
            self._lmp.fix_external_set_virial_global(self._fix, virial[_VOIGT].tolist())
        except Exception as error:  # LAMMPS cannot propagate it: the run is stopped and `command` raises
            self._error = error
            forces[:] = np.nan
            self._lmp.force_timeout()

    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lattice vectors [3, 3] (rows, A) and periodicity [3] of the current box."""
        low, high, xy, yz, xz, periodic, _ = self._lmp.extract_box()
        lx, ly, lz = np.subtract(high, low)
        return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]), np.array(periodic, dtype=bool)
