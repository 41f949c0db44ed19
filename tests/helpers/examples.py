"""Structures, labels and model settings that many tests use (a module of its own: `conftest` is not for importing)."""

import numpy as np

from fcl.cutoffs.edges import RadialSelector
from fcl.models.registry import ARCHITECTURES
from project import ROOT

#: Settings of a model as `fcl convert` makes it, for `contract_model`: density blocks, transformed distances.
CONVERTED = {
    "architecture": "mace-torch", "elements": tuple(range(1, 101)), "max_ell": 2, "correlation": 2,
    "interaction_first": "RealAgnosticDensityInteractionBlock", "distance_transform": "Agnesi",
    "interaction": "RealAgnosticDensityResidualInteractionBlock",
}  # fmt: skip

#: Architecture and mixing rule of the flexible models that the contract is tested on: every registered architecture.
CONTRACTS = [(name, "arithmetic") for name in [*ARCHITECTURES, "converted"]] + [("mace", "geometric")]

#: The selector of the paper's models.
ARITHMETIC = RadialSelector("arithmetic")

#: Changes of Table 2 for a model that trains in a moment.
SMALL_MODEL = {"hidden_irreps": "8x0e + 8x1o", "mlp_irreps": "4x0e", "radial_mlp": (16, 16)}


def enlarged(model, factor=10.0):
    """Scale the per-element weights up: at initialisation energies are 1e-4 eV, too small for absolute tolerances."""
    import torch

    with torch.no_grad():
        for interaction in model.interactions:
            interaction.skip_tp.weight.mul_(factor)
    return model


def labelled(atoms, seed, subset="default", split="train"):
    """A `Frame` from an ASE structure with random labels (eV, eV/A): models are compared, not fitted, with these."""
    from fcl.data.frames import Frame

    rng = np.random.default_rng(seed)
    return Frame(
        numbers=atoms.numbers.astype(np.int64),
        positions=np.asarray(atoms.positions),
        cell=np.asarray(atoms.cell.array),
        pbc=np.asarray(atoms.pbc),
        energy=float(rng.normal()),
        forces=rng.normal(size=(len(atoms), 3)),
        subset=subset,
        split=split,
    )


def structures():
    """One ASE structure of each kind: molecule, layer, crystals (tiny, skewed, flat), single atom, no pair at all."""
    from ase import Atoms
    from ase.build import bulk, graphene, molecule

    rng = np.random.default_rng(7)
    layer = graphene(size=(2, 1, 1), vacuum=8.0)
    layer.pbc = (True, True, False)
    skewed = bulk("Si", "diamond", a=5.43)
    skewed.set_cell(
        skewed.cell.array @ np.array([[1.0, 0.3, 0.0], [0.0, 1.1, -0.2], [0.1, 0.0, 0.9]]), scale_atoms=True
    )
    chain = Atoms("CO", positions=[[0, 0, 0], [1.6, 0.2, 0.1]], cell=[3.1, 0, 0], pbc=(True, False, False))
    outside = bulk("KCl", "rocksalt", a=6.3)
    outside.positions += [[25.0, -31.0, 7.0], [-9.0, 3.0, 14.0]]
    cases = [
        molecule("CH3OH"),
        layer,
        bulk("Si", "diamond", a=5.43, cubic=True),
        skewed,
        chain,
        outside,
        Atoms("H"),
    ]
    cases.append(Atoms("H2", positions=[[0, 0, 0], [0, 0, 9.0]]))
    cases.append(bulk("Ca", "fcc", a=5.5))
    for atoms in cases:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return cases


