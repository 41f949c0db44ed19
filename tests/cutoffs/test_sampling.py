"""Cutoffs drawn in training and what a seed decides: Algorithm 1 with one generator a run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from fcl.cutoffs.rules import uniform_rule
from fcl.cutoffs.sampling import SAMPLINGS, cutoff_sampler, sample_cutoffs
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.evaluation.errors import evaluate
from fcl.models.files import build_model
from fcl.training.fit import fcl_recipe, fit, seed_streams, static_recipe
from fcl.training.loss import LOSS
from tolerances import CORRELATION, P_VALUE, REORDERED, SAMPLE_MEAN

pytestmark = pytest.mark.heavy

SETTINGS = SimpleNamespace(
    epochs=3, batch_size=3, learning_rate=0.01, weight_decay=1e-8, gradient_clip_norm=10.0, plateau_factor=0.5,
    plateau_patience=2, min_learning_rate=1e-5, early_stopping_patience=5, validation_cutoffs=(4.0, 5.0),
    milestones=(2,), gamma=0.5,
)  # fmt: skip
INTERVAL = SimpleNamespace(r_min=3.5, r_max=7.0, sampling="atoms")


@pytest.fixture(scope="module")
def tame(frames):
    """Labels that can be learnt: small forces and energies per atom."""
    return [replace(frame, energy=-0.3 * len(frame), forces=0.1 * frame.forces) for frame in frames]


@pytest.fixture(scope="module")
def data(tame):
    return GraphData(arrays_from_frames(tame, 7.0), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cutoffs_are_uniform_with_mean_5_25(dtype):
    values = sample_cutoffs(200_000, 3.5, 7.0, torch.Generator().manual_seed(11), dtype)
    assert values.dtype == dtype and float(values.min()) >= 3.5 and float(values.max()) <= 7.0
    values = values.double().numpy()
    assert values.mean() == pytest.approx(5.25, abs=SAMPLE_MEAN)
    assert values.std() == pytest.approx(3.5 / 12**0.5, abs=SAMPLE_MEAN)
    assert kstest(values, "uniform", args=(3.5, 3.5)).pvalue > P_VALUE


def test_atoms_and_steps_are_independent():
    """Neighbouring atoms of a draw, and one atom in successive draws, are not correlated; nothing is drawn twice."""
    generator = torch.Generator().manual_seed(2)
    steps = torch.stack([sample_cutoffs(100, 3.5, 7.0, generator, torch.float64) for _ in range(1000)]).numpy()
    for a, b in ((steps[:, :-1], steps[:, 1:]), (steps[:-1], steps[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < CORRELATION
    assert len(np.unique(steps)) == steps.size


def test_a_cutoff_is_drawn_for_each_atom_or_for_each_structure(data):
    batch = data.batch(torch.arange(len(data)))
    shares = {}
    for sampling in SAMPLINGS:
        settings = SimpleNamespace(**{**vars(INTERVAL), "sampling": sampling})
        draw = cutoff_sampler(settings, torch.Generator().manual_seed(4), torch.float64)
        cutoffs, again = draw(batch), draw(batch)
        assert cutoffs.shape == batch.numbers.shape and not torch.equal(cutoffs, again)
        assert 3.5 <= float(cutoffs.min()) < float(cutoffs.max()) <= 7.0
        shares[sampling] = [
            len(part.unique()) / len(part) for part in cutoffs.split(batch.atoms_per_structure.tolist())
        ]
        assert len(cutoffs.unique()) == {"atoms": batch.n_atoms, "structures": batch.n_structures}[sampling]
    assert set(shares["atoms"]) == {1.0}
    assert shares["structures"] == [1 / n for n in batch.atoms_per_structure.tolist()]


def test_an_unknown_sampling_is_an_error():
    settings = SimpleNamespace(r_min=3.5, r_max=7.0, sampling="elements")
    with pytest.raises(ValueError, match="sampling 'elements' is unknown; known are atoms, structures"):
        cutoff_sampler(settings, torch.Generator(), torch.float64)


def test_sampling_follows_its_generator_only():
    first = sample_cutoffs(50, 3.5, 7.0, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    assert torch.equal(first, sample_cutoffs(50, 3.5, 7.0, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, sample_cutoffs(50, 3.5, 7.0, torch.Generator().manual_seed(4)))


def fcl_run(small_settings, data, *, weights=1, order=2, cutoffs=3, **changes):
    """A small FCL run: (model, history, cutoffs of each step, state of the generator at the end)."""
    torch.manual_seed(weights)
    model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(cutoffs)
    recipe = fcl_recipe("test", SETTINGS, INTERVAL, generator, torch.float64)
    draws = []

    def draw(batch):
        draws.append(recipe.draw_cutoffs(batch))
        return draws[-1]

    settings = SimpleNamespace(**{**vars(SETTINGS), **changes})
    history = fit(model, data, data, settings, LOSS, replace(recipe, draw_cutoffs=draw), order_seed=order)
    return model, history, draws, generator.get_state()


def same_weights(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def without_time(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def test_the_same_seed_gives_the_same_weights_bit_for_bit(small_settings, data):
    """Two runs in one process, the second after other draws from torch's global generator."""
    runs = []
    for seed in (5, 5, 6):
        weights, order, cutoffs = seed_streams(seed, 3)
        runs.append(fcl_run(small_settings, data, weights=weights, order=order, cutoffs=cutoffs))
        torch.manual_seed(len(runs))
    assert same_weights(runs[0][0], runs[1][0]) and without_time(runs[0][1]) == without_time(runs[1][1])
    assert not same_weights(runs[0][0], runs[2][0])


