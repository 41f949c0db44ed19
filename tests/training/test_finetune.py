"""Fine-tuning of a given model: labels or a teacher, warm start, frozen parts, learning rates, parts of batches."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.io import read, write
from safetensors.torch import load_file
from typer.testing import CliRunner

import fcl
from fcl import FCLCalculator
from fcl.cli.main import app
from fcl.config.load import training_settings
from fcl.cutoffs.sampling import cutoff_sampler
from fcl.data.loader import divided_batches, parts_of
from fcl.data.store import read_reference_energies, read_store
from fcl.models.files import build_model, load
from fcl.models.mace.convert import convert
from fcl.models.warm import warm_start
from fcl.training import recipe
from fcl.training.fit import Recipe, train_epoch
from fcl.training.loss import LOSS
from fcl.training.memory import kept_bytes, say_peak
from fcl.training.parameters import adamw
from mace_checkpoints import checkpoint
from project import ROOT
from tolerances import EQUAL, EQUAL_GRADIENTS

pytestmark = pytest.mark.heavy
SMALL = {"max_ell": 1, "correlation": 1}
SETTINGS = {"compute": {"device": "cpu", "checkpoint_seconds": 0}, "fcl": {"epochs": 2, "batch_size": 4}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A converted model with pair repulsion and transformed distances, and molecules with total energies."""
    folder = tmp_path_factory.mktemp("finetune")
    torch.set_default_dtype(torch.float64)
    mace = checkpoint("density", elements=(1, 6, 7, 8, 15, 16, 17), **SMALL)
    torch.save(mace.float(), folder / "given.model")
    card = convert(folder / "given.model", folder / "given.safetensors")
    frames = read(ROOT / "resources" / "embedded" / "val.xyz.gz", ":")
    frames = sorted((atoms for atoms in frames if atoms.info["subset"] == "SHIFTML-molfrags"), key=len)[:12]
    frames = [atoms for atoms in frames if set(atoms.symbols) <= card["reference_energies_ev"].keys()]
    assert len(frames) >= 8
    for atoms in frames:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc, atoms.info = None, {"energy": energy + sum(map(card["reference_energies_ev"].get, atoms.symbols))}
        atoms.set_array("forces", forces)
    write(folder / "labelled.xyz", frames, format="extxyz")
    for atoms in frames:
        atoms.info = {}
        del atoms.arrays["forces"]
    write(folder / "bare.xyz", frames, format="extxyz")
    return folder


def tune(folder, output, data="labelled.xyz", **options):
    options = {"settings": SETTINGS, "warm": True, "val_fraction": 0.25, **options}
    return fcl.train(output, data=folder / data, pretrained=folder / "given.safetensors", **options)


def test_with_labels(folder, tmp_path):
    """Energies are taken relative to the given model's; the model keeps its functions of distance and neighbours."""
    (model,) = tune(folder, tmp_path)
    card = json.loads(model.file.with_suffix(".json").read_text())
    given = json.loads((folder / "given.json").read_text())
    assert card["reference_energies_ev"] == pytest.approx(given["reference_energies_ev"])
    assert read_reference_energies(tmp_path / "stores/train.h5") == card["reference_energies_ev"]
    assert abs(read_store(tmp_path / "stores/train.h5").energy).max() < 200.0  # not total energies, of thousands
    assert card["kind"] == "fcl" and card["r_max_angstrom"] == 5.0 and card["r_min_angstrom"] == 3.0
    assert card["avg_num_neighbors"] == given["avg_num_neighbors"] and card["start_sha256"] == given["weights_sha256"]
    assert "of memory per step" in (tmp_path / "train.log").read_text()
    assert load(model.file).settings.distance_transform == "Agnesi"
    again = tune(folder, tmp_path)
    assert [model.new for model in again] == [False]


def test_with_the_given_model_as_teacher(folder, tmp_path):
    """Structures suffice; at the start nothing is wrong at the teacher's own cutoff, and training lowers the rest."""
    settings = {**SETTINGS, "fcl": {"epochs": 4, "batch_size": 4, "validation_cutoffs": [4.0], "learning_rate": 0.002}}
    with pytest.raises(ValueError, match="energy"):
        tune(folder, tmp_path / "no", data="bare.xyz", settings=settings)
    (model,) = tune(folder, tmp_path, data="bare.xyz", teacher=True, settings=settings)
    store = read_store(tmp_path / "stores/train.h5")
    teacher = FCLCalculator(folder / "given.safetensors")
    from ase import Atoms

    first = slice(*store.ptr[:2])
    atoms = Atoms(store.numbers[first], store.positions[first])
    np.testing.assert_allclose(store.forces[first], teacher.get_forces(atoms), rtol=1e-6, atol=1e-6)
    assert store.energy[0] == pytest.approx(teacher.get_potential_energy(atoms), abs=1e-5)
    assert read_reference_energies(tmp_path / "stores/train.h5")
    rows = (tmp_path / "fcl.history.csv").read_text().splitlines()
    losses = [float(row.split(",")[4]) for row in rows[1:]]
    assert losses[-1] < losses[0] and model.force_mae < model.trivial_force_mae
    with pytest.raises(ValueError, match=r"data\.train\.teacher"):
        tune(folder, tmp_path, settings=settings)


