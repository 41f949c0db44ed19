"""Fixtures shared by all tests: float64, one thread, fixed seeds, structures of every periodicity."""

import numpy as np
import pytest


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


@pytest.fixture(autouse=True)
def numerics():
    """Float64 by default and one thread, so that tests are exact and repeatable."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def frames():
    """Frames of `structures` with random labels."""
    return [labelled(atoms, seed) for seed, atoms in enumerate(structures())]


@pytest.fixture(scope="session")
def graphs(frames):
    """All `frames` as `GraphData` in float64 with pairs up to 7 A."""
    import torch

    from fcl.data.batch import GraphData
    from fcl.data.store import arrays_from_frames

    return GraphData(arrays_from_frames(frames, 7.0), torch.float64)


@pytest.fixture(scope="session")
def model_settings():
    """Table 2, as in the protocol."""
    from fcl.config import ModelSettings

    return ModelSettings(
        num_elements=100, hidden_irreps="32x0e + 32x1o", mlp_irreps="16x0e", num_bessel=10, polynomial_order=5,
        correlation=1, max_ell=1, num_interactions=2, radial_mlp=[64, 64, 64], fcl_avg_num_neighbors=50.0,
        radial_embedding_hidden=128, cutoff_embedding_hidden=64, cutoff_embedding="released", mixing_rule="arithmetic",
    )  # fmt: skip
