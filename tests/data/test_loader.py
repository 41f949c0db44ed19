"""Batches from an order of structures: by structures, by pairs, and with pairs and cutoffs."""

from types import SimpleNamespace

import pytest
import torch

from examples import ARITHMETIC
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.data.batch import GraphData
from fcl.data.loader import selected_batches, split_order
from fcl.data.store import arrays_from_frames
from fcl.models.files import build_model
from fcl.training.fit import HISTORY_COLUMNS, fcl_recipe, fit
from fcl.training.loss import LOSS

pytestmark = pytest.mark.heavy

SETTINGS = SimpleNamespace(
    epochs=2, batch_size=3, learning_rate=0.01, weight_decay=1e-8, gradient_clip_norm=10.0, plateau_factor=0.5,
    plateau_patience=2, min_learning_rate=1e-5, early_stopping_patience=5, validation_cutoffs=(4.0,),
)  # fmt: skip


def test_by_structures():
    order = torch.randperm(103)
    chunks = split_order(order, 50)
    assert [len(chunk) for chunk in chunks] == [50, 50, 3]
    assert torch.equal(torch.cat(chunks), order)


def test_by_pairs_is_even_and_loses_nothing():
    generator = torch.Generator().manual_seed(0)
    counts = (torch.rand(2000, generator=generator) ** 6 * 5000).long()  # a few large structures, many without pairs
    order = torch.randperm(len(counts), generator=generator)
    chunks = split_order(order, 20, counts)
    assert torch.equal(torch.cat(chunks), order)
    assert abs(len(chunks) - 100) <= 2
    sizes = torch.stack([counts[chunk].sum() for chunk in chunks])
    plain = torch.stack([counts[chunk].sum() for chunk in split_order(order, 20)])
    target = counts.double().mean() * 20
    assert sizes.max() <= target + counts.max()
    assert sizes[:-1].double().std() < 0.5 * plain.double().std()
    assert [len(chunk) for chunk in split_order(order[:7], 3, torch.zeros_like(counts))] == [7]


def test_batches_carry_their_pairs_and_cutoffs(graphs):
    order = torch.tensor([4, 0, 8, 2, 6])
    rules = [torch.Generator().manual_seed(1) for _ in range(2)]

    def draw(generator):
        return lambda batch: sample_cutoffs(batch.n_atoms, 3.5, 7.0, generator, torch.float64)

    made = list(selected_batches(graphs, split_order(order, 2), draw(rules[0]), ARITHMETIC))
    assert [batch.indices.tolist() for batch, _ in made] == [[4, 0], [8, 2], [6]]
    for batch, cutoffs in made:
        again = graphs.batch(batch.indices)
        expected = draw(rules[1])(again)
        assert torch.equal(cutoffs, expected)
        assert torch.equal(batch.pair_index, graphs.select_pairs(again, expected, ARITHMETIC).pair_index)


def test_history_tells_the_mean_cutoff_and_batching_is_checked(small_settings, frames):
    data = GraphData(arrays_from_frames(frames, 7.0), torch.float64)
    interval = SimpleNamespace(r_min=4.0, r_max=5.0, sampling="atoms")

    def run(**options):
        torch.manual_seed(0)
        model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
        drawn = []
        recipe = fcl_recipe("test", SETTINGS, interval, torch.Generator().manual_seed(2), torch.float64)
        rule = recipe.draw_cutoffs

        def recorded(batch):
            drawn.append(rule(batch))
            return drawn[-1]

        object.__setattr__(recipe, "draw_cutoffs", recorded)
        return fit(model, data, data, SETTINGS, LOSS, recipe, order_seed=1, **options), drawn

    history, drawn = run()
    assert tuple(history[0]) == HISTORY_COLUMNS
    per_epoch = len(drawn) // 2
    for row, part in zip(history, (drawn[:per_epoch], drawn[per_epoch:]), strict=True):
        assert row["mean_cutoff_angstrom"] == pytest.approx(float(torch.cat(part).mean()), rel=1e-12)
    by_pairs, _ = run(batch_by="pairs")
    assert by_pairs[0]["train_loss"] != history[0]["train_loss"]
    with pytest.raises(ValueError, match="batch_by 'atoms' is unknown"):
        run(batch_by="atoms")