def test_static_fine_tuning(folder, tmp_path):
    settings = {**SETTINGS, "static": {"epochs": 2, "batch_size": 4}}
    (model,) = tune(folder, tmp_path, kind="static", settings=settings)
    card = json.loads(model.file.with_suffix(".json").read_text())
    assert card["kind"] == "static" and card["r_max_angstrom"] == 5.0 and "start_sha256" in card
    before, after = load_file(folder / "given.safetensors"), load_file(model.file)
    assert not torch.equal(before["interactions.0.linear.weight"], after["interactions.0.linear.weight"])
    with pytest.raises(ValueError, match="has the cutoff 5 A, and keeps it"):
        tune(folder, tmp_path / "other", kind="static", settings={"static": {"cutoffs": [4.0]}})


def test_the_command(folder, tmp_path):
    """Frozen parts, parts of batches; misuse is a usage error."""

    def run(*arguments):
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    given = ("--from", folder / "given.safetensors", "--data", folder / "bare.xyz", "-o", tmp_path / "out")
    options = ("--epochs", 2, "--batch-size", 4, "--device", "cpu", "--teacher", "--max-pairs", 300)
    done = run(*given, *options, "--freeze", "backbone")
    assert done.exit_code == 0, done.output
    before, after = load_file(folder / "given.safetensors"), load_file(tmp_path / "out/fcl.safetensors")
    shared = [name for name in before if not name.startswith("radial_embedding.")]
    assert all(torch.equal(before[name], after[name]) for name in shared if name != "r_max")
    assert after["cutoff_embedding.projection.weight"].abs().max() > 0
    assert "fits no parameter" in run(*given[:4], "-o", tmp_path / "a", *options, "--freeze", "layers.7").output
    assert run(*given, "--cutoff", 4).exit_code == 2 and run(*given[2:], "--teacher").exit_code == 2


def test_a_warm_start_of_the_papers_model(small_settings, graphs):
    """FCL at the pre-training's cutoff gives its forces, far below 2% of them; the random start does not."""
    torch.manual_seed(2)
    static = build_model("static", small_settings, 6.0, 20.0, dtype=torch.float64)
    batch = graphs.batch(torch.arange(len(graphs)))
    cutoffs = torch.full((batch.n_atoms,), 6.0)
    batch = graphs.select_pairs(batch, cutoffs, static.selector)
    expected = static(batch)["forces"]
    for kind in ("released", "literal"):
        settings = small_settings.model_copy(update={"bessel_range": 6.0, "cutoff_embedding": kind})
        model = build_model("fcl", settings, 7.0, 20.0, dtype=torch.float64)
        model.load_backbone(static.state_dict())
        random = model(batch, cutoffs)["forces"]
        warm_start(model, static)
        difference = (model(batch, cutoffs)["forces"] - expected).square().mean().sqrt()
        assert difference < 1e-9 * expected.square().mean().sqrt()
        assert (random - expected).square().mean().sqrt() > 0.02 * expected.square().mean().sqrt()
        torch.testing.assert_close(model(batch, cutoffs)["energy"], static(batch)["energy"], **EQUAL)
    with pytest.raises(ValueError, match="range of 6 A, not 7 A"):
        warm_start(build_model("fcl", small_settings, 7.0, dtype=torch.float64), static)
    narrow = small_settings.model_copy(update={"bessel_range": 6.0, "radial_embedding_hidden": 19})
    with pytest.raises(ValueError, match=r"model\.radial_embedding_hidden: 19"):
        warm_start(build_model("fcl", narrow, 7.0, dtype=torch.float64), static)


def test_a_given_model_in_the_place_of_a_pre_training(folder, tmp_path):
    """``pretrain.from``: the model as it is, with its errors on the validation split; FCL takes its architecture."""
    tune(folder, tmp_path / "data")
    train, val = (tmp_path / "data/stores" / f"{split}.h5" for split in ("train", "val"))
    changes = {
        "pretrain": {"from": str(folder / "given.safetensors"), "cutoff": 5.0},
        "cutoffs": {"r_min": 3.0, "r_max": 5.0}, "compute": {"device": "cpu"},
        "fcl": {"start": "warm", "epochs": 1, "batch_size": 4, "validation_cutoffs": [4.0, 5.0]},
        "static": {"cutoffs": [5.0]},
    }  # fmt: skip
    study = training_settings(changes)
    assert study.dump("pretrain")["pretrain"]["from"] == changes["pretrain"]["from"]
    assert "from" not in training_settings({}).dump("pretrain")["pretrain"]
    first, second = (
        recipe.Outputs(*(tmp_path / f"{name}.{end}" for end in ("safetensors", "csv", "manifest.json")))
        for name in ("pretrain", "fcl")
    )
    recipe.pretrain(study, train, val, 0, first)
    assert first.model.read_bytes() == (folder / "given.safetensors").read_bytes()
    (row,) = csv.DictReader(first.history.open())
    assert row["epoch"] == "0" and float(row["val_loss"]) > 0
    model = recipe.train_fcl(study, train, val, first.model, 1, second).model
    assert model.settings.distance_transform == "Agnesi" and model.elements == (1, 6, 7, 8, 15, 16, 17)
    with pytest.raises(ValueError, match=r"is of cutoff 5 A, and pretrain\.cutoff is 6 A"):
        recipe.pretrain(study.narrowed(pretrain={"cutoff": 6.0}), train, val, 0, first)


