"""A training that was ended anywhere goes on and ends as one that was not; what cannot be used is refused."""

import copy
import json
import math
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.models.files import build_model
from fcl.training import fit as training
from fcl.training import monitor as supervision
from fcl.training import parallel
from fcl.training.checkpoints import CheckpointError, Checkpoints, read_checkpoint, remove_finished, write_checkpoint
from fcl.training.fit import fcl_recipe, fit, static_recipe
from fcl.training.loss import LOSS
from fcl.training.monitor import TrainingInterrupted, duration
from fcl.training.state import TrainingDiverged

pytestmark = pytest.mark.heavy

INTERVAL = SimpleNamespace(r_min=3.5, r_max=7.0, sampling="atoms")
IDENTITY = {"settings": {"fcl": {"learning_rate": 0.02}}, "code": "abc"}
#: Nine structures, three batches an epoch; the rate falls after the sixth epoch, the training stops after the seventh.
SETTINGS = SimpleNamespace(
    epochs=9, batch_size=4, learning_rate=0.02, weight_decay=1e-8, gradient_clip_norm=10.0, plateau_factor=0.5,
    plateau_patience=1, min_learning_rate=1e-4, early_stopping_patience=3, validation_cutoffs=(5.0,),
    milestones=(2, 3), gamma=0.5,
)  # fmt: skip
STEPS = 3


class Killed(Exception):
    """Stands for SIGKILL: nothing is saved on the way out."""


@pytest.fixture(scope="module")
def data(frames):
    tame = [replace(frame, energy=-0.3 * len(frame), forces=0.1 * frame.forces) for frame in frames]
    return GraphData(arrays_from_frames(tame, 7.0), torch.float64)


def fresh_model(settings, kind, backend="auto", device="cpu", built={}):  # noqa: B006, models made once
    """Always the same initial weights; to build or to copy a model takes as long as to train it here.

    On a CPU it is one module for all, as it was when it was built; a compiled one is a copy, with programs of its own.
    """
    if (kind, backend) not in built:
        torch.manual_seed(9)  # for the history that SETTINGS describe
        r_max, neighbors = (7.0, None) if kind == "fcl" else (5.0, 20.0)
        model = build_model(kind, settings, r_max, neighbors, dtype=torch.float64, backend=backend)
        built[kind, backend] = model, weights(model)
    model, initial = built[kind, backend]
    if backend == "compiled" or torch.device(device).type != "cpu":
        return copy.deepcopy(model).to(device)
    model.load_state_dict(initial)
    model.zero_grad(set_to_none=True)
    return model.train()


