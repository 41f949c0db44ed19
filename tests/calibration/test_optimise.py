"""Cutoff optimisation: the gradient of the whole objective, a known optimum, bounds and frozen weights."""

import copy
from types import SimpleNamespace

import pytest
import torch

from differences import STEP
from examples import ARITHMETIC, contract_model, sampled_cutoffs
from fcl.calibration.optimise import calibrate, objective
from fcl.training.loss import LOSS
from tolerances import DIFFERENCE, EQUAL, EQUAL_GRADIENTS, OPTIMUM

pytestmark = pytest.mark.heavy


def settings(**changes):
    values = {
        "epochs": 3,
        "learning_rate": 0.05,
        "batch_size": 4,
        "initial_cutoff": 6.0,
        "lower_bound": 3.5,
        "upper_bound": 7.0,
        "cost": "structures",
        "optimiser": "adam",
        "min_structures": 0,
    }
    return SimpleNamespace(**(values | changes))


@pytest.fixture
def model(small_settings):
    return contract_model(small_settings)


def element_values(graphs, seed):
    """Cutoffs (A) by atomic number for all elements of ``graphs``, and the table with NaN elsewhere."""
    elements = torch.unique(graphs.numbers)
    values = sampled_cutoffs(len(elements), seed)
    return elements, torch.full((119,), float("nan")).index_put((elements,), values)


@pytest.mark.parametrize("mixing", ["arithmetic", "geometric"])
@pytest.mark.parametrize("lam", [1e-6, 1e-2])
def test_gradient_of_the_objective(small_settings, contract_graphs, mixing, lam):
    """dT/da_Z of Eq. 11 (L1 errors of energies and forces, cost) by central differences, pairs selected anew."""
    model = contract_model(small_settings, mixing=mixing)
    indices = torch.arange(len(contract_graphs))
    elements, table = element_values(contract_graphs, 4)
    table.requires_grad_(True)
    total, parts = objective(model, contract_graphs, indices, table, LOSS, lam)
    (gradient,) = torch.autograd.grad(total, table)
    assert float(parts["objective"]) == pytest.approx(float(parts["error"] + lam * parts["cost"]))
    assert len(elements) >= 12 and (gradient[elements] != 0).all()
    numeric = torch.zeros_like(gradient)
    for z in elements.tolist():
        sides = []
        for sign in (1, -1):
            moved = table.detach().clone()
            moved[z] += sign * STEP
            sides.append(float(objective(model, contract_graphs, indices, moved, LOSS, lam)[0].detach()))
        numeric[z] = (sides[0] - sides[1]) / (2 * STEP)
    torch.testing.assert_close(gradient[elements], numeric[elements], **DIFFERENCE)


def test_gradient_of_the_cost(model, contract_graphs):
    """lambda enters by 3 lambda a_Z^2 times the mean over structures of the share of Z among their atoms (Eq. 10)."""
    indices = torch.arange(len(contract_graphs))
    elements, table = element_values(contract_graphs, 5)
    table.requires_grad_(True)
    gradients = [
        torch.autograd.grad(objective(model, contract_graphs, indices, table, LOSS, lam)[0], table)[0]
        for lam in (1e-3, 3e-3)
    ]
    batch = contract_graphs.batch(indices)
    for z in elements.tolist():
        own = (batch.numbers == z).double()
        share = torch.zeros(len(indices)).index_add(0, batch.structure, own) / batch.atoms_per_structure
        expected = (3e-3 - 1e-3) * 3 * float(table[z].detach()) ** 2 * float(share.mean())
        assert float(gradients[1][z] - gradients[0][z]) == pytest.approx(expected, rel=EQUAL_GRADIENTS["rtol"])


def test_an_element_that_a_batch_does_not_hold_has_no_gradient(model, graphs):
    """Its entry of the table gets zero, not NaN, though entries of elements without a cutoff are NaN."""
    silicon = torch.tensor([2, 3])
    _, table = element_values(graphs, 6)
    table.requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective(model, graphs, silicon, table, LOSS, 1e-3)[0], table)
    assert gradient[14] != 0 and gradient.count_nonzero() == 1 and torch.isfinite(gradient).all()


