"""The paper's schedules at full length: `fit` with the settings of the paper study on scripted validation curves.

What is expected is computed here from the sentences of section 3, "Training details", not from the settings.
"""

import numpy as np
import pytest
import torch
from ase import Atoms

from examples import ARITHMETIC, labelled
from fcl.config.load import load_config
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.training.fit import fcl_recipe, fit, static_recipe
from project import ROOT

pytestmark = pytest.mark.heavy

CONFIG = ROOT / "config.yaml"
FLAT = [1.0] * 500


@pytest.fixture(scope="module")
def paper():
    return load_config(CONFIG).resolve("paper")


@pytest.fixture(scope="module")
def data():
    """Two atoms out of reach: nothing to compute, so that 500 epochs take a second."""
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 9.0]])
    return GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)


class Scripted(torch.nn.Module):
    """A model whose validation loss at epoch k is ``curve[k - 1]`` whatever it is trained on; it notes its cutoffs."""

    flexible = True
    selector = ARITHMETIC

    def __init__(self, curve, energy_weight):
        super().__init__()
        self.curve, self.energy_weight, self.epoch = curve, energy_weight, 0
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("trained_epochs", torch.zeros((), dtype=torch.int64))
        self.drawn, self.validated = [], []

    def forward(self, batch, cutoffs, training=False, **_):
        if training:
            self.epoch += 1  # one batch an epoch
            self.trained_epochs.fill_(self.epoch)
            self.drawn.append(cutoffs.tolist())
            return {"energy": batch.energy + self.weight, "forces": batch.forces}
        self.validated.append((self.epoch, float(cutoffs[0])))
        error = self.curve[self.epoch - 1] / self.energy_weight * batch.atoms_per_structure
        return {"energy": batch.energy + error, "forces": batch.forces}


def run(study, settings, recipe, data, curve):
    model = Scripted(curve, study.loss.energy_weight)
    history = fit(model, data, data, settings, study.loss, recipe, order_seed=0)
    assert [row["val_loss"] for row in history] == pytest.approx(curve[: len(history)])
    return model, history


def rates(history):
    return [row["learning_rate"] for row in history]


def halved_at(first, epochs, total):
    """Learning rate of each of ``total`` epochs when it is "reduced by a factor of 0.5 at epochs" ``epochs``."""
    return [first * 0.5 ** sum(done >= epoch for epoch in epochs) for done in range(total)]


def test_pretraining(paper, data):
    """200 epochs from 0.02, reduced by 0.5 at epochs 10, 20 and 100, at the static cutoff of 6 A."""
    recipe = static_recipe("pretrain", paper.pretrain.cutoff, torch.float64)
    model, history = run(paper, paper.pretrain, recipe, data, FLAT)
    expected = [0.02] * 10 + [0.01] * 10 + [0.005] * 80 + [0.0025] * 100
    assert expected == halved_at(0.02, (10, 20, 100), 200)
    assert rates(history) == pytest.approx(expected, rel=1e-12)
    assert {cutoff for atoms in model.drawn for cutoff in atoms} == {6.0}
    assert {cutoff for _, cutoff in model.validated} == {6.0}
    assert paper.pretrain.batch_size == 50 and paper.pretrain.weight_decay == 1e-8


@pytest.mark.parametrize("cutoff", [4.0, 7.0])
def test_static_baselines(paper, data, cutoff):
    """The pre-training configuration extended to 500 epochs with another reduction at epoch 200; no early stop."""
    assert cutoff in paper.static.cutoffs
    _, history = run(paper, paper.static, static_recipe("static", cutoff, torch.float64), data, FLAT)
    expected = [0.02] * 10 + [0.01] * 10 + [0.005] * 80 + [0.0025] * 100 + [0.00125] * 300
    assert expected == halved_at(0.02, (10, 20, 100, 200), 500)
    assert rates(history) == pytest.approx(expected, rel=1e-12)


def expected_fcl(curve):
    """Rates of the trained epochs: halved "after 20 epochs without improvement" down to 1e-5, the end after 50.

    The class that the paper names, ReduceLROnPlateau, bears 20 such epochs: the rate falls after the 21st.
    """
    rate, best, since_best, since_change, result = 1e-3, np.inf, 0, 0, []
    for value in curve:
        result.append(rate)
        better = value < best
        best, since_best, since_change = min(best, value), 0 if better else since_best + 1, since_change + 1
        since_change = 0 if better else since_change
        if since_change == 21:
            rate, since_change = max(0.5 * rate, 1e-5), 0
        if since_best == 50:
            break
    return result


