"""Losses, early stopping, best weights; evaluation, diatomics, model files."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples import ARITHMETIC
from fcl.cutoffs.rules import element_rule, uniform_cutoffs, uniform_rule
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.evaluation.diatomics import diatomic_curve
from fcl.evaluation.errors import evaluate, rows_by_subset
from fcl.models.files import build_model, card_path, load, save_model
from fcl.training.fit import fit, static_recipe, validate
from fcl.training.loss import LOSS, batch_loss
from fcl.training.schedules import EarlyStopping
from fcl.training.state import TrainingDiverged
from tolerances import CURVE, EQUAL

pytestmark = pytest.mark.heavy

STATIC = SimpleNamespace(
    epochs=4, batch_size=3, learning_rate=0.02, weight_decay=1e-8, gradient_clip_norm=10.0, milestones=(2, 3), gamma=0.5
)  # fmt: skip


@pytest.fixture
def small(small_settings):
    return small_settings


@pytest.fixture
def data(frames):
    """Labels that can be learnt: small forces and energies per atom."""
    tame = [replace(frame, energy=-0.3 * len(frame), forces=0.1 * frame.forces) for frame in frames]
    return GraphData(arrays_from_frames(tame, 7.0), torch.float64)


def test_loss_is_l1_per_atom_and_per_component(graphs):
    batch = graphs.batch(torch.tensor([0, 6]))
    output = {"energy": batch.energy + torch.tensor([6.0, 1.0]), "forces": batch.forces + 0.5}
    # Structure 0 has six atoms, structure 6 one: (6/6 + 1/1) / 2 = 1 eV/atom.
    assert float(batch_loss(output, batch, LOSS)) == pytest.approx(0.1 * 1.0 + 1.0 * 0.5)


def test_validation_loss_averages_over_cutoffs(small, data):
    model = build_model("fcl", small, 7.0, dtype=torch.float64)
    losses = [validate(model, data, [cutoff], LOSS)["val_loss"] for cutoff in (4.0, 6.0)]
    found = validate(model, data, [4.0, 6.0], LOSS)
    assert found["val_loss"] == pytest.approx(np.mean(losses)) and losses[0] != losses[1]
    metrics = [evaluate(model, data, uniform_rule(cutoff, torch.float64), 4).metrics() for cutoff in (4.0, 6.0)]
    for name in ("energy_mae_ev_per_atom", "force_mae_ev_per_angstrom"):
        assert found[f"val_{name}"] == pytest.approx(np.mean([values[name] for values in metrics]))


def test_evaluation_does_not_depend_on_the_batch_size(small, data):
    model = build_model("fcl", small, 7.0, dtype=torch.float64)
    rule = uniform_rule(5.0, torch.float64)
    one, many = evaluate(model, data, rule, 1).metrics(), evaluate(model, data, rule, 50).metrics()
    assert one == pytest.approx(many, rel=EQUAL["rtol"])
    batch = data.batch(torch.arange(len(data)))
    cutoffs = uniform_cutoffs(batch.numbers, 5.0, torch.float64)
    batch = data.select_pairs(batch, cutoffs, ARITHMETIC)
    output = model(batch, cutoffs)
    force_rmse = float(((output["forces"] - batch.forces) ** 2).mean().sqrt())
    energy_rmse = float((((output["energy"] - batch.energy) / batch.atoms_per_structure) ** 2).mean().sqrt())
    assert one["force_rmse_ev_per_angstrom"] == pytest.approx(force_rmse)
    assert one["energy_rmse_ev_per_atom"] == pytest.approx(energy_rmse)


def test_element_rule_equals_uniform_when_all_are_the_same(small, data):
    model = build_model("fcl", small, 7.0, dtype=torch.float64)
    symbols = ("H", "C", "O", "Si", "K", "Cl", "Ca")
    by_element = element_rule(dict.fromkeys(symbols, 5.0), torch.float64, data.device)
    uniform = uniform_rule(5.0, torch.float64)
    assert evaluate(model, data, by_element, 9).metrics() == evaluate(model, data, uniform, 9).metrics()


def test_rows_by_subset(frames, small):
    split = [replace(frame, subset="MC3D" if k % 2 else "MC2D") for k, frame in enumerate(frames)]
    data = GraphData(arrays_from_frames(split, 7.0), torch.float64)
    model = build_model("fcl", small, 7.0, dtype=torch.float64)
    rows = rows_by_subset(evaluate(model, data, uniform_rule(4.0, torch.float64), 4), data, seed=1)
    assert [row["subset"] for row in rows] == ["all", "MC2D", "MC3D"]
    assert rows[0]["structures"] == rows[1]["structures"] + rows[2]["structures"] == len(frames)


def test_early_stopping():
    stopping = EarlyStopping(3)
    assert [stopping.update(v) for v in (1.0, 0.5, 0.5, 0.6)] == [True, True, False, False]
    assert not stopping.exhausted
    assert not stopping.update(0.7) and stopping.exhausted
    assert not EarlyStopping(None, best=0.0, epochs_since_best=10_000).exhausted


def test_static_training_learns_and_keeps_the_best_weights(small, data):
    torch.manual_seed(0)
    model = build_model("static", small, 5.0, 20.0, dtype=torch.float64)
    before = validate(model, data, [5.0], LOSS)["val_loss"]
    history = fit(model, data, data, STATIC, LOSS, static_recipe("test", 5.0, torch.float64), order_seed=1)
    after = validate(model, data, [5.0], LOSS)["val_loss"]
    assert after == pytest.approx(min(row["val_loss"] for row in history)) and after < before
    assert [row["learning_rate"] for row in history] == [0.02, 0.02, 0.01, 0.005]


def test_training_refuses_structures_without_an_energy(small, frames, data):
    partly = [replace(frame, energy=float("nan")) if place == 2 else frame for place, frame in enumerate(frames)]
    lacking = GraphData(arrays_from_frames(partly, 7.0), torch.float64)
    model = build_model("static", small, 5.0, 20.0, dtype=torch.float64)
    recipe, count = static_recipe("pretrain", 5.0, torch.float64), len(frames)
    for train, val, name in ((lacking, data, "training"), (data, lacking, "validation")):
        with pytest.raises(ValueError, match=f"pretrain: {name} data: 1 of {count} structures have no energy"):
            fit(model, train, val, STATIC, LOSS, recipe, order_seed=1)


def test_divergence_is_an_error(small, data):
    model = build_model("static", small, 5.0, 20.0, dtype=torch.float64)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        fit(model, data, data, STATIC, LOSS, static_recipe("test", 5.0, torch.float64), order_seed=1)


def test_diatomic_curve(small, frames):
    torch.manual_seed(2)
    model = build_model("fcl", small, 7.0, dtype=torch.float64)
    distances = torch.linspace(0.8, 7.5, 400)
    energy, force = diatomic_curve(model, (1, 8), 5.0, distances)
    assert torch.all(energy[distances > 5.0] == 0) and torch.all(force[distances > 5.0] == 0)
    numeric = -(energy[2:] - energy[:-2]) / (distances[2:] - distances[:-2])
    torch.testing.assert_close(force[1:-1], numeric, rtol=CURVE, atol=CURVE * float(force.abs().max()))
    assert force.abs().max() > 0
    swapped, _ = diatomic_curve(model, (8, 1), 5.0, distances)
    torch.testing.assert_close(energy, swapped)
    nothing, _ = diatomic_curve(model, (6, 6), 4.0, torch.tensor([5.0, 6.0]))
    assert nothing.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["static", "fcl"])
def test_model_files_round_trip(tmp_path, small, data, kind):
    torch.manual_seed(4)
    model = build_model(kind, small, 6.0, 33.0, dtype=torch.float64)
    path = tmp_path / "model.safetensors"
    save_model(model, path, {"seed": 3})
    again = load(path, dtype=torch.float64)
    assert again.kind == kind and again.card["seed"] == 3 and again.avg_num_neighbors == 33.0
    rule = uniform_rule(5.5, torch.float64)
    assert evaluate(again, data, rule, 9).metrics() == evaluate(model, data, rule, 9).metrics()
    assert load(path).interactions[0].linear.weight.dtype == torch.float32


def test_damaged_model_files_are_refused(tmp_path, small):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no such model file"):
        load(path)
    save_model(build_model("static", small, 6.0, 33.0), path)
    card = card_path(path).read_text()
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(ValueError, match="weights are not those"):
        load(path)
    card_path(path).write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match=r"model\.json: format"):
        load(path)
    card_path(path).unlink()
    with pytest.raises(FileNotFoundError, match="card is missing"):
        load(path)
    assert "fcl-model-2" in card
    with pytest.raises(ValueError, match="'dynamic' is unknown"):
        build_model("dynamic", small, 6.0, 33.0)
