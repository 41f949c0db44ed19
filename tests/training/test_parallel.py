"""A training in two processes is that in one: the same losses and cutoffs; it ends as a whole, and goes on with any."""

import csv
import signal

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import fcl
from examples import SMALL_MODEL, structures
from fcl.training import parallel
from fcl.training.monitor import Supervisor, TrainingInterrupted
from fcl.training.parallel import ProcessLost, Ranks

pytestmark = pytest.mark.heavy

#: Largest difference of a loss in float32 after 20 steps (eV per atom, eV/A), as the losses are of order 1.
SAME_LOSS = 1e-6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("parallel"), np.random.default_rng(3)
    for split, chosen in (("train", slice(0, 6)), ("val", slice(6, 9))):
        frames = []
        for atoms in structures()[chosen]:
            frame = Atoms(atoms)
            forces = rng.normal(scale=0.2, size=(len(atoms), 3))
            frame.calc = SinglePointCalculator(frame, energy=-3.0 * len(atoms), forces=forces)
            frames.append(frame)
        write(folder / f"{split}.xyz", frames, format="extxyz")
    return {split: folder / f"{split}.xyz" for split in ("train", "val")}


def train(output, files, processes, kind="static", epochs=10, **compute):
    """Batches of 3 of 6 structures, two steps per epoch; the rows of the history of the last model."""
    own = {"epochs": epochs, "batch_size": 3}
    first = {"static": {"static": {**own, "cutoffs": [4.5]}}, "fcl": {"pretrain": {**own, "epochs": 1}, "fcl": own}}
    settings = {
        "model": {**SMALL_MODEL, "radial_mlp": [16, 16]}, **first[kind],
        "compute": {"device": "cpu", "checkpoint_seconds": 0.0, "processes": processes, **compute},
    }  # fmt: skip
    fcl.train(output, **files, kind=kind, settings=settings, reference_energies="none")
    return list(csv.DictReader((output / f"{kind}.history.csv").open()))


def check_same(one, two):
    assert len(one) == len(two) == 10
    for row, other in zip(one, two, strict=True):
        assert row["mean_cutoff_angstrom"] == other["mean_cutoff_angstrom"]
        for name in ("train_loss", "val_loss"):
            assert abs(float(row[name]) - float(other[name])) < SAME_LOSS, (row["epoch"], name)


def test_shares_are_a_partition_with_similar_numbers_of_pairs():
    pairs = torch.randint(0, 1000, (50,), generator=torch.Generator().manual_seed(1))
    chunk = torch.randperm(50, generator=torch.Generator().manual_seed(2))[:20]
    shares = [chunk[Ranks(rank, 3).share(chunk, pairs)] for rank in range(3)]
    assert torch.equal(torch.cat(shares), chunk)
    sums = [int(pairs[share].sum()) for share in shares]
    assert max(sums) - min(sums) <= 2 * int(pairs.max())
    one = [len(chunk[:1][Ranks(rank, 3).share(chunk[:1], pairs)]) for rank in range(3)]
    assert one == [0, 1, 0]  # more processes than structures


@pytest.mark.parametrize("kind", [pytest.param("static", marks=pytest.mark.slow), "fcl"])
def test_two_processes_are_one(files, tmp_path, kind):
    check_same(train(tmp_path / "one", files, 1, kind), train(tmp_path / "two", files, 2, kind))


@pytest.mark.slow
def test_parts_of_batches_and_shares_go_together(files, tmp_path):
    check_same(train(tmp_path / "one", files, 1), train(tmp_path / "two", files, 2, max_pairs=60))


def acting(monkeypatch, at_step, act):
    original, steps = Supervisor.after_step, 0

    def after_step(self, pairs):
        nonlocal steps
        steps += 1
        original(self, pairs)
        if steps == at_step:
            act(self)

    monkeypatch.setattr(Supervisor, "after_step", after_step)


def test_a_killed_process_ends_all_and_one_goes_on(files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        acting(patch, 7, lambda _: parallel._group.workers[0].kill())
        with pytest.raises(ProcessLost, match="process 1 of 0 to 1 was killed by SIGKILL"):
            train(tmp_path / "two", files, 2)
    assert not (tmp_path / "two/static.safetensors").exists()
    assert parallel.ranks() == Ranks() and not torch.distributed.is_initialized()
    check_same(train(tmp_path / "one", files, 1), train(tmp_path / "two", files, 1))


@pytest.mark.slow
def test_an_asked_end_of_one_process_goes_on_with_two(files, tmp_path, monkeypatch):
    def ask(supervisor):
        supervisor.stop.signal = signal.SIGTERM

    with monkeypatch.context() as patch:
        acting(patch, 7, ask)
        with pytest.raises(TrainingInterrupted):
            train(tmp_path / "two", files, 1)
    check_same(train(tmp_path / "one", files, 1), train(tmp_path / "two", files, 2))
