"""Inputs that break models: nothing to sum over, ties, other types and layouts, numbers that are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from differences import both_sides, copies, cutoff_gradient, quotient
from examples import ARITHMETIC, contract_model, labelled, sampled_cutoffs
from fcl.cutoffs.rules import uniform_cutoffs, uniform_rule
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.evaluation.diatomics import diatomic_curve
from fcl.evaluation.errors import evaluate, rows_by_subset
from fcl.models.conditioning import BesselBasis
from fcl.models.files import build_model
from tolerances import DIFFERENCE, EQUAL, FLOAT32, PARAMETER_DIFFERENCE, ZERO_FORCE


@pytest.fixture(scope="module")
def base(small_settings):
    return contract_model(small_settings)


@pytest.fixture(params=["fast", "reference"])
def model(request, base):
    base.backend = request.param
    base.zero_grad()
    return base


def graph_data(*structures, dtype=torch.float64):
    return GraphData(arrays_from_frames([labelled(atoms, k) for k, atoms in enumerate(structures)], 7.0), dtype)


def everything(graphs, seed=1):
    """Batch of all structures with pairs, and its cutoffs."""
    batch = graphs.batch(torch.arange(len(graphs)))
    cutoffs = sampled_cutoffs(batch.n_atoms, seed).to(graphs.dtype)
    return graphs.select_pairs(batch, cutoffs, ARITHMETIC), cutoffs


def training_gradients(model, batch, cutoffs):
    """Gradients of an energy and force loss with respect to the parameters, and to the cutoffs."""
    cutoffs = cutoffs.clone().requires_grad_(True)
    output = model(batch, cutoffs, training=True, stress=bool((torch.linalg.det(batch.cells) != 0).all()))
    loss = sum(((value if name == "energy" else 3 * value) ** 2).sum() for name, value in output.items())
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, cutoffs.grad


def test_no_pairs_at_all(model):
    """Isolated atoms, in a cell and without one: zero everywhere, and a training step has finite gradients."""
    data = graph_data(Atoms("H"), Atoms("OH", positions=[[0, 0, 0], [0, 0, 8.0]]))
    batch, cutoffs = everything(data)
    assert batch.pair_index.shape == (2, 0)
    output = model(batch, cutoffs)
    assert all(value.abs().max() == 0 for value in output.values())
    _, gradients, slopes = training_gradients(model, batch, cutoffs)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values()) and slopes.abs().max() == 0
    cell = graph_data(Atoms("H", cell=[9.0] * 3, pbc=True))
    batch, cutoffs = everything(cell)
    assert model(batch, cutoffs, stress=True)["stress"].abs().max() == 0


def test_structures_without_pairs_do_not_disturb_the_others(model, graphs):
    """Structures 6 and 7 are isolated atoms: with and without them the others' training gradients are the same."""
    both = torch.arange(len(graphs))
    some = both[(both != 6) & (both != 7)]
    results = []
    for indices in (both, some):
        batch = graphs.batch(indices)
        cutoffs = uniform_cutoffs(batch.numbers, 5.3, torch.float64)
        model.zero_grad()
        results.append(training_gradients(model, graphs.select_pairs(batch, cutoffs, ARITHMETIC), cutoffs)[:2])
    torch.testing.assert_close(results[0][0], results[1][0], **EQUAL)
    for name, gradient in results[1][1].items():
        torch.testing.assert_close(results[0][1][name], gradient, msg=name, **EQUAL)


def test_one_atom_in_a_cell(model):
    """A lattice of one atom has no forces by symmetry, but a stress, and an energy that its own cutoff decides."""
    data = graph_data(Atoms("Fe", cell=[[2.4, 0.1, 0], [0.3, 2.6, 0], [0, 0.2, 2.9]], pbc=True))
    cutoffs = torch.tensor([6.1])
    batch = copies(data, 0, cutoffs[None], model.selector)
    assert (batch.pair_index == 0).all() and batch.pair_index.shape[1] > 20
    output = model(batch, cutoffs, stress=True)
    assert output["forces"].abs().max() < ZERO_FORCE and output["stress"].abs().max() > 1e-3
    many = both_sides(cutoffs)
    numeric = quotient(model(copies(data, 0, many, model.selector), many.reshape(-1), forces=False)["energy"])
    torch.testing.assert_close(cutoff_gradient(model, data, 0, cutoffs), numeric, **DIFFERENCE)


