"""Cutoff optimisation: the gradient of the whole objective, a known optimum, bounds and frozen weights."""

from types import SimpleNamespace

import pytest
import torch

from examples import enlarged
from fcl.calibration import calibrate, objective
from fcl.model.files import build_model

LOSS = SimpleNamespace(energy_weight=0.1, force_weight=1.0)


def settings(**changes):
    values = {
        "epochs": 3,
        "learning_rate": 0.05,
        "batch_size": 4,
        "initial_cutoff": 6.0,
        "lower_bound": 3.5,
        "upper_bound": 7.0,
    }
    return SimpleNamespace(**(values | changes))


@pytest.fixture
def model(small_settings):
    torch.manual_seed(3)
    return enlarged(build_model("fcl", small_settings, 7.0, dtype=torch.float64))


def test_gradient_of_the_objective(model, graphs):
    indices = torch.arange(len(graphs))
    table = torch.full((119,), float("nan"))
    values = {1: 4.4, 6: 5.1, 8: 6.2, 14: 5.6, 19: 6.7, 17: 4.9, 20: 5.3}
    for z, value in values.items():
        table[z] = value
    table.requires_grad_(True)
    total, parts = objective(model, graphs, indices, table, LOSS, 1e-3)
    (gradient,) = torch.autograd.grad(total, table)
    assert parts["objective"] == pytest.approx(parts["error"] + 1e-3 * parts["cost"])
    step = 1e-5
    for z in values:
        sides = []
        for sign in (1, -1):
            moved = table.detach().clone()
            moved[z] += sign * step
            sides.append(float(objective(model, graphs, indices, moved, LOSS, 1e-3)[0].detach()))
        assert float(gradient[z]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4, abs=1e-6)


class Quadratic(torch.nn.Module):
    """A model whose error is known: E = E_ref + n w (a_mean - target)^2 for one element per structure."""

    def __init__(self, target, weight):
        super().__init__()
        self.target, self.weight = target, weight
        self.mixing = lambda a, b: 0.5 * (a + b)

    def forward(self, batch, cutoffs, **_):
        mean = torch.zeros(batch.n_structures).index_add(0, batch.structure, cutoffs) / batch.atoms_per_structure
        energy = batch.energy + batch.atoms_per_structure * self.weight * (mean - self.target) ** 2
        return {"energy": energy, "forces": batch.forces}


def test_the_optimum_of_a_known_problem_is_found(graphs):
    """min_a 0.1 w (a - t)^2 + lam a^3: a* solves 0.2 w (a - t) + 3 lam a^2 = 0."""
    crystals = torch.tensor([2, 3])  # silicon only
    target, weight, lam = 5.5, 10.0, 1e-3
    steps = settings(epochs=600, learning_rate=0.01)
    result = calibrate(Quadratic(target, weight), graphs, steps, LOSS, lam, seed=0, indices=crystals)
    a, b, c = 3 * lam, 0.2 * weight, -0.2 * weight * target
    expected = (-b + (b * b - 4 * a * c) ** 0.5) / (2 * a)
    assert result.cutoffs == {"Si": pytest.approx(expected, abs=2e-3)}
    assert 3.5 < expected < 5.5


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


def test_misuse(model, graphs):
    with pytest.raises(ValueError, match="lambda must be positive"):
        calibrate(model, graphs, settings(), LOSS, 0.0, seed=0)
    with pytest.raises(ValueError, match="without structures"):
        calibrate(model, graphs, settings(), LOSS, 1e-3, seed=0, indices=torch.tensor([], dtype=torch.int64))
