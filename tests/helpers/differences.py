"""Central differences of energies, all components of a structure at once: one batch holds a displaced copy for each."""

from dataclasses import replace

import torch

#: Step of the differences: A for positions and cutoffs, dimensionless for strain. See `tolerances.DIFFERENCE`.
STEP = 1e-4


def both_sides(values, step=STEP):
    """[*shape] -> [2 n, *shape] for the n components of ``values``: each moved by +step, then each by -step."""
    moves = step * torch.eye(values.numel(), dtype=values.dtype).view(-1, *values.shape)
    return torch.cat([values + moves, values - moves])


def quotient(energies, step=STEP):
    """[2 n] energies of `both_sides` -> [n] central differences."""
    plus, minus = energies.chunk(2)
    return (plus - minus) / (2 * step)


def copies(graphs, k, cutoffs, selector):
    """Structure ``k`` of ``graphs`` once for each row of ``cutoffs`` [n_copies, n_atoms] (A), pairs chosen for each."""
    batch = graphs.batch(torch.full((len(cutoffs),), k))
    return graphs.select_pairs(batch, cutoffs.reshape(-1), selector)


def force_differences(model, graphs, k, cutoffs):
    """-dE/dx [n_atoms, 3] (eV/A) of structure ``k``; the pairs are those of the undisplaced structure."""
    positions = both_sides(graphs.batch(torch.tensor([k])).positions)
    many = cutoffs.expand(len(positions), -1)
    batch = replace(copies(graphs, k, many, model.selector), positions=positions.reshape(-1, 3))
    return -quotient(model(batch, many.reshape(-1), forces=False)["energy"]).view(-1, 3)


def stress_differences(model, graphs, k, cutoffs):
    """dE/dstrain / V [3, 3] (eV/A^3) of structure ``k``: all nine components, positions and cell follow the strain."""
    strains = both_sides(torch.eye(3))
    many = cutoffs.expand(len(strains), -1)
    batch = copies(graphs, k, many, model.selector)
    positions = torch.einsum("na,nab->nb", batch.positions, strains.index_select(0, batch.structure))
    strained = replace(batch, positions=positions, cells=batch.cells @ strains)
    energies = model(strained, many.reshape(-1), forces=False)["energy"]
    return quotient(energies).view(3, 3) / torch.linalg.det(graphs.cells[k]).abs()


def cutoff_differences(model, graphs, k, cutoffs, step=STEP):
    """dE/da [n_atoms] (eV/A) of structure ``k`` with the pairs selected anew on both sides, and both numbers of pairs.

    Returns (derivatives [n_atoms], pairs [2, n_atoms]: how many pairs there are at a_i + step and at a_i - step).
    """
    many = both_sides(cutoffs, step)
    batch = copies(graphs, k, many, model.selector)
    energies = model(batch, many.reshape(-1), forces=False)["energy"]
    return quotient(energies, step), torch.bincount(batch.pair_structure, minlength=len(many)).view(2, -1)


def cutoff_gradient(model, graphs, k, cutoffs):
    """dE/da [n_atoms] (eV/A) of structure ``k`` by automatic differentiation."""
    cutoffs = cutoffs.detach().clone().requires_grad_(True)
    batch = copies(graphs, k, cutoffs[None], model.selector)
    energy = model(batch, cutoffs, forces=False, training=True)["energy"].sum()
    return torch.autograd.grad(energy, cutoffs, materialize_grads=True)[0]
