"""Mixing rules, assignment, the cost model, measured pairs."""

import numpy as np
import pytest
import torch

from fcl.cutoffs.cost import cost, pairs_per_atom
from fcl.cutoffs.mixing import mixing_rule
from fcl.cutoffs.rules import element_cutoffs, element_table, uniform_cutoffs


def test_mixing_rules():
    a, b = torch.tensor([4.0, 3.0]), torch.tensor([6.0, 12.0])
    torch.testing.assert_close(mixing_rule("arithmetic")(a, b), torch.tensor([5.0, 7.5]))
    torch.testing.assert_close(mixing_rule("geometric")(a, b), torch.tensor([24.0**0.5, 6.0]))
    for name in ("arithmetic", "geometric"):
        torch.testing.assert_close(mixing_rule(name)(a, b), mixing_rule(name)(b, a), rtol=0, atol=0)
    with pytest.raises(ValueError, match="'harmonic' is unknown"):
        mixing_rule("harmonic")


def test_element_assignment():
    table = element_table({"H": 3.9, "O": 5.5})
    numbers = torch.tensor([8, 1, 1])
    torch.testing.assert_close(element_cutoffs(numbers, table), torch.tensor([5.5, 3.9, 3.9]))
    with pytest.raises(ValueError, match="no cutoff is given for C, Si"):
        element_cutoffs(torch.tensor([6, 1, 14]), table)
    with pytest.raises(ValueError, match="'Xx' is not a chemical symbol"):
        element_table({"Xx": 4.0})
    with pytest.raises(ValueError, match="H: -1"):
        element_table({"H": -1.0})
    assert uniform_cutoffs(numbers, 6.0, torch.float32).tolist() == [6.0] * 3


def test_cost_is_a_mean_over_structures():
    """Eq. 10: the mean over structures of each one's mean of a^3, not the mean over all atoms."""
    cutoffs = torch.tensor([2.0, 2.0, 2.0, 4.0])
    structure = torch.tensor([0, 0, 0, 1])
    assert float(cost(cutoffs, structure, 2)) == pytest.approx((8.0 + 64.0) / 2)
    cutoffs.requires_grad_(True)
    (gradient,) = torch.autograd.grad(cost(cutoffs, structure, 2), cutoffs)
    np.testing.assert_allclose(gradient.numpy(), [12 / 6, 12 / 6, 12 / 6, 48 / 2])


def test_pairs_per_atom_counts_both_directions():
    result = pairs_per_atom(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 1, 2, 2, 2]), 3)
    torch.testing.assert_close(result, torch.tensor([2.0, 0.0, 2 / 3]))