def weights(model):
    """A copy of a model's state."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def train(settings, data, kind="fcl", checkpoints=None, at_step=None, act=None, backend="auto", **changes):
    """A run with the same seeds always; ``act`` is called after step ``at_step`` (from 1) of this process.

    Returns weights and history without the times.
    """
    changed = SimpleNamespace(**{**vars(SETTINGS), **changes})
    device = data.device
    model = fresh_model(settings, kind, backend, device)
    if kind == "fcl":
        recipe = fcl_recipe("test", changed, INTERVAL, torch.Generator(device).manual_seed(3), data.dtype)
    else:
        recipe = static_recipe("test", 5.0, data.dtype)
    steps = 0

    def acting(original):
        def after_step(self, pairs):
            nonlocal steps
            steps += 1
            if steps == at_step:
                act()
            original(self, pairs)

        return after_step

    with pytest.MonkeyPatch.context() as patch, checkpoints or nullcontext() as kept:
        patch.setattr(supervision.Supervisor, "after_step", acting(supervision.Supervisor.after_step))
        history = fit(model, data, data, changed, LOSS, recipe, order_seed=2, checkpoints=kept)
    return weights(model), [{name: row[name] for name in row if name != "seconds"} for row in history]


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def checkpoints(folder, seconds=0.0, identity=IDENTITY):
    return Checkpoints(folder, identity, seconds)


def assert_equal(run, expected):
    assert run[1] == expected[1]
    assert run[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        assert torch.equal(run[0][name], value), name


@pytest.fixture(scope="module")
def unbroken(small_settings, data):
    torch.set_default_dtype(torch.float64)
    runs = {kind: train(small_settings, data, kind) for kind in ("fcl", "static")}
    history = runs["fcl"][1]
    # The run is one in which there is something to forget: worse epochs, a fallen rate, an early end.
    assert len({row["learning_rate"] for row in history}) > 1 and not all(row["best"] for row in history)
    assert len(history) < SETTINGS.epochs
    return runs


# Within and between epochs, with epochs since the best counted (17) and the rate fallen (20); saved after each step.
@pytest.mark.parametrize("step", [1, 3, 4, 17, 20])
def test_a_killed_training_goes_on_from_any_step(small_settings, data, unbroken, tmp_path, step, capsys):
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=step, act=kill)
    saved = step > 1
    assert len(checkpoints(tmp_path).files()) == min(step - 1, 2)  # the last step was not saved
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    assert ("goes on after" in capsys.readouterr().err) == saved


def test_a_training_killed_again_and_again(small_settings, data, unbroken, tmp_path):
    """Only every other step is saved: each process repeats one."""
    for _ in range(4):
        with pytest.raises(Killed):
            train(small_settings, data, "static", checkpoints(tmp_path), at_step=3, act=kill)
    assert_equal(train(small_settings, data, "static", checkpoints(tmp_path)), unbroken["static"])


@pytest.mark.parametrize("step", [2, STEPS])
def test_sigterm_saves_and_ends_with_a_failure(small_settings, data, unbroken, tmp_path, step, capsys):
    """Also after the last step of an epoch, and where no checkpoint was due."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted) as error:
        train(small_settings, data, checkpoints=checkpoints(tmp_path, 1e9), at_step=step, act=terminate)
    assert isinstance(error.value, SystemExit) and error.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    epoch, within = (step - 1) // STEPS + 1, (step - 1) % STEPS + 1
    assert [path.stem for path in checkpoints(tmp_path).files()] == [f"epoch{epoch:05d}_step{within:07d}"]
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    log = capsys.readouterr().err
    assert f"SIGTERM: ends after step {within} of epoch {epoch}" in log
    assert f"goes on after step {within} of epoch {epoch}" in log


def test_sigterm_in_the_validation_goes_on_before_it(small_settings, data, unbroken, tmp_path, monkeypatch):
    original, calls = training.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == 2:
            terminate()
        return original(*arguments)

    monkeypatch.setattr(training, "evaluate", evaluate)
    with pytest.raises(TrainingInterrupted):
        train(small_settings, data, checkpoints=checkpoints(tmp_path, 1e9))
    assert [path.stem for path in checkpoints(tmp_path).files()] == [f"epoch00002_step{STEPS:07d}"]
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])


def test_a_finished_training_is_not_repeated(small_settings, data, unbroken, tmp_path):
    """Results that were lost after the last epoch are written again without a step."""
    train(small_settings, data, checkpoints=checkpoints(tmp_path, 1e9))
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=1, act=kill), unbroken["fcl"])


def test_batches_made_ahead_do_not_change_what_is_drawn(small_settings, data, unbroken, tmp_path, monkeypatch):
    """As on a GPU: cutoffs of later batches are drawn before a step is saved."""
    original = parallel.divided_batches
    monkeypatch.setattr(parallel, "divided_batches", lambda *arguments: iter(list(original(*arguments))))
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=5, act=kill)
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])


@pytest.mark.slow
def test_the_compiled_path_goes_on_too(small_settings, data, tmp_path):
    options = {"backend": "compiled", "epochs": 2}
    expected = train(small_settings, data, **options)
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=5, act=kill, **options)
    torch._dynamo.reset()  # as in a new process
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path), **options), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_generator_of_a_gpu_comes_back(small_settings, frames, tmp_path):
    """Sums on a GPU are not repeatable bit for bit: the cutoffs that are drawn are, and the rest is close."""
    data = GraphData(arrays_from_frames(frames, 7.0), torch.float64, "cuda")
    expected = train(small_settings, data, epochs=3)
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=5, act=kill, epochs=3)
    weights, history = train(small_settings, data, checkpoints=checkpoints(tmp_path), epochs=3)
    for row, golden in zip(history, expected[1], strict=True):
        assert row["mean_cutoff_angstrom"] == pytest.approx(golden["mean_cutoff_angstrom"], rel=1e-12)
        assert row["val_loss"] == pytest.approx(golden["val_loss"], rel=1e-6)