def random_structures():
    """ASE structures without any symmetry: cluster, wire, layer and two crystals, one much smaller than a cutoff."""
    from ase import Atoms

    rng = np.random.default_rng(21)
    lattice = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)[:, ::-1]

    def atoms(symbols, spacing, cell, pbc):
        """Atoms on a jittered lattice of ``spacing`` (A, so that no two coincide), moved by whole lattice vectors."""
        corners = lattice[: len(symbols)] * np.asarray(spacing) + rng.uniform(-0.3, 0.3, size=(len(symbols), 3))
        images = rng.integers(-2, 3, size=(len(symbols), 3)) * np.asarray(pbc)
        return Atoms(symbols, positions=corners + images @ np.asarray(cell, dtype=float), cell=cell, pbc=pbc)

    return [
        atoms(["H", "C", "N", "O", "S", "Cl", "Fe"], [2.1, 2.3, 2.2], np.zeros((3, 3)), [False, False, False]),
        atoms(["C", "O", "H"], [1.0, 1.5, 1.6], [[2.9, 0.2, 0], [0, 0, 0], [0, 0, 0]], [True, False, False]),
        atoms(["Ti", "O", "O", "H"], [1.9, 2.2, 2.1], [[4.2, 0, 0], [1.3, 3.9, 0], [0.4, 0.3, 9]], [True, True, False]),
        atoms(["Li", "F"], [1.0, 1.0, 1.4], [[2.3, 0.1, 0], [0.9, 2.4, 0.2], [-0.7, 0.5, 2.8]], [True, True, True]),
        atoms(["Na", "Cl", "H", "O", "P"], [2.4, 2.3, 2.6], [[4.9, 0, 0.3], [0.8, 5.1, 0], [0, -1.1, 5.4]], [True] * 3),
    ]


def embedded_frames(per_subset=2):
    """The smallest structures of each subset of the shipped validation split, one of each composition."""

    from fcl.data.read import read_frames

    chosen = {}
    source = ROOT / "resources" / "embedded" / "val.xyz.gz"
    for frame in sorted(read_frames(source, "val"), key=len):
        compositions = chosen.setdefault(frame.subset, {})
        if len(compositions) < per_subset:
            compositions.setdefault(tuple(sorted(frame.numbers)), frame)
    return [frame for compositions in chosen.values() for frame in compositions.values()]


def contract_model(settings, kind="fcl", mixing="arithmetic", backend="auto", architecture="mace"):
    """A small model in float64 with forces of order 0.1 to 1 eV/A; always the same weights for the same arguments."""
    import torch

    from fcl.models.files import build_model

    torch.manual_seed(17)
    settings, factor = settings.model_copy(update={"mixing_rule": mixing}), 60.0
    if architecture == "converted":
        from fcl.config.architectures import MACETorchSettings

        settings, architecture = MACETorchSettings.model_validate({**settings.model_dump(), **CONVERTED}), "mace-torch"
        factor = 25.0  # energies are quadratic in the weights
    r_max, neighbors = (7.0, 10.0) if kind == "fcl" else (5.5, 10.0)
    model = build_model(
        kind, settings, r_max, neighbors, dtype=torch.float64, backend=backend, architecture=architecture
    )
    return enlarged(model, factor=factor)


def mace_inputs(batch):
    """A batch as the dictionary of directed edges that mace-torch takes."""
    import torch

    cells = batch.cells.index_select(0, batch.pair_structure)
    shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, cells)
    return {
        "positions": batch.positions.clone(),
        "node_attrs": torch.nn.functional.one_hot(batch.numbers - 1, 100).double(),
        "edge_index": torch.cat([batch.pair_index, batch.pair_index.flip(0)], dim=1),
        "shifts": torch.cat([shifts, -shifts]),
        "unit_shifts": torch.cat([batch.pair_shifts, -batch.pair_shifts]),
        "cell": batch.cells.reshape(-1, 3),
        "batch": batch.structure,
        "ptr": batch.ptr,
    }


def sampled_cutoffs(count, seed):
    """Cutoffs [count] (A) drawn from U(3.5, 7.0) in float64."""
    import torch

    from fcl.cutoffs.sampling import sample_cutoffs

    return sample_cutoffs(count, 3.5, 7.0, torch.Generator().manual_seed(seed), torch.float64)


def frame_settings(split, **changes):
    """What a data manifest says of the frames of ``split``; ``changes`` are keys of the manifest."""
    from fcl.data.manifest import DataManifest

    facts = {"name": "toy", "title": "Toy set", "licence": "CC0", "citation": "none", "version": "1"}
    splits = {name: {"file": f"{name}.xyz"} for name in ("train", "val", "test")}
    return DataManifest.model_validate({**facts, "splits": splits, **changes}).frame_settings(split)
