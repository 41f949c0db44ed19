"""Models as metatomic files for the engines that support them: LAMMPS, i-PI, ASE, GROMACS, PLUMED and others.

The file is TorchScript: the engine needs neither this package nor mace-torch. Importing this module requires
metatomic-torch. (No ``from __future__ import annotations`` here: TorchScript reads the annotations.)
"""

import json
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import torch
from ase.data import chemical_symbols
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

import fcl
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.file import read_cutoffs
from fcl.models.mace.frozen import FrozenMACE, freeze
from fcl.models.mace.tabulated import TabulatedMACE
from fcl.runs.files import atomic_path

DESCRIPTION = (
    "MACE with flexible cutoffs (Flexible Cutoff Learning), whose cutoffs are fixed in this file. "
    "Energies are relative to isolated atoms, as in the training data."
)


class MetatomicMACE(torch.nn.Module):
    """A `FrozenMACE` or `TabulatedMACE` with the metatomic interface: energies (eV) per system or per atom.

    Half neighbour lists within the largest cutoff are requested; pairs beyond their own cutoff are dropped here. Forces
    and virial are derivatives of the energy, computed by the engine.
    """

    def __init__(self, frozen: FrozenMACE | TabulatedMACE):
        super().__init__()
        self.frozen = frozen
        self.options = NeighborListOptions(cutoff=frozen.largest_cutoff, full_list=False, strict=True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [self.options]

    def forward(
        self, systems: List[System], outputs: Dict[str, ModelOutput], selected_atoms: Optional[Labels] = None
    ) -> Dict[str, TensorMap]:
        """``energy`` of ``systems``; restricted to ``selected_atoms`` under domain decomposition."""
        results: dict[str, TensorMap] = {}
        if "energy" not in outputs or len(systems) == 0:
            return results
        numbers: list[torch.Tensor] = []
        pairs: list[torch.Tensor] = []
        vectors: list[torch.Tensor] = []
        samples: list[torch.Tensor] = []
        starts: list[int] = []
        first = 0
        for index, system in enumerate(systems):
            neighbors = system.get_neighbor_list(self.options)
            atoms = torch.arange(len(system), device=system.positions.device)
            samples.append(torch.stack([torch.full_like(atoms, index), atoms], dim=1))
            numbers.append(system.types.to(torch.int64))
            pairs.append(neighbors.samples.values[:, :2].to(torch.int64).t() + first)
            vectors.append(neighbors.values.squeeze(-1))
            starts.append(first)
            first += len(system)
        energies = self.frozen(torch.cat(numbers), torch.cat(pairs, dim=1), torch.cat(vectors))
        sample = torch.cat(samples)
        if selected_atoms is not None:
            selected = selected_atoms.values.to(sample)
            rows = torch.tensor(starts, device=sample.device).index_select(0, selected[:, 0]) + selected[:, 1]
            energies, sample = energies.index_select(0, rows), selected
        names = ["system", "atom"]
        if outputs["energy"].sample_kind == "system":
            zero = torch.zeros(len(systems), dtype=energies.dtype, device=energies.device)
            energies = zero.index_add(0, sample[:, 0], energies)
            names, sample = ["system"], torch.arange(len(systems), device=sample.device)[:, None]
        components: list[Labels] = []
        single = torch.zeros(1, 1, dtype=torch.int32, device=sample.device)
        block = TensorBlock(
            energies[:, None], Labels(names, sample.to(torch.int32)), components, Labels(["energy"], single)
        )
        results["energy"] = TensorMap(Labels(["_"], single), [block])
        return results


def save_metatomic(
    model,
    choice: CutoffChoice,
    path: str | Path,
    dtype: torch.dtype = torch.float64,
    *,
    radial: str = "tables",
    elements: Optional[Sequence[int]] = None,
) -> dict:
    """Write ``model`` with the cutoffs of ``choice`` as a metatomic file; returns the metadata stored in it.

    ``radial`` and ``elements`` are those of `fcl.models.mace.frozen.freeze`: the file requests neighbours within the
    largest cutoff among its elements, so that elements that do not occur should not be among them. Raises
    `FileExistsError` if ``path`` exists, `ValueError` for a name that does not end in ``.pt`` and for models that
    `fcl.models.mace.frozen.freeze` does not cover.
    """
    path = Path(path)
    if path.suffix != ".pt":
        raise ValueError(f"{path}: the name of a metatomic file ends in .pt")
    if path.exists():
        raise FileExistsError(f"{path}: exists already; it is not overwritten")
    frozen = freeze(model, choice, dtype, radial=radial, elements=elements)
    facts = export_facts(model, choice, frozen)
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom", description="relative to isolated atoms")},
        atomic_types=frozen.elements,
        interaction_range=frozen.interaction_range,
        length_unit="angstrom",
        supported_devices=["cuda", "cpu"],
        dtype=facts["dtype"],
    )
    metadata = ModelMetadata(
        name="FCL-MACE",
        description=DESCRIPTION,
        references={"architecture": ["https://arxiv.org/abs/2603.10205"]},
        extra={name: json.dumps(value) for name, value in facts.items()},
    )
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        AtomisticModel(MetatomicMACE(frozen).eval(), metadata, capabilities).save(temporary)
    return facts


def export_facts(model, choice: CutoffChoice, frozen: FrozenMACE | TabulatedMACE) -> dict:
    """Metadata of an exported file: cutoffs (A), their provenance, the model card, versions."""
    provenance = read_cutoffs(choice.source).provenance.model_dump(exclude_none=True) if choice.source else {}
    symbols = [chemical_symbols[number] for number in frozen.elements]
    return {
        "fcl_version": fcl.__version__,
        "dtype": str(frozen.cutoffs.dtype).removeprefix("torch."),
        "radial": "tables" if isinstance(frozen, TabulatedMACE) else "network",
        "mixing_rule": model.settings.mixing_rule,
        "cutoffs_angstrom": dict(zip(symbols, frozen.cutoffs.tolist(), strict=True)),
        "cutoffs_provenance": provenance,
        "largest_cutoff_angstrom": frozen.largest_cutoff,
        "interaction_range_angstrom": frozen.interaction_range,
        "card": getattr(model, "card", {}),
    }