def damage(path, way):
    content = bytearray(path.read_bytes())
    if way == "truncated":
        content = content[: len(content) // 2]
    elif way == "empty":
        content = b""
    else:
        content[-100] ^= 1  # one bit of a tensor
    path.write_bytes(content)


@pytest.mark.parametrize("way", ["truncated", "one bit"])
def test_a_damaged_checkpoint_is_refused_and_the_previous_one_used(
    small_settings, data, unbroken, tmp_path, way, capsys
):
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=6, act=kill)
    previous, last = checkpoints(tmp_path).files()
    damage(last, way)
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    log = capsys.readouterr().err
    assert f"{last}: refused, " in log and f"from {previous}" in log
    assert last.with_name(f"{last.name}.refused").is_file()


def test_when_none_can_be_used_the_training_starts_anew(small_settings, data, unbroken, tmp_path, capsys):
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=6, act=kill)
    for path in checkpoints(tmp_path).files():
        damage(path, "truncated")
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    log = capsys.readouterr().err
    assert log.count("refused") == 4 and "goes on" not in log  # twice two: the line and the new name


def test_a_foreign_checkpoint_is_refused(small_settings, data, unbroken, tmp_path, capsys):
    """Of another key, of another shape under the same key, without a generator: none changes anything."""
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=4, act=kill)
    mine = checkpoints(tmp_path)
    good = read_checkpoint(mine.files()[-1], mine.key)
    name = next(name for name, value in good.tensors.items() if name.startswith("best.") and value.dim())
    wrong_shape = {**good.tensors, name: good.tensors[name].reshape(-1)[:-1]}
    no_generator = {key: value for key, value in good.tensors.items() if key != "cutoffs"}
    no_moments = {key: value for key, value in good.tensors.items() if not key.startswith("model.")}
    write_checkpoint(mine.folder / "epoch00004_step0000001.safetensors", "0" * 16, good.tensors, good.facts)
    for step, tensors in enumerate((wrong_shape, no_generator, no_moments), start=1):
        write_checkpoint(mine.folder / f"epoch00005_step000000{step}.safetensors", mine.key, tensors, good.facts)
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    log = capsys.readouterr().err
    for reason in ("another training", f"{name} is ", "no state for the generator of the cutoffs", "another model"):
        assert reason in log


def test_a_changed_setting_starts_anew_and_says_so(small_settings, data, unbroken, tmp_path, capsys):
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=6, act=kill)
    changed = {"settings": {"fcl": {"learning_rate": 0.01}}, "code": "abd"}
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path, 0.0, changed)), unbroken["fcl"])
    log = capsys.readouterr().err
    assert "differs in: code, settings.fcl.learning_rate. Starting anew" in log and "goes on" not in log
    assert len(checkpoints(tmp_path).files()) == 2  # those of the first settings are still there


class Poison:
    """After so many batches the labels of one are not finite."""

    def __init__(self, data, at, value):
        self.data, self.left, self.value = data, at, value

    def __call__(self, *arguments):
        self.left -= 1
        result = ORIGINAL_LOSS(*arguments)
        return result * self.value if self.left == 0 else result


ORIGINAL_LOSS = training.batch_loss


@pytest.mark.parametrize(("value", "checked_every"), [(float("nan"), 1), (float("inf"), 1), (float("nan"), 50)])
def test_what_is_not_finite_stops_before_it_changes_a_weight(
    small_settings, data, unbroken, tmp_path, monkeypatch, value, checked_every
):
    """The state before the bad batch is saved, its structures are named; a run without the fault goes on from there.

    With ``checked_every`` as on a GPU, steps after the bad one are run before it is noticed, and change nothing.
    """
    folder = checkpoints(tmp_path, 1e9)
    if checked_every > 1:
        original = training.EpochSoFar.check
        monkeypatch.setattr(training.EpochSoFar, "check", lambda self: original(self) if self.step == STEPS else None)
    monkeypatch.setattr(training, "batch_loss", Poison(data, 5, value))
    with pytest.raises(TrainingDiverged, match=r"epoch 2: .* of step 2 is not finite.* train store: default (.*)\. To"):
        train(small_settings, data, checkpoints=folder)
    monkeypatch.undo()
    assert [path.stem for path in folder.files()] == ["epoch00002_step0000001"]
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])