def steps(every, total=500):
    """A loss that falls by a tenth every ``every`` epochs and is slightly worse in between."""
    return [0.9 ** (k // every) * (1.0 if k % every == 0 else 1.01) for k in range(total)]


CURVES = {
    "never better": [1.0] * 500,
    "always better": [0.99**k for k in range(500)],
    "better every 45": steps(45),
    "better every 50": steps(50),
    "better every 51": steps(51),
    "better every 21": steps(21),
    "better every 22": steps(22),
    "late": [0.98**k for k in range(60)] + [1.0] * 440,
}


def fcl_run(paper, data, curve, **changes):
    recipe = fcl_recipe("fcl", paper.fcl, paper.cutoffs, torch.Generator().manual_seed(3), torch.float64)
    return run(paper, paper.fcl.model_copy(update=changes), recipe, data, curve)


@pytest.fixture(scope="module")
def fcl_runs(paper, data):
    torch.set_default_dtype(torch.float64)
    return {name: fcl_run(paper, data, curve) for name, curve in CURVES.items()}


@pytest.mark.parametrize("name", CURVES)
def test_fcl(fcl_runs, name):
    """Up to 500 epochs from 0.001 with the plateau schedule and early stopping with patience 50."""
    model, history = fcl_runs[name]
    expected = expected_fcl(CURVES[name])
    assert rates(history) == pytest.approx(expected, rel=1e-12)
    best = int(np.argmin(CURVES[name][: len(expected)])) + 1
    assert int(model.trained_epochs) == best  # the weights of the best epoch are kept
    assert [row["epoch"] for row in history if row["best"]][-1] == best


def test_what_the_curves_of_fcl_show(fcl_runs):
    """The expectations by hand: when it stops, when rates fall, and that the floor is reached."""
    lengths = {name: len(history) for name, (_, history) in fcl_runs.items()}
    assert (lengths["never better"], lengths["always better"], lengths["late"]) == (51, 500, 60 + 50)
    assert (lengths["better every 50"], lengths["better every 51"]) == (500, 51)  # the 50th epoch is in time
    assert rates(fcl_runs["never better"][1])[20:24] == [1e-3, 1e-3, 5e-4, 5e-4]
    assert len(set(rates(fcl_runs["better every 21"][1]))) == 1 and len(set(rates(fcl_runs["better every 22"][1]))) > 1
    falling = sorted(set(rates(fcl_runs["better every 45"][1])), reverse=True)
    assert falling == pytest.approx([1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5, 3.125e-5, 1.5625e-5, 1e-5])


def test_fcl_draws_from_the_interval_and_validates_at_three_cutoffs(paper, fcl_runs):
    """Cutoffs anew at each step from U(3.5, 7.0); the validation metric combines 4, 5 and 6 A, every epoch."""
    model, history = fcl_runs["always better"]
    drawn = np.array(model.drawn)
    assert drawn.shape == (500, 2) and len(np.unique(drawn)) == 1000
    assert drawn.min() >= 3.5 and drawn.max() <= 7.0
    assert model.validated == [(epoch, cutoff) for epoch in range(1, 501) for cutoff in (4.0, 5.0, 6.0)]
    assert paper.loss.energy_weight == 0.1 and paper.loss.force_weight == 1.0
    assert paper.fcl.batch_size == 50 and paper.fcl.weight_decay == 1e-8
    assert paper.pretrain.epochs + len(history) == 700  # "a maximum of 700 epochs in total"


def test_tiny_improvements_keep_a_run_going_but_do_not_hold_up_the_rate(paper, data):
    """For the schedule an improvement counts from 1e-4 relative (the default of PyTorch's class; the paper names none),
    for the best weights and for early stopping every one does."""
    curve = [1.0 - 1e-7 * k for k in range(500)]
    model, history = fcl_run(paper, data, curve)
    assert len(history) == 500 and int(model.trained_epochs) == 500
    assert rates(history)[20:23] == [1e-3, 1e-3, 5e-4] and rates(history)[-1] == 1e-5


def test_the_optimiser_is_adamw_with_the_settings_of_the_paper(paper, data, monkeypatch):
    made = []
    original = torch.optim.AdamW.__init__

    def noted(self, parameters, **options):
        made.append(options)
        original(self, parameters, **options)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", noted)
    short = paper.pretrain.model_copy(update={"epochs": 1})
    run(paper, short, static_recipe("pretrain", 6.0, torch.float64), data, FLAT)
    fcl_run(paper, data, FLAT, epochs=1)
    assert [(options["lr"], options["weight_decay"]) for options in made] == [(0.02, 1e-8), (0.001, 1e-8)]
