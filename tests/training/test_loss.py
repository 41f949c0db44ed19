"""The loss has one definition: training, validation and calibration follow when it is another one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples import contract_model
from fcl.calibration import system as own_system
from fcl.calibration import tolerance
from fcl.calibration.neighbours import NeighbourObjective
from fcl.calibration.optimise import objective
from fcl.calibration.whole import WholeObjective
from fcl.config.load import load_config
from fcl.cutoffs.rules import uniform_rule
from fcl.cutoffs.schemes import NeighbourCutoffs
from fcl.data.batch import GraphData
from fcl.data.loader import selected_batches
from fcl.data.store import arrays_from_frames
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate
from fcl.training import loss as loss_module
from fcl.training.fit import static_recipe, train_epoch, validate
from fcl.training.loss import LOSS, SplitLoss, batch_loss, mean_loss
from project import ROOT
from tolerances import EQUAL

CUTOFF = 5.0
SETTINGS = SimpleNamespace(gradient_clip_norm=None)


@pytest.fixture(scope="module")
def data(frames):
    tame = [replace(frame, energy=-0.3 * len(frame), forces=0.1 * frame.forces) for frame in frames]
    return GraphData(arrays_from_frames(tame, 7.0), torch.float64)


@pytest.fixture
def model(small_settings):
    return contract_model(small_settings)


def deviations(model, data):
    """Energies per atom (eV) and force components (eV/A) beside their labels, of all structures."""
    everything = [torch.arange(len(data))]
    ((batch, cutoffs),) = selected_batches(data, everything, uniform_rule(CUTOFF, data.dtype), model.selector)
    output = model(batch, cutoffs)
    return (output["energy"] - batch.energy) / batch.atoms_per_structure, output["forces"] - batch.forces


def in_parts(model, data):
    """A split in batches of two structures."""
    split = SplitLoss()
    evaluate(model, data, uniform_rule(CUTOFF, data.dtype), 2, None, split.add)
    return [split]


def users(model, data):
    """The loss of all structures at a uniform cutoff by everything that computes one."""
    everything = torch.arange(len(data))
    still = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
    recipe = static_recipe("test", CUTOFF, data.dtype)
    table = torch.full((119,), CUTOFF, dtype=data.dtype)
    calibrated = (model, data, LOSS, 1e-4, "structures", everything, 2)
    narrow = NeighbourCutoffs(1e-3, lower=float(np.nextafter(CUTOFF, 0.0)), upper=CUTOFF)  # uniform
    return {
        "training": train_epoch(model, data, [everything], still, SETTINGS, LOSS, recipe)[0],
        "validation": validate(model, data, [CUTOFF, CUTOFF], LOSS)["val_loss"],
        "validation in parts": mean_loss(in_parts(model, data), LOSS),
        "calibration": float(objective(model, data, everything, table, LOSS, 1e-4)[1]["error"]),
        "calibration of all": WholeObjective(*calibrated).of(table.numpy())[0]["error"],
        "calibration of neighbours": NeighbourObjective(narrow, *calibrated).of(np.full(119, 1e-3))[0]["error"],
        "training in parts": train_epoch(model, data, [everything], still, SETTINGS, LOSS, recipe, max_pairs=1)[0],
    }


def test_all_users_agree(model, data):
    energy, forces = deviations(model, data)
    expected = 0.1 * float(energy.abs().mean()) + 1.0 * float(forces.abs().mean())
    for name, value in users(model, data).items():
        assert value == pytest.approx(expected, rel=EQUAL["rtol"]), name


def test_all_users_follow_another_form(model, data, monkeypatch):
    """Squares in place of absolute values, and the errors that a validation reports stay what their names say."""
    before = validate(model, data, [CUTOFF], LOSS)
    monkeypatch.setattr(loss_module, "terms", lambda energy, forces, atoms: ((energy / atoms) ** 2, forces**2))
    energy, forces = deviations(model, data)
    expected = 0.1 * float((energy**2).mean()) + 1.0 * float((forces**2).mean())
    for name, value in users(model, data).items():
        assert value == pytest.approx(expected, rel=EQUAL["rtol"]), name
    after = validate(model, data, [CUTOFF], LOSS)
    assert after.pop("val_loss") != before.pop("val_loss") and after == before


def test_all_users_follow_other_weights(model, data, monkeypatch):
    monkeypatch.setattr(loss_module, "weighted", lambda energy, forces, loss: 3.0 * energy + 0.0 * forces)
    energy, _ = deviations(model, data)
    for name, value in users(model, data).items():
        assert value == pytest.approx(3.0 * float(energy.abs().mean()), rel=EQUAL["rtol"]), name


def test_all_users_follow_a_further_term(model, data, monkeypatch):
    """Terms by structure and by force component are added in `terms` and `weighted` alone."""

    def terms(energy, forces, atoms):
        return energy.abs() / atoms, forces.abs(), (energy / atoms) ** 2, forces**2

    def weighted(energy, forces, energy_square, forces_square, loss):
        return loss.energy_weight * energy + loss.force_weight * forces + 2.0 * energy_square + 5.0 * forces_square

    energy, forces = deviations(model, data)
    expected = 0.1 * float(energy.abs().mean()) + float(forces.abs().mean())
    expected += 2.0 * float((energy**2).mean()) + 5.0 * float((forces**2).mean())
    monkeypatch.setattr(loss_module, "terms", terms)
    monkeypatch.setattr(loss_module, "weighted", weighted)
    for name, value in users(model, data).items():
        assert value == pytest.approx(expected, rel=EQUAL["rtol"]), name


def test_a_split_in_batches_is_one_batch(model, data):
    """The mean over structures and over components, and not the mean over batches."""
    parts, whole = SplitLoss(), SplitLoss()
    for split, size in ((parts, 2), (whole, EVALUATION_BATCH_SIZE)):
        evaluate(model, data, uniform_rule(CUTOFF, data.dtype), size, None, split.add)
    assert parts.means() == pytest.approx(whole.means(), rel=EQUAL["rtol"])
    energy, forces = (float(values.abs().mean()) for values in deviations(model, data))
    assert parts.means() == pytest.approx((energy, forces), rel=EQUAL["rtol"])
    assert mean_loss([parts], LOSS) == pytest.approx(0.1 * energy + forces, rel=EQUAL["rtol"])


def test_the_weights_are_written_once():
    """Those for own systems are those of the protocol, and no other module of the library has weights of its own."""
    study = load_config(ROOT / "config.yaml").resolve("paper")
    assert LOSS.model_dump() == study.loss.model_dump()
    assert own_system.LOSS is LOSS and tolerance.LOSS is LOSS
    with_weights = {
        path.relative_to(ROOT / "src/fcl").as_posix()
        for path in (ROOT / "src/fcl").rglob("*.py")
        if "energy_weight" in path.read_text(encoding="utf-8")
    }
    assert with_weights == {"training/loss.py", "config/sections.py", "config/checks.py"}


def test_a_batch_loss_is_differentiable(model, data):
    everything = torch.arange(len(data))
    batch = data.batch(everything)
    forces = batch.forces.clone().requires_grad_(True)
    value = batch_loss({"energy": batch.energy + 1.0, "forces": forces + 0.5}, batch, LOSS)
    (gradient,) = torch.autograd.grad(value, forces)
    np.testing.assert_allclose(gradient.numpy(), LOSS.force_weight / forces.numel(), rtol=1e-12)
