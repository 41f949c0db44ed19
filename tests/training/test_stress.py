"""Stress in the loss: its gradient, structures without one, and what its labels are good for."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from examples import contract_model, labelled
from fcl.config.sections import LossSettings
from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData
from fcl.data.loader import selected_batches
from fcl.data.store import arrays_from_frames, read_store, write_store
from fcl.evaluation.baselines import trivial_errors
from fcl.evaluation.errors import evaluate, joined
from fcl.models.compile import CompiledEnergies
from fcl.models.files import build_model, save_model
from fcl.training.fit import HISTORY_COLUMNS, STRESS_COLUMN, fit, static_recipe, train_epoch, validate
from fcl.training.loss import asked, batch_loss
from fcl.training.teacher import label_store
from tolerances import EQUAL

ONLY_STRESS = LossSettings(energy_weight=0.0, force_weight=0.0, stress_weight=1.0)
ALL = LossSettings(energy_weight=0.1, force_weight=1.0, stress_weight=3.0)
CUTOFF = 5.5
SETTINGS = SimpleNamespace(
    epochs=25, batch_size=4, learning_rate=0.01, weight_decay=0.0, gradient_clip_norm=10.0, milestones=(18,), gamma=0.2
)


@pytest.fixture(scope="module")
def mixed(contract_frames):
    """Energies near zero; the crystals but the first have a random symmetric stress, the molecules have no cell."""
    rng, frames, seen = np.random.default_rng(5), [], 0
    for frame in contract_frames:
        stress = None
        if abs(np.linalg.det(frame.cell)) > 0:
            seen += 1
            label = rng.normal(size=(3, 3))
            stress = label + label.T if seen > 1 else None
        frames.append(replace(frame, energy=0.1 * len(frame), stress=stress))
    data = GraphData(arrays_from_frames(frames, 7.0), torch.float64)
    assert 0 < data.with_stress < len(data) - 2
    return data


def batch_of(data, model, indices=None):
    indices = torch.arange(len(data)) if indices is None else indices
    ((batch, cutoffs),) = selected_batches(data, [indices], uniform_rule(CUTOFF, data.dtype), model.selector)
    return batch, cutoffs


def few(data):
    """The smallest labelled structures and a molecule."""
    by_pairs = data.pair_counts.argsort()
    known = data.stress_mask[by_pairs]
    return torch.cat([by_pairs[known][:4], by_pairs[~known][-1:]])


def loss_of(model, data, loss=ONLY_STRESS, indices=None):
    batch, cutoffs = batch_of(data, model, indices)
    return batch_loss(model(batch, cutoffs, training=True, **asked(loss)), batch, loss)


@pytest.mark.parametrize(
    ("kind", "architecture", "backend"),
    [
        ("static", "mace", "fast"), ("fcl", "mace", "fast"), ("fcl", "mace", "traced"),
        ("static", "mace-torch", "auto"), ("fcl", "mace-torch", "auto"), ("fcl", "converted", "auto"),
    ],
)  # fmt: skip
def test_gradient_by_finite_differences(mixed, small_settings, kind, architecture, backend):
    """d loss / d parameter against central differences, in float64: a second derivative of the energy by strain.

    "traced" is the program of the compiled path, run by PyTorch instead of TorchInductor (a minute).
    """
    traced = backend == "traced"
    model = contract_model(small_settings, kind, architecture=architecture, backend="fast" if traced else backend)
    if traced:
        model._compiled = CompiledEnergies(model, backend="eager")
    loss_of(model, mixed, indices=few(mixed)).backward()
    rng, checked = np.random.default_rng(3), 0
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not parameter.grad.abs().max() > 1e-6:
            continue
        direction = torch.as_tensor(rng.normal(size=parameter.shape)) * parameter.detach().abs().mean()
        expected = float((parameter.grad * direction).sum())
        sides = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(step * direction)
                sides.append(float(loss_of(model, mixed, indices=few(mixed)).detach()))
                parameter.sub_(step * direction)
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(expected, rel=1e-5, abs=1e-7), name
        checked += 1
    assert checked >= 8


def test_the_stress_is_the_derivative_by_strain(mixed, small_settings):
    """Label and prediction mean the same: dE/dstrain / V, positive where the crystal wants to shrink."""
    crystal = replace(labelled(bulk("Cu", a=4.0), 0), stress=np.zeros((3, 3)))
    model, energies, step = contract_model(small_settings), [], 1e-5
    for factor in (1 + step, 1 - step, 1.0):
        scaled = replace(crystal, cell=factor * crystal.cell, positions=factor * crystal.positions)
        batch, cutoffs = batch_of(GraphData(arrays_from_frames([scaled], 7.0), torch.float64), model)
        output = model(batch, cutoffs, stress=True)
        energies.append(float(output["energy"]))
    trace = (energies[0] - energies[1]) / (2 * step) / abs(np.linalg.det(crystal.cell))
    assert float(output["stress"][0].trace()) == pytest.approx(trace, rel=1e-6)


def test_structures_without_a_stress_have_no_part_in_it(mixed, small_settings):
    model = contract_model(small_settings)
    batch, cutoffs = batch_of(mixed, model)
    output = model(batch, cutoffs, training=True, stress=True)
    known = batch.stress_mask
    expected = (output["stress"] - batch.stress)[known].abs().mean()
    assert float(batch_loss(output, batch, ONLY_STRESS).detach()) == pytest.approx(
        float(expected.detach()), rel=EQUAL["rtol"]
    )
    (gradient,) = torch.autograd.grad(batch_loss(output, batch, ONLY_STRESS), output["stress"])
    assert bool((gradient[~known] == 0).all()) and bool(torch.isfinite(gradient).all())
    without = torch.nonzero(~known).flatten()
    batch, cutoffs = batch_of(mixed, model, without)
    assert float(batch_loss(model(batch, cutoffs, training=True, stress=True), batch, ONLY_STRESS).detach()) == 0.0


def test_training_and_validation_agree_also_in_parts(mixed, small_settings):
    """One definition: a batch, a batch in parts of some pairs, and the validation in batches of another size."""
    expected = float(loss_of(contract_model(small_settings), mixed, ALL).detach())
    recipe, everything = static_recipe("test", CUTOFF, mixed.dtype), [torch.arange(len(mixed))]
    for limit in (None, 200):
        model = contract_model(small_settings)
        still = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
        settings = SimpleNamespace(gradient_clip_norm=None)
        value = train_epoch(model, mixed, everything, still, settings, ALL, recipe, max_pairs=limit)[0]
        assert value == pytest.approx(expected, rel=1e-9)
    found = validate(model, mixed, [CUTOFF, CUTOFF], ALL)
    assert found["val_loss"] == pytest.approx(expected, rel=1e-9)
    stress = float(loss_of(model, mixed).detach())
    assert found[STRESS_COLUMN] == pytest.approx(stress, rel=1e-9)


def test_weight_zero_is_the_loss_of_the_paper(mixed, small_settings):
    model, paper = contract_model(small_settings), LossSettings(energy_weight=0.1, force_weight=1.0)
    assert "stress_weight" not in paper.model_dump() and asked(paper) == {}
    assert set(validate(model, mixed, [CUTOFF], paper)) | {"epoch"} <= set(HISTORY_COLUMNS)
    batch, cutoffs = batch_of(mixed, model)
    output = model(batch, cutoffs)
    more = {**output, "stress": torch.full_like(batch.cells, torch.nan)}
    assert float(batch_loss(output, batch, paper)) == float(batch_loss(more, batch, paper))


def test_errors_of_stress_count_labelled_structures_only(mixed, small_settings):
    model, rule = contract_model(small_settings), uniform_rule(CUTOFF, mixed.dtype)
    errors = evaluate(model, mixed, rule, 3, stress=True)
    batch, cutoffs = batch_of(mixed, model)
    off = (model(batch, cutoffs, stress=True)["stress"] - batch.stress)[batch.stress_mask]
    found = joined([errors, errors]).metrics()
    assert found["structures_with_stress"] == 2 * mixed.with_stress
    assert found["stress_mae_ev_per_cubic_angstrom"] == pytest.approx(float(off.abs().mean()))
    assert found["stress_rmse_ev_per_cubic_angstrom"] == pytest.approx(float(off.square().mean().sqrt()))
    without = np.flatnonzero(~mixed.stress_mask.numpy())
    assert np.isnan(errors.metrics(without)["stress_mae_ev_per_cubic_angstrom"])
    assert not any("stress" in name for name in evaluate(model, mixed, rule, 3).metrics())


def copper(count, seed):
    """Strained, rattled cells of copper with energies, forces and stress of EMT."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        strain = rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        frames.append(replace(labelled(atoms, 0), stress=atoms.get_stress(voigt=False), **labels))
    return arrays_from_frames(frames, 4.5)