def test_objective_of_structures_without_pairs(model, graphs):
    """Isolated atoms have an error that no cutoff changes, and a cost."""
    alone = torch.tensor([6, 7])
    table = torch.full((119,), float("nan"))
    table[1] = 5.0
    table.requires_grad_(True)
    total, parts = objective(model, graphs, alone, table, LOSS, 1e-3)
    (gradient,) = torch.autograd.grad(total, table)
    assert float(parts["pairs_per_atom"]) == 0.0 and float(parts["cost"]) == pytest.approx(125.0)
    assert float(gradient[1]) == pytest.approx(1e-3 * 3 * 25.0)


class Separable(torch.nn.Module):
    """A model of known error: the energy per atom is wrong by sum_Z w_Z (a_Z - t_Z)^2 over a structure's elements."""

    flexible, single_cutoff = True, False
    selector = ARITHMETIC

    def __init__(self, targets, weights):
        super().__init__()
        self.targets, self.weights = torch.full((119,), float("nan")), torch.full((119,), float("nan"))
        for z in targets:
            self.targets[z], self.weights[z] = targets[z], weights[z]

    def check_cutoff(self, cutoff):
        pass

    def forward(self, batch, cutoffs, **_):
        key = batch.structure * 119 + batch.numbers
        present, row = torch.unique(key, return_inverse=True)
        mean = torch.zeros(len(present)).index_add(0, row, cutoffs) / torch.bincount(row)
        wrong = self.weights[present % 119] * (mean - self.targets[present % 119]) ** 2
        per_atom = torch.zeros(batch.n_structures).index_add(0, present // 119, wrong)
        return {"energy": batch.energy + batch.atoms_per_structure * per_atom, "forces": batch.forces}


def root(share_of_structures, share_of_atoms, target, weight, lam):
    """a > 0 with 0.2 p w (a - t) + 3 lam f a^2 = 0, where Eq. 11 of `Separable` is smallest."""
    a, b, c = 3 * lam * share_of_atoms, 0.2 * share_of_structures * weight, -0.2 * share_of_structures * weight * target
    return (-b + (b * b - 4 * a * c) ** 0.5) / (2 * a)


def test_the_optimum_of_one_element_is_found(graphs):
    """min_a 0.1 w (a - t)^2 + lam a^3 for silicon."""
    expected = root(1.0, 1.0, 5.5, 10.0, 1e-3)
    assert 3.5 < expected < 5.5
    steps = settings(epochs=600, learning_rate=0.01)
    toy = Separable({14: 5.5}, {14: 10.0})
    result = calibrate(toy, graphs, steps, LOSS, 1e-3, seed=0, indices=torch.tensor([2, 3]))
    assert result.cutoffs == {"Si": pytest.approx(expected, abs=OPTIMUM)}


def test_the_optimum_of_several_elements_is_found(graphs):
    """CH3OH, a CO wire and H2: each element has its own target, weight and share of structures and of atoms."""
    indices = torch.tensor([0, 4, 7])
    targets, weights, lam = {1: 5.0, 6: 6.5, 8: 5.8}, {1: 12.0, 6: 15.0, 8: 9.0}, 1e-3
    structures = {1: 2 / 3, 6: 2 / 3, 8: 2 / 3}
    atoms = {1: (4 / 6 + 0 + 1) / 3, 6: (1 / 6 + 1 / 2) / 3, 8: (1 / 6 + 1 / 2) / 3}
    expected = {z: root(structures[z], atoms[z], targets[z], weights[z], lam) for z in targets}
    assert all(3.5 < expected[z] < targets[z] for z in targets)
    toy = Separable(targets, weights)
    table = torch.full((119,), float("nan"))
    for z, value in expected.items():
        table[z] = value
    table.requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective(toy, graphs, indices, table, LOSS, lam)[0], table)
    assert gradient.abs().max() < EQUAL["atol"]
    steps = settings(epochs=700, learning_rate=0.01)
    result = calibrate(toy, graphs, steps, LOSS, lam, seed=0, indices=indices)
    symbols = {"H": 1, "C": 6, "O": 8}
    assert result.cutoffs == {symbol: pytest.approx(expected[z], abs=OPTIMUM) for symbol, z in symbols.items()}