OPTIMISER = SimpleNamespace(
    epochs=1, batch_size=5, learning_rate=0.01, weight_decay=0.0, gradient_clip_norm=10.0, milestones=(), gamma=0.5
)


def test_groups_of_parameters(small_settings):
    model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    optimiser = adamw(
        model, SimpleNamespace(**vars(OPTIMISER), freeze=("interactions.0", "readouts.*.weight"), backbone_rate=0.1)
    )
    new, old = optimiser.param_groups
    assert (new["lr"], old["lr"]) == (0.01, pytest.approx(0.001))
    names = {id(value): name for name, value in model.named_parameters()}
    assert all(names[id(value)].startswith(("radial_embedding.network", "cutoff_embedding")) for value in new["params"])
    trained = [names[id(value)] for value in old["params"]]
    assert any(name.startswith("interactions.1") for name in trained)
    assert not any(name.startswith(("interactions.0.", "readouts")) for name in trained)
    with pytest.raises(ValueError, match="'interaction' fits no parameter; there are .*interactions.0.*backbone"):
        adamw(model, SimpleNamespace(**vars(OPTIMISER), freeze=("interaction",)))
    with pytest.raises(ValueError, match="nothing is left"):
        adamw(model, SimpleNamespace(**vars(OPTIMISER), freeze=("*",)))


def test_parts_of_batches():
    counts = torch.tensor([5, 9, 1, 2, 30, 0, 4])
    parts = [part.tolist() for part in parts_of(torch.tensor([6, 1, 0, 4, 2, 3, 5]), counts, 13)]
    assert parts == [[6, 1], [0], [4], [2, 3, 5]]
    assert [part.tolist() for part in parts_of(torch.tensor([6, 1]), counts, 1)] == [[6], [1]]


@pytest.mark.parametrize("max_pairs", [1, 150])
def test_an_epoch_in_parts_is_the_same_epoch(small_settings, contract_graphs, max_pairs):
    """Weights, loss and drawn cutoffs after an epoch of small parts, against whole batches."""
    results = []
    cutoffs = SimpleNamespace(r_min=3.5, r_max=7.0, sampling="atoms")
    for limit in (None, max_pairs):
        torch.manual_seed(5)
        model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
        sampler = cutoff_sampler(cutoffs, torch.Generator().manual_seed(2), torch.float64)
        drawn = Recipe("test", sampler, (5.0,), None)
        chunks = torch.split(torch.arange(15), 5)
        seen = []
        loss, mean = train_epoch(
            model, contract_graphs, chunks, adamw(model, OPTIMISER), OPTIMISER, LOSS, drawn, None, seen.append, limit
        )
        results.append((loss, mean, model.state_dict(), seen))
    whole, parts = results
    assert parts[3] == whole[3] and len(whole[3]) == 3
    assert parts[:2] == pytest.approx(whole[:2], rel=1e-12)
    for name, value in whole[2].items():
        torch.testing.assert_close(parts[2][name], value, **EQUAL_GRADIENTS, msg=name)
    chunks = [torch.arange(5)]
    (made,) = divided_batches(contract_graphs, chunks, drawn.draw_cutoffs, model.selector, max_pairs)
    assert len(made) > 1


def test_memory_is_said_beforehand(small_settings, contract_graphs, caplog):
    """What is kept grows with the pairs; too little free memory is a warning with a number of pairs that fits."""
    model = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    small, large = contract_graphs.pair_counts.argsort()[[12, -1]].tolist()
    kept = [kept_bytes(model, contract_graphs, 7.0, index, LOSS) for index in (small, large)]
    assert kept[1][1] > 2 * kept[0][1] > 100
    per_pair = [size / pairs for size, pairs in kept]
    assert 0.5 < per_pair[0] / per_pair[1] < 2.5 and per_pair[1] > 8 * 100
    settings = SimpleNamespace(batch_size=10, batch_by="structures")
    with caplog.at_level("INFO"):
        peak = say_peak("fcl", model, contract_graphs, 7.0, settings, LOSS, None)
        assert "of memory per step" in caplog.text and "may be needed" not in caplog.text
        less = say_peak("fcl", model, contract_graphs, 7.0, settings, LOSS, int(contract_graphs.pair_counts.max()))
        assert less < 0.6 * peak
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fcl.training.memory.free_bytes", lambda device: 0.5 * peak)
            say_peak("fcl", model, contract_graphs, 7.0, settings, LOSS, None)
    assert "set compute.max_pairs to" in caplog.text
