"""The deterministic optimiser: closed forms, several starts, bounds, kinks, shared cutoffs, independence of batches."""

import json

import numpy as np
import pytest
import torch
from test_optimise import LOSS, Separable, model, root, settings  # noqa: F401

from examples import ARITHMETIC
from fcl.calibration.lbfgs import minimise
from fcl.calibration.optimise import calibrate, objective
from fcl.calibration.whole import ElementGroups, WholeObjective, uniform_of_equal_pairs
from fcl.cutoffs.cost import pairs_per_atom
from tolerances import DIFFERENCE, EQUAL, OPTIMUM

pytestmark = pytest.mark.heavy


def lbfgs(**changes):
    return settings(**({"optimiser": "lbfgs", "epochs": 100} | changes))


class TwoMinima(Separable):
    """One element whose error has two minima, the deeper one at short cutoffs or, ``reverse``, at long ones."""

    def __init__(self, reverse):
        super().__init__({14: 0.0}, {14: 0.0})
        self.tilt = -1.0 if reverse else 1.0

    def forward(self, batch, cutoffs, **_):
        a = torch.zeros(batch.n_structures).index_add(0, batch.structure, cutoffs) / batch.atoms_per_structure
        error = 5.0 * (a - 4.4) ** 2 * (a - 6.2) ** 2 + 1.0 + 0.3 * self.tilt * (a - 5.0)
        return {"energy": batch.energy + batch.atoms_per_structure * error, "forces": batch.forces}


@pytest.mark.parametrize("start", [None, {"H": 4.0, "C": 6.9, "O": 4.5}])
def test_the_optimum_of_several_elements_is_found(graphs, start):
    """As for Adam, from several starts or a given one, and the projected gradient says that it has converged."""
    indices, lam = torch.tensor([0, 4, 7]), 1e-3
    targets, weights = {1: 5.0, 6: 6.5, 8: 5.8}, {1: 12.0, 6: 15.0, 8: 9.0}
    atoms = {1: (4 / 6 + 0 + 1) / 3, 6: (1 / 6 + 1 / 2) / 3, 8: (1 / 6 + 1 / 2) / 3}
    toy = Separable(targets, weights)
    result = calibrate(toy, graphs, lbfgs(), LOSS, lam, seed=0, indices=indices, start=start)
    expected = {s: root(2 / 3, atoms[z], targets[z], weights[z], lam) for s, z in {"H": 1, "C": 6, "O": 8}.items()}
    assert result.cutoffs == pytest.approx(expected, abs=OPTIMUM)
    facts = result.convergence
    assert facts["status"] == "converged" and facts["projected_gradient"] < 1e-4 and not facts["at_bounds"]
    assert facts["evaluations"] == len(result.history) < 60
    assert len(facts["starts"]) == (2 if start is None else 0)  # 6 A is the best uniform one, too
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


@pytest.mark.parametrize(("reverse", "expected"), [(False, 4.4), (True, 6.2)])
def test_the_lowest_of_several_minima_is_kept(graphs, reverse, expected):
    indices = torch.tensor([2, 3])
    check = (graphs, torch.tensor([2]))
    result = calibrate(TwoMinima(reverse), graphs, lbfgs(), LOSS, 1e-9, seed=0, indices=indices, validation=check)
    assert result.cutoffs["Si"] == pytest.approx(expected, abs=0.05)
    starts = result.convergence["starts"]
    assert {round(row["cutoffs"]["Si"], 1) for row in starts} == {4.4, 6.2}
    assert result.convergence["objective"] <= min(row["objective"] for row in starts)
    for row in [*starts, result.convergence]:  # all structures are silicon: the same for each of them
        assert row["validation_objective"] == pytest.approx(row["objective"])
    trapped = calibrate(TwoMinima(reverse), graphs, lbfgs(), LOSS, 1e-9, seed=0, indices=indices, start={"Si": 6.4})
    assert trapped.cutoffs["Si"] == pytest.approx(6.2, abs=0.05)


@pytest.mark.parametrize(("target", "value", "bound"), [(1.0, 3.5, "lower"), (30.0, 7.0, "upper")])
@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_bounds_are_reported(graphs, target, value, bound, optimiser):
    plan = lbfgs(optimiser=optimiser, learning_rate=0.1)
    result = calibrate(Separable({14: target}, {14: 10.0}), graphs, plan, LOSS, 1e-6, seed=0, indices=torch.tensor([2]))
    assert result.cutoffs == {"Si": value} and result.convergence["at_bounds"] == {"Si": bound}
    assert result.convergence["projected_gradient"] == 0.0


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_rare_elements_share_a_cutoff(graphs, optimiser):
    """K, Cl and Ca occur in one structure each; they share one cutoff, the others have their own."""
    plan = lbfgs(optimiser=optimiser, min_structures=2, epochs=300, learning_rate=0.02)
    targets = {z: 5.0 + 0.1 * k for k, z in enumerate(torch.unique(graphs.numbers).tolist())}
    result = calibrate(Separable(targets, dict.fromkeys(targets, 10.0)), graphs, plan, LOSS, 1e-9, seed=0)
    shared = result.convergence["shared_cutoff"]
    assert set(shared) == {"K", "Cl", "Ca"} and len({result.cutoffs[symbol] for symbol in shared}) == 1
    assert len(set(result.cutoffs.values())) == len(result.cutoffs) - len(shared) + 1