def test_a_perfect_crystal_at_the_distance_of_a_shell(model):
    """Pairs at identical distances, exactly at the cutoff: no forces, and the energy is that of the shells inside."""
    a = 5.0
    data = graph_data(bulk("Cu", "fcc", a=a, cubic=True))
    shells = [a * (k / 2) ** 0.5 for k in (1, 2, 3)]  # 12, 6 and 24 neighbours at a sqrt(k / 2)
    energies = {}
    for cutoff in (shells[1] - 1e-4, shells[1], shells[1] + 1e-4):
        cutoffs = torch.full((4,), cutoff)
        batch = copies(data, 0, cutoffs[None], model.selector)
        output = model(batch, cutoffs)
        assert output["forces"].abs().max() < ZERO_FORCE
        energies[cutoff] = float(output["energy"])
        assert 2 * batch.pair_index.shape[1] in (4 * 12, 4 * 18)
    below, at, above = energies.values()
    slope = float(cutoff_gradient(model, data, 0, torch.full((4,), shells[1])).sum())
    torch.testing.assert_close(torch.tensor((above - below) / 2e-4), torch.tensor(slope), **DIFFERENCE)
    assert below != at


def test_all_cutoffs_at_the_limit(model, contract_graphs):
    """a = r_max for every atom: all pairs of the store, finite second derivatives."""
    batch = contract_graphs.batch(torch.arange(len(contract_graphs)))
    cutoffs = uniform_cutoffs(batch.numbers, 7.0, torch.float64)
    batch = contract_graphs.select_pairs(batch, cutoffs, ARITHMETIC)
    assert batch.pair_index.shape[1] == int(contract_graphs.pair_ptr[-1])
    cutoffs.requires_grad_(True)
    (slopes,) = torch.autograd.grad((model(batch, cutoffs, training=True)["forces"] ** 2).sum(), cutoffs)
    assert torch.isfinite(slopes).all() and slopes.abs().max() > 1e-3


def test_bessel_functions_at_the_ends_of_their_range():
    """They vanish at r_max (A), tend to a pi sqrt(2 / r_max) / r_max at short distance, and are finite in between."""
    basis = BesselBasis(7.0, 10)
    assert basis(torch.tensor([[7.0]])).abs().max() < ZERO_FORCE
    short = basis(torch.tensor([[1e-5]]))[0]
    expected = (2 / 7.0) ** 0.5 * torch.pi / 7.0 * torch.arange(1, 11)
    torch.testing.assert_close(short, expected, rtol=DIFFERENCE["rtol"], atol=0)
    r = torch.linspace(0.1, 7.0, 100)[:, None].requires_grad_(True)
    assert torch.isfinite(torch.autograd.grad(basis(r).sum(), r)[0]).all()


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["fcl", "static"])
@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_single_precision(small_settings, contract_frames, kind, backend):
    """The same weights in float32: the same pairs; results and cutoff gradients within rounding, all in float32."""
    double = contract_model(small_settings, kind, backend=backend)
    single = build_model(kind, small_settings, double.cutoff_limit, 10.0, dtype=torch.float32, backend=backend)
    single.load_state_dict(double.state_dict())
    results = []
    for model, dtype in ((double, torch.float64), (single, torch.float32)):
        data = GraphData(arrays_from_frames(contract_frames, 7.0), dtype)
        batch = data.batch(torch.nonzero(torch.linalg.det(data.cells).abs() > 1e-6).flatten())
        cutoffs = sampled_cutoffs(batch.n_atoms, 4) if kind == "fcl" else torch.full((batch.n_atoms,), 5.5)
        cutoffs = cutoffs.to(dtype).requires_grad_(True)
        batch = data.select_pairs(batch, cutoffs, ARITHMETIC)
        output = model(batch, cutoffs, stress=True, training=True)
        assert all(value.dtype == dtype for value in output.values())
        if kind == "fcl":
            output["slopes"] = torch.autograd.grad((output["forces"] ** 2).sum(), cutoffs)[0]
        results.append((batch.pair_index, output))
    (pairs, expected), (single_pairs, measured) = results
    assert torch.equal(pairs, single_pairs)
    for name, value in expected.items():
        error = (measured[name].double() - value).abs().max() / value.abs().max()
        assert error < FLOAT32, f"{name}: {float(error):.1e}"


def test_other_layouts_of_the_same_numbers(model, contract_graphs):
    """Strided cutoffs and transposed positions give the same bits."""
    batch, cutoffs = everything(contract_graphs)
    strided = torch.stack([cutoffs, -cutoffs], dim=1)[:, 0]
    transposed = batch.positions.T.contiguous().T
    assert not strided.is_contiguous() and not transposed.is_contiguous()
    other = contract_graphs.select_pairs(batch, strided, ARITHMETIC)
    assert torch.equal(other.pair_index, batch.pair_index)
    mine = model(replace(other, positions=transposed), strided)
    for name, value in model(batch, cutoffs).items():
        assert torch.equal(mine[name], value), name