@pytest.mark.parametrize("stream", ["weights", "order", "cutoffs"])
def test_each_stream_of_a_run_matters(small_settings, data, stream):
    """None of the three seeds is ignored: another one gives other weights."""
    first, second = (fcl_run(small_settings, data, epochs=1, **{stream: seed})[0] for seed in (7, 8))
    assert not same_weights(first, second)


def test_seeds_of_streams_and_of_runs_differ():
    seeds = [value for seed in range(20) for value in seed_streams(seed, 3)]
    assert len(set(seeds)) == 60 and all(0 <= value < 2**63 for value in seeds)
    assert seed_streams(4, 2) == seed_streams(4, 3)[:2]


def test_one_generator_a_run(small_settings, data):
    """Each step draws anew for each atom of its batch, and all draws of a run are one stream, whatever the batches."""
    _, _, draws, state = fcl_run(small_settings, data)
    assert sum(len(draw) for draw in draws) == SETTINGS.epochs * len(data.numbers)
    generator = torch.Generator().manual_seed(3)
    stream = sample_cutoffs(SETTINGS.epochs * len(data.numbers), 3.5, 7.0, generator, torch.float64)
    assert torch.equal(torch.cat(draws), stream) and torch.equal(state, generator.get_state())


def test_another_order_changes_the_batches_and_not_the_stream_of_cutoffs(small_settings, data):
    """With another order of structures the same numbers are drawn; they only meet other atoms."""
    (first, history, draws, state), (second, other_history, other_draws, other_state) = (
        fcl_run(small_settings, data, order=order) for order in (2, 4)
    )
    assert torch.equal(torch.cat(draws), torch.cat(other_draws)) and torch.equal(state, other_state)
    assert not same_weights(first, second)
    assert [row["learning_rate"] for row in history] == [row["learning_rate"] for row in other_history]


def test_validation_draws_nothing_and_does_not_depend_on_the_order(small_settings, data):
    """Before any step the validation losses of two runs with other orders and cutoffs are the same bits."""
    frozen = {"learning_rate": 0.0, "epochs": 1}
    (model, history, *_), (_, other_history, *_) = (
        fcl_run(small_settings, data, order=order, cutoffs=order, **frozen) for order in (2, 4)
    )
    columns = ("val_loss", "val_energy_mae_ev_per_atom", "val_force_mae_ev_per_angstrom")
    assert [history[0][name] for name in columns] == [other_history[0][name] for name in columns]
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    rule = uniform_rule(5.0, torch.float64)
    straight, shuffled = evaluate(model, data, rule, 4), evaluate(model, data, rule, 4, order)
    assert shuffled.metrics() == pytest.approx(straight.metrics(), rel=REORDERED)
    np.testing.assert_allclose(shuffled.force_square, straight.force_square[order.numpy()], rtol=REORDERED)
    np.testing.assert_allclose(shuffled.energy, straight.energy[order.numpy()], rtol=REORDERED)


def static_history(small_settings, data, order):
    torch.manual_seed(1)
    model = build_model("static", small_settings, 5.0, 20.0, dtype=torch.float64)
    settings = SimpleNamespace(**{**vars(SETTINGS), "batch_size": len(data)})
    return fit(model, data, data, settings, LOSS, static_recipe("test", 5.0, torch.float64), order_seed=order)


def test_order_within_a_batch_does_not_matter(small_settings, tame, data):
    """One batch an epoch: neither the order of its structures nor that of the data set changes the losses."""
    columns = ("train_loss", "val_loss")
    expected = [[row[name] for name in columns] for row in static_history(small_settings, data, 1)]
    shuffled = [tame[k] for k in np.random.default_rng(3).permutation(len(tame))]
    permuted = GraphData(arrays_from_frames(shuffled, 7.0), torch.float64)
    for split, order in ((data, 9), (permuted, 1)):
        rows = [[row[name] for name in columns] for row in static_history(small_settings, split, order)]
        np.testing.assert_allclose(rows, expected, rtol=REORDERED)
    assert expected[0] != expected[-1]
