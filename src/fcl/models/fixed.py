"""A model at chosen cutoffs, as simulations and engines evaluate it: from tables if they cover it, else by networks."""

from __future__ import annotations

import logging
import time
from typing import Literal

import numpy as np
import torch

from fcl.cutoffs.choice import CutoffChoice
from fcl.models.interface import Potential, pair_vectors, stresses, structure_sums
from fcl.runs.device import forked

logger = logging.getLogger(__name__)

#: Seconds that compilation takes, roughly.
COMPILATION = 60.0

#: How the radial functions of pairs are computed: from tables in the distance, or by the networks themselves.
Radial = Literal["tables", "network"]


class FixedModel:
    """``model`` at the cutoffs of ``choice``; called like a `Potential`, and never differentiable.

    ``radial``: "tables" evaluates splines of the radial functions (`fcl.models.mace.tabulated`) where cutoffs are
    uniform or by element and the model and the size of the tables allow it, else the networks; "network" always the
    networks; None is "tables" unless ``backend`` names the path of the networks. Tables follow changes of the weights.
    `ValueError` for any other ``radial``. With cutoffs that follow the environment (`fcl.cutoffs.schemes`) networks are
    evaluated, not compiled; the batch then holds candidates, and the results the pairs that were kept.

    Networks are compiled (`fcl.models.compile`) once their evaluation has taken as long as compilation does, unless
    ``backend`` is given: long runs gain, and none takes more than twice its time. A failure is reported, and the run
    goes on without.

    Attributes: ``path``, how the last structure was evaluated: "tables, compiled", "tables", "network" or "network,
    compiled"; ``reason``, why there are no tables.
    """

    def __init__(
        self, model: Potential, choice: CutoffChoice, radial: Radial | None = None, backend: str | None = None
    ):
        self._asked = radial == "tables"
        if radial is None:
            radial = "tables" if backend in (None, "auto") else "network"
        if radial not in ("tables", "network"):
            raise ValueError(f"radial {radial!r} is unknown; known are tables, network")
        self.model, self.choice, self.radial = model, choice, radial
        self.path, self.reason = "network", ""
        self._tables: torch.nn.Module | None = None
        self._covered: frozenset[int] = frozenset()  # elements for which there are tables
        self._numbers: torch.Tensor | None = None  # of the last structure
        self._refused: set[tuple[int, ...]] = set()  # elements without tables
        self._weights, self._state = (*model.parameters(), *model.buffers()), ()
        self._seconds = 0.0  # spent in networks
        self._compile = backend in (None, "auto") and model.backend == "fast" and "compiled" in model.backends
        self._compiled = None
        if choice.scheme is not None:
            self.reason = f"{choice.scheme}: tables need fixed cutoffs"
            if radial == "tables":
                level = logging.WARNING if self._asked else logging.INFO
                logger.log(level, f"radial functions are evaluated by their networks: {self.reason}")
            self.radial, self._compile = "network", False

    def __getstate__(self) -> dict:
        """Without the compiled program, which cannot be copied; it is made again."""
        return {**self.__dict__, "_compiled": None}

    def __call__(
        self, batch, cutoffs: torch.Tensor, *, forces: bool = True, stress: bool = False
    ) -> dict[str, torch.Tensor]:
        """Energies, forces and stress of a batch with selected pairs, as from `Potential.forward`."""
        tables = None if self.radial == "network" else self._tables_for(batch.numbers)
        if tables is not None:
            with torch.no_grad():
                vectors = pair_vectors(batch)
                return _results(batch, vectors, *self._tabulated(tables, batch, vectors), forces, stress)
        if (forces or stress) and self._compile and self._seconds > COMPILATION and not forked():
            with torch.no_grad():
                vectors = pair_vectors(batch)
                if (found := self._by_program(batch, vectors, cutoffs)) is not None:
                    return _results(batch, vectors, *found, None, forces, stress)
        self.path = "network"
        started = time.perf_counter()
        results = self.model(batch, cutoffs, forces=forces, stress=stress, **self.choice.model_options)
        self._seconds += time.perf_counter() - started
        return results

    def _tabulated(self, tables, batch, vectors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Site energies [n_atoms], gradient [n_pairs, 3] and, if they come along, forces [n_atoms, 3]."""
        from fcl.models.mace import kernel

        rows = tables.row.index_select(0, batch.numbers)
        if vectors.device.type == "cpu" and kernel.available(tables):
            self.path = "tables, compiled"
            return kernel.evaluate(tables, rows, batch.pair_index, vectors)
        self.path = "tables"
        with torch.enable_grad():
            variable = vectors.detach().requires_grad_(True)
            energies = tables.energies_of(rows, batch.pair_index, variable)
            (gradient,) = torch.autograd.grad(energies.sum(), variable, materialize_grads=True)
        return energies.detach(), gradient, None

    def _by_program(self, batch, vectors, cutoffs) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Site energies and gradient by the compiled program; None if it does not cover the batch, or failed."""
        from fcl.models.compile import CompiledEnergies

        if not CompiledEnergies.covers(batch.numbers, batch.pair_index):
            return None
        if self._compiled is None:
            logger.info("the model is being compiled, as the run is long enough for it to pay")
            self._compiled = CompiledEnergies(self.model)
        try:
            found = self._compiled(batch.numbers, batch.pair_index, vectors, cutoffs if self.model.flexible else None)
        except Exception as error:  # of any compiler
            reason = str(error).strip().partition("\n")[0][:200]
            logger.warning(f"the model cannot be compiled, the run goes on without: {reason}")
            self._compile, self._compiled = False, None
            return None
        self.path = "network, compiled"
        return found

    def _tables_for(self, numbers: torch.Tensor) -> torch.nn.Module | None:
        """Tables that cover the elements ``numbers`` [n_atoms]: of all with a cutoff if they fit, else of these."""
        state = tuple(tensor._version for tensor in self._weights)
        if state != self._state:
            self._state, self._tables, self._covered, self._numbers = state, None, frozenset(), None
            self._refused.clear()
        if numbers is self._numbers:  # as in a simulation
            return self._tables
        self._numbers, present = numbers, frozenset(torch.unique(numbers).tolist())
        if not present <= self._covered:
            everything, self._tables, self._covered = self._elements(), None, frozenset()
            for elements in (everything, sorted(present)) if present <= set(everything) else ():
                self._tables = self._tabulate(elements)
                if self._tables is not None:
                    self._covered = frozenset(elements)
                    break
        return self._tables

    def _elements(self) -> list[int]:
        """Elements that have a cutoff; none where cutoffs belong to atoms."""
        if self.choice.by_element is not None:
            return np.flatnonzero(~np.isnan(self.choice.by_element)).tolist()
        return [] if self.choice.per_atom.ndim else list(self.model.elements)

    def _tabulate(self, elements: list[int]) -> torch.nn.Module | None:
        if tuple(elements) in self._refused:
            return None
        parameter = next(self.model.parameters())
        try:
            tables = self.model.tabulate(elements, self.choice.of(np.array(elements)), parameter.dtype)
        except ValueError as error:
            self._refused.add(tuple(elements))
            if self.reason != str(error):
                self.reason = str(error)
                level = logging.WARNING if self._asked else logging.INFO
                logger.log(level, f"radial functions are evaluated by their networks: {error}")
            return None
        return tables.to(parameter.device)


def _results(batch, vectors, energies, gradient, acting, forces: bool, stress: bool) -> dict[str, torch.Tensor]:
    """Results as of `Potential.forward`; ``acting``: forces, computed here if None."""
    results = {"node_energy": energies, "energy": structure_sums(batch, energies)}
    if forces and acting is None:
        i, j = batch.pair_index
        acting = torch.zeros_like(batch.positions).index_add_(0, i, gradient).index_add_(0, j, -gradient)
    if forces:
        results["forces"] = acting
    if stress:
        results["stress"] = stresses(batch, vectors, gradient)
    return results