def test_results_of_evaluation_are_those_of_training_and_detached(model, contract_graphs):
    """Also under no_grad; and nothing is left in the gradients of parameters, positions or cutoffs."""
    batch, cutoffs = everything(contract_graphs)
    cutoffs.requires_grad_(True)
    live = model(batch, cutoffs, training=True)
    with torch.no_grad():
        plain = model(batch, cutoffs)
    for name, value in plain.items():
        assert live[name].requires_grad and not value.requires_grad
        torch.testing.assert_close(live[name].detach(), value, **EQUAL)
    assert cutoffs.grad is None and all(parameter.grad is None for parameter in model.parameters())


def test_parameter_gradients_of_a_loss_with_forces_and_stress(model, contract_graphs):
    """The derivative of the whole training loss along one direction in all parameters, by central differences."""
    batch = contract_graphs.batch(torch.tensor([2, 5, 12, 16, 18]))
    cutoffs = sampled_cutoffs(batch.n_atoms, 2)
    batch = contract_graphs.select_pairs(batch, cutoffs, ARITHMETIC)
    _, gradients, _ = training_gradients(model, batch, cutoffs)
    generator = torch.Generator().manual_seed(1)
    directions = {name: torch.randn(g.shape, generator=generator) for name, g in gradients.items()}
    slope = sum((gradients[name] * directions[name]).sum() for name in gradients)
    state, losses = {n: p.detach().clone() for n, p in model.named_parameters()}, []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(state[name] + step * directions.get(name, torch.zeros(())))
        losses.append(training_gradients(model, batch, cutoffs)[0])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
    assert slope.abs() > 1e-2
    torch.testing.assert_close((losses[0] - losses[1]) / 2e-5, slope, rtol=PARAMETER_DIFFERENCE, atol=0)


@pytest.mark.parametrize("cutoff", [float("nan"), float("inf"), 0.0, -4.0])
def test_cutoffs_that_are_none_are_refused(graphs, base, cutoff):
    """Compared with NaN every distance is too long: without a check all pairs of an atom would silently be lost."""
    with pytest.raises(ValueError, match="not a positive radius"):
        evaluate(base, graphs, uniform_rule(cutoff, torch.float64), 4)
    with pytest.raises(ValueError, match="is not within"):
        diatomic_curve(base, (1, 8), cutoff, torch.linspace(0.8, 7.5, 4))


def test_a_cutoff_that_is_not_a_number_is_refused_by_the_pairs(graphs):
    batch = graphs.batch(torch.arange(len(graphs)))
    cutoffs = sampled_cutoffs(batch.n_atoms, 1)
    cutoffs[3] = float("nan")
    with pytest.raises(ValueError, match="a cutoff of nan A"):
        graphs.select_pairs(batch, cutoffs, ARITHMETIC)


def test_a_static_model_has_no_curve_at_another_cutoff(small_settings):
    with pytest.raises(ValueError, match=r"static model of cutoff 5\.5 A cannot be evaluated at 4\.0 A"):
        diatomic_curve(contract_model(small_settings, "static"), (1, 8), 4.0, torch.linspace(0.8, 7.5, 4))


def test_stress_without_a_volume_is_an_error(model, graphs):
    batch, cutoffs = everything(graphs)
    with pytest.raises(ValueError, match="without a cell volume"):
        model(batch, cutoffs, stress=True)


def test_evaluation_of_some_structures(base, contract_graphs):
    """Errors of a choice of structures are those structures' entries among all, also by subset."""
    rule = uniform_rule(5.2, torch.float64)
    chosen = torch.tensor([20, 3, 16, 9, 7])
    all_errors = evaluate(base, contract_graphs, rule, 6)
    some = evaluate(base, contract_graphs, rule, 2, chosen)
    for name in ("energy", "force_square", "force_absolute", "pairs", "atoms"):
        np.testing.assert_allclose(getattr(some, name), getattr(all_errors, name)[chosen.numpy()], rtol=EQUAL["rtol"])
    assert some.metrics() == pytest.approx(all_errors.metrics(chosen.numpy()), rel=EQUAL["rtol"])
    rows = {row["subset"]: row for row in rows_by_subset(some, contract_graphs)}
    assert set(rows) == {"all", "default", "MC3D", "SHIFTML-molcrys"}
    assert rows["all"]["structures"] == 5 and rows["default"]["structures"] == 3
    assert rows["MC3D"]["force_rmse_ev_per_angstrom"] == pytest.approx(
        all_errors.metrics(np.array([16]))["force_rmse_ev_per_angstrom"], rel=EQUAL["rtol"]
    )


def test_an_element_beyond_the_model_is_named(small_settings, graphs):
    """A model of Z = 1-10 and structures with silicon: a sentence, not an index."""
    model = build_model("fcl", small_settings.model_copy(update={"num_elements": 10}), 7.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="Si"):
        evaluate(model, graphs, uniform_rule(5.0, torch.float64), 4)