def test_gradient_and_value_on_all_structures(model, contract_graphs):  # noqa: F811
    """One batch of all structures gives the objective of mini-batches; the gradient does too; batches do not matter."""
    indices = torch.arange(len(contract_graphs))
    table = torch.linspace(4.0, 6.5, 119, requires_grad=True)
    for mean in ("structures", "atoms"):
        total, parts = objective(model, contract_graphs, indices, table, LOSS, 1e-3, mean)
        (expected,) = torch.autograd.grad(total, table)
        for size in (1, 3, len(indices)):
            whole = WholeObjective(model, contract_graphs, LOSS, 1e-3, mean, indices, size)
            found, slope = whole.of(table.detach().numpy().astype(float), gradient=True)
            assert found == pytest.approx({name: float(value) for name, value in parts.items()}, rel=EQUAL["rtol"])
            torch.testing.assert_close(torch.from_numpy(slope).to(expected.dtype), expected, **DIFFERENCE)


def test_a_shared_cutoff_has_the_derivatives_of_all_its_elements(model, graphs):  # noqa: F811
    """dT/dx of the variables, by central differences of the cost and error that they give together."""
    whole = WholeObjective(model, graphs, LOSS, 1e-2, "structures", torch.arange(len(graphs)), len(graphs))
    groups = ElementGroups(whole, fewest=10**6)  # all elements are rare: one variable
    assert len(groups) == 1 and len(groups.elements) > 1
    x, step = np.array([5.0]), 1e-4
    high, low = (whole.of(groups.table(x + sign * step))[0]["objective"] for sign in (1.0, -1.0))
    found = groups.sums(whole.of(groups.table(x), gradient=True)[1])
    assert found == pytest.approx([(high - low) / (2.0 * step)], rel=1e-3)


def test_deterministic_and_independent_of_batch_size_and_seed(model, graphs):  # noqa: F811
    first = calibrate(model, graphs, lbfgs(), LOSS, 1e-3, seed=0)
    again = calibrate(model, graphs, lbfgs(), LOSS, 1e-3, seed=1)
    assert first.cutoffs == again.cutoffs and first.history == again.history  # bit for bit
    other = calibrate(model, graphs, lbfgs(batch_size=3), LOSS, 1e-3, seed=0)
    assert other.cutoffs == pytest.approx(first.cutoffs, abs=OPTIMUM)
    adam = calibrate(model, graphs, settings(epochs=30), LOSS, 1e-3, seed=0)
    assert first.convergence["objective"] <= adam.convergence["objective"]


def test_a_kink_ends_the_search_and_its_gradient_is_reported():
    """|x - t| has no vanishing gradient at its minimum."""
    target = np.array([4.3, 5.1])

    def kinks(x):
        return {"objective": float(1.0 + np.abs(x - target).sum())}, np.sign(x - target)

    run = minimise(kinks, np.array([6.0, 6.0]), 3.5, 7.0, gain=1e-4, evaluations=200, step=1.0)
    assert run.status == "no further decrease" and run.projected_gradient > 0.1
    assert run.objective < 1.2 and len(run.rows) < 60
    assert minimise(kinks, np.array([6.0, 6.0]), 3.5, 7.0, gain=1e-4, evaluations=3, step=1.0).status == (
        "evaluations exhausted"
    )


def test_the_uniform_cutoff_of_equal_pairs(graphs):
    """Against counting: no fewer pairs, and fewer just below the last of them, which is not at the cutoff itself."""

    def count(cutoff, indices):
        batch = graphs.batch(indices)
        chosen = graphs.select_pairs(batch, torch.full((batch.n_atoms,), cutoff), ARITHMETIC)
        return float(pairs_per_atom(chosen.pair_structure, batch.structure, batch.n_structures).mean())

    for indices in (torch.arange(len(graphs)), torch.tensor([5, 0, 2])):
        for pairs in (0.5, 2.0, 10.0, count(5.3, indices)):
            found = uniform_of_equal_pairs(graphs, pairs, indices)
            kept = torch.sort(graphs.candidates(indices)[0]).values
            last = float(kept[kept <= found][-1])
            assert count(found, indices) >= pairs * (1 - 1e-9) and count(last - 1e-5, indices) < pairs
            assert last < found
    everything = count(7.0, torch.tensor([0]))  # the middle of the cutoffs that keep all pairs of a molecule
    last = float(graphs.candidates(torch.tensor([0]))[0].max())
    found = uniform_of_equal_pairs(graphs, everything, torch.tensor([0]), low=5.0, high=6.0)
    assert found == pytest.approx(0.5 * (max(last, 5.0) + 6.0)) and last < 6.0
    with pytest.raises(ValueError, match="more than the store holds"):
        uniform_of_equal_pairs(graphs, 1e4)
