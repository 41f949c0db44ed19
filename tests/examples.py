"""Structures, labels and model settings that many tests use (a module of its own: `conftest` is not for importing)."""

import numpy as np

#: Changes of Table 2 for a model that trains in a moment.
SMALL_MODEL = {"hidden_irreps": "8x0e + 8x1o", "mlp_irreps": "4x0e", "radial_mlp": (16, 16)}


def enlarged(model):
    """Scale the per-element weights up: at initialisation energies are 1e-4 eV, too small for absolute tolerances."""
    import torch

    with torch.no_grad():
        for interaction in model.interactions:
            interaction.skip_tp.weight.mul_(10.0)
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