def test_labels_of_stress_lower_its_error_on_other_structures(small_settings):
    """The same fit with and without them, from the same weights and in the same order."""
    train, val, test = (copper(count, seed) for count, seed in ((16, 1), (8, 2), (16, 3)))
    data = [GraphData(arrays, torch.float64) for arrays in (train, val, test)]
    found = {}
    for weight in (0.0, 30.0):
        loss = LossSettings(energy_weight=0.1, force_weight=1.0, stress_weight=weight)
        torch.manual_seed(4)
        model = build_model("static", small_settings, 4.5, 20.0, dtype=torch.float64)
        history = fit(model, *data[:2], SETTINGS, loss, static_recipe("test", 4.5, torch.float64), order_seed=1)
        errors = evaluate(model, data[2], uniform_rule(4.5, torch.float64), 16, stress=True)
        found[weight] = errors.metrics()["stress_mae_ev_per_cubic_angstrom"]
        assert (STRESS_COLUMN in history[0]) == bool(weight)
    zero = trivial_errors(train, test).metrics()["stress_mae_ev_per_cubic_angstrom"]
    assert found[30.0] < 0.8 * found[0.0] and found[30.0] < 0.5 * zero


def test_a_loss_with_stress_needs_labels(small_settings, mixed, graphs):
    model, recipe = contract_model(small_settings, "static"), static_recipe("test", CUTOFF, torch.float64)
    with pytest.raises(ValueError, match="none of .* structures has a stress"):
        fit(model, graphs, mixed, SETTINGS, ALL, recipe, order_seed=1)


def test_a_teacher_gives_stresses_too(small_settings, mixed, contract_frames, tmp_path):
    """Those of its own, where there is a volume; without being asked the labels of the store stay."""
    teacher, store = tmp_path / "teacher.safetensors", tmp_path / "train.h5"
    model = contract_model(small_settings, "static")
    save_model(model, teacher, {})
    write_store(arrays_from_frames(contract_frames, 7.0), store, {"source": "test", "split": "train"})
    label_store(store, teacher, torch.device("cpu"), stress=True)
    data = GraphData(read_store(store), torch.float64)
    assert 0 < data.with_stress < len(data)
    labels = evaluate(model, data, uniform_rule(5.5, torch.float64), 5, stress=True).metrics()
    assert labels["structures_with_stress"] == data.with_stress
    assert labels["stress_mae_ev_per_cubic_angstrom"] == pytest.approx(0.0, abs=1e-6)