def test_an_optimum_beyond_the_bounds_ends_at_the_bound(graphs):
    """The constrained minimum of a convex problem: the nearest bound, from inside and from outside."""
    low, high = Separable({14: 1.0}, {14: 10.0}), Separable({14: 30.0}, {14: 10.0})
    steps = settings(epochs=60, learning_rate=0.1)
    for toy, bound in ((low, 3.5), (high, 7.0)):
        result = calibrate(toy, graphs, steps, LOSS, 1e-6, seed=0, indices=torch.tensor([2, 3]))
        assert result.cutoffs == {"Si": bound}


def test_cutoffs_stay_within_bounds_and_weights_stay(model, graphs):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps = settings(epochs=12, learning_rate=0.5)
    low = calibrate(model, graphs, steps, LOSS, 1e3, seed=0)
    assert set(low.cutoffs) == {"H", "C", "O", "Si", "K", "Cl", "Ca"}
    assert all(value == 3.5 for value in low.cutoffs.values())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    first, last = low.history[0], low.history[-1]
    assert first["cutoff_H"] == 6.0 and len(low.history) == 12 * 3
    assert last["pairs_per_atom"] < first["pairs_per_atom"]


def test_more_lambda_fewer_pairs_and_the_seed_decides(model, graphs):
    cheap = calibrate(model, graphs, settings(), LOSS, 1e-1, seed=0)
    dear = calibrate(model, graphs, settings(), LOSS, 1e-9, seed=0)
    assert sum(cheap.cutoffs.values()) < sum(dear.cutoffs.values())
    assert calibrate(model, graphs, settings(), LOSS, 1e-9, seed=0).cutoffs == dear.cutoffs
    assert calibrate(model, graphs, settings(), LOSS, 1e-9, seed=1).cutoffs != dear.cutoffs


def test_misuse(model, small_settings, graphs):
    for lam in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="lambda must be positive and finite"):
            calibrate(model, graphs, settings(), LOSS, lam, seed=0)
    with pytest.raises(ValueError, match="without structures"):
        calibrate(model, graphs, settings(), LOSS, 1e-3, seed=0, indices=torch.tensor([], dtype=torch.int64))
    with pytest.raises(ValueError, match="needs an FCL model"):
        calibrate(contract_model(small_settings, "static"), graphs, settings(), LOSS, 1e-3, seed=0)
    with pytest.raises(ValueError, match=r"cutoff 7\.5 A is not within"):
        calibrate(model, graphs, settings(upper_bound=7.5), LOSS, 1e-3, seed=0)
    lacking = copy.copy(graphs)
    lacking.energy_mask, lacking.without_energy = torch.arange(len(graphs)) != 1, 1
    with pytest.raises(ValueError, match=f"calibration: 1 of {len(graphs)} structures have no energy"):
        calibrate(model, lacking, settings(), LOSS, 1e-3, seed=0)
    total = copy.copy(graphs)
    total.energy = graphs.energy - 45_000.0 * graphs.atom_counts
    with pytest.raises(ValueError, match=r"calibration: energies of (45000|4500\d|4499\d).* eV.* of its card"):
        calibrate(model, total, settings(), LOSS, 1e-3, seed=0)


def test_a_model_that_has_diverged_is_named_as_the_fault(model, graphs):
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="objective of step 1 is not finite"):
        calibrate(model, graphs, settings(), LOSS, 1e-3, seed=0)
    assert all(parameter.requires_grad for parameter in model.parameters())