def test_the_structures_of_a_bad_batch_and_of_a_bad_validation_are_named(small_settings, frames):
    bad = [replace(frame, energy=math.inf) if k == 4 else frame for k, frame in enumerate(frames)]  # NaN: it has none
    good, spoilt = (GraphData(arrays_from_frames(some, 7.0), torch.float64) for some in (frames, bad))
    settings = SimpleNamespace(**{**vars(SETTINGS), "batch_size": 1})
    for train_data, val_data, where in ((spoilt, good, "train"), (good, spoilt, "val")):
        model = fresh_model(small_settings, "static")
        recipe = static_recipe("test", 5.0, torch.float64)
        with pytest.raises(TrainingDiverged, match=rf"the {where} store: default 4\. To") as error:
            fit(model, train_data, val_data, settings, LOSS, recipe, order_seed=2)
        assert list(error.value.structures) == [4]


def test_a_full_disk_does_not_end_the_training(small_settings, data, unbroken, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcl.training.checkpoints.write_checkpoint", full)
    assert_equal(train(small_settings, data, checkpoints=checkpoints(tmp_path)), unbroken["fcl"])
    assert "could not be written: [Errno 28] No space left" in capsys.readouterr().err


def test_two_processes_do_not_train_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("fcl.training.checkpoints.PATIENCE", 0.1)
    with checkpoints(tmp_path), pytest.raises(BlockingIOError, match="another process trains this"):
        checkpoints(tmp_path).__enter__()
    with checkpoints(tmp_path):
        pass


def test_halves_of_a_killed_writer_are_removed(tmp_path):
    folder = checkpoints(tmp_path).folder
    folder.mkdir(parents=True)
    (folder / ".epoch1.abc.part.safetensors").write_bytes(b"half")
    with checkpoints(tmp_path):
        assert sorted(path.name for path in folder.iterdir()) == ["identity.json", "lock"]


def test_checkpoints_go_when_the_results_are_there(tmp_path):
    model, lost = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in (model, lost):
        path.write_bytes(b"weights")
        with checkpoints(tmp_path / "checkpoints" / path.stem) as kept:
            kept.finish(path)
    lost.write_bytes(b"others")
    with checkpoints(tmp_path / "checkpoints" / "running"):
        remove_finished(tmp_path / "checkpoints")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["b", "running"]
    remove_finished(tmp_path / "nothing")


def test_a_header_without_a_digest_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="no 'checkpoint'"):
        read_checkpoint(tmp_path / "a.safetensors", "0")
    write_checkpoint(tmp_path / "b.safetensors", "0", {"a": torch.zeros(1)}, {"best": float("inf")})
    assert read_checkpoint(tmp_path / "b.safetensors", "0").facts == {"best": float("inf")}


def test_the_log_tells_how_far_it_is(small_settings, data, monkeypatch, capsys):
    """A line within epochs too, here after each step: speed, time and what is left, at most."""
    monkeypatch.setattr(supervision, "LINE_SECONDS", 0.0)
    train(small_settings, data, epochs=2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert len(lines) == 2 * (STEPS + 1)
    for line, start in zip(lines, ("epoch 1/2, step 1/3  train ", "epoch 1/2, step 2/3  train "), strict=False):
        assert line.startswith(f"test: {start}") and " lr 0.02 " in line and " pairs/s " in line
        assert "at most " in line and line.endswith("left")
    assert "test: epoch 1/2  train " in lines[STEPS] and "validation" in lines[STEPS]
    assert lines[-1].endswith("done")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (425, "7 min 05 s"), (12000, "3 h 20 min"), (187300, "2 d 04 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_facts_are_json(small_settings, data, tmp_path):
    """Nothing in a checkpoint is a pickle, and its facts survive JSON as they are."""
    with pytest.raises(Killed):
        train(small_settings, data, checkpoints=checkpoints(tmp_path), at_step=9, act=kill)
    mine = checkpoints(tmp_path)
    facts = read_checkpoint(mine.files()[-1], mine.key).facts
    assert json.loads(json.dumps(facts)) == facts
    assert {"epoch", "step", "history", "scheduler", "early_stopping"} <= facts.keys()
