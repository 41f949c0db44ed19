"""Numbers of neighbours by element: the gradient of the objective, a decrease, bounds, frozen weights."""

import numpy as np
import pytest
import torch
from test_optimise import LOSS

from differences import STEP
from examples import contract_model
from fcl.calibration.neighbours import NeighbourObjective, calibrate_neighbours
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.file import read_choice, write_scheme
from fcl.cutoffs.schemes import NeighbourCutoffs
from fcl.evaluation.errors import evaluate
from tolerances import DIFFERENCE, EQUAL

pytestmark = pytest.mark.heavy


@pytest.fixture
def model(small_settings):
    flexible = contract_model(small_settings)
    flexible.card = {"r_min_angstrom": 3.5}
    return flexible


def objective_of(model, graphs, lam=1e-2, mean="structures", size=7):
    indices = torch.arange(len(graphs))
    scheme = NeighbourCutoffs(9.5).bounded(3.5, 7.0)
    return NeighbourObjective(scheme, model, graphs, LOSS, lam, mean, indices, size)


@pytest.mark.parametrize("lam, mean", [(1e-6, "structures"), (1e-2, "atoms")])
def test_gradient_of_the_objective(model, contract_graphs, lam, mean):
    """dT/dN_Z, with errors of energies and forces and the cost of the cutoffs, by central differences."""
    whole = objective_of(model, contract_graphs, lam, mean)
    elements = whole.elements.tolist()
    table = np.full(119, np.nan)
    table[elements] = np.random.default_rng(3).uniform(6.0, 20.0, size=len(elements))
    slope, numeric = whole.of(table, gradient=True)[1], np.zeros(119)
    for z in elements:
        sides = []
        for sign in (1.0, -1.0):
            moved = table.copy()
            moved[z] += sign * STEP
            sides.append(whole.of(moved)[0]["objective"])
        numeric[z] = (sides[0] - sides[1]) / (2 * STEP)
    torch.testing.assert_close(torch.as_tensor(slope), torch.as_tensor(numeric), **DIFFERENCE)
    assert int((np.abs(slope[elements]) > 1e-7).sum()) >= 8


def test_batches_do_not_matter(model, contract_graphs):
    table = np.full(119, 11.0)
    parts, slope = objective_of(model, contract_graphs, size=1).of(table, gradient=True)
    for size in (5, len(contract_graphs)):
        other, others = objective_of(model, contract_graphs, size=size).of(table, gradient=True)
        assert other == pytest.approx(parts, rel=EQUAL["rtol"])
        np.testing.assert_allclose(others, slope, rtol=1e-8, atol=1e-9)


def test_fewer_neighbours_where_they_cost_more(model, contract_graphs, tmp_path):
    """The objective falls below that of one number for all; cost and pairs fall with lambda; the file is used."""
    start, state = NeighbourCutoffs(14.0), {k: v.clone() for k, v in model.state_dict().items()}
    cheap, dear = (
        calibrate_neighbours(model, contract_graphs, lam, start, loss=LOSS, evaluations=8) for lam in (1e-5, 1e-2)
    )
    for found in (cheap, dear):
        lowest = min(row["objective"] for row in found.history)
        assert found.history[0]["objective"] > found.parts["objective"] == pytest.approx(lowest)
        assert len(found.history) <= 8 and found.status
    assert dear.parts["cost"] < cheap.parts["cost"] and dear.parts["pairs_per_atom"] < cheap.parts["pairs_per_atom"]
    assert dear.scheme.width == start.width and len(dear.scheme.neighbours) == len(
        torch.unique(contract_graphs.numbers)
    )
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    write_scheme(tmp_path / "mine.json", dear.scheme, {})
    assert read_choice(tmp_path / "mine.json").choice == dear.scheme
    choice = CutoffChoice(model, tmp_path / "mine.json")

    def rule(batch):
        return torch.as_tensor(np.array(choice.for_candidates(batch.numbers.numpy())))

    errors = evaluate(model, contract_graphs, rule, 5, **choice.model_options)
    assert errors.pairs.mean() == pytest.approx(dear.parts["pairs_per_atom"])


def test_bounds_and_shared_numbers(model, contract_graphs):
    found = calibrate_neighbours(
        model, contract_graphs, 1.0, NeighbourCutoffs(14.0), loss=LOSS, evaluations=12, bounds=(8.0, 30.0),
        min_structures=10**6,
    )  # fmt: skip
    assert set(found.scheme.neighbours.values()) == {8.0}


def test_what_is_refused(model, contract_graphs):
    with pytest.raises(ValueError, match="lambda must be positive and finite, got 0"):
        calibrate_neighbours(model, contract_graphs, 0.0, NeighbourCutoffs(14.0))
    with pytest.raises(ValueError, match="no number of neighbours is given for C, Ca, Cl"):
        calibrate_neighbours(model, contract_graphs, 1.0, NeighbourCutoffs({"H": 14.0}))
    with pytest.raises(ValueError, match="upper: cutoff 9.0 A is not within"):
        calibrate_neighbours(model, contract_graphs, 1.0, NeighbourCutoffs(14.0, upper=9.0))
