"""Model files that have been tampered with, and misuse of the models: one clear sentence each."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from examples import ARITHMETIC
from fcl.models.conditioning import CutoffEmbedding
from fcl.models.files import build_model, card_path, load, save_model
from fcl.runs.files import sha256_file


@pytest.fixture
def path(tmp_path, small_settings):
    """A saved model."""
    save_model(build_model("fcl", small_settings, 7.0), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def sign(path):
    """Let the card vouch for the weights as they are now."""
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, "weights_sha256": sha256_file(path)}))


def test_a_card_that_is_no_json(path):
    card_path(path).write_text("{half")
    with pytest.raises(ValueError, match=r"model\.json: not JSON"):
        load(path)


def test_weights_that_are_no_safetensors(path):
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    sign(path)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(path)


@pytest.mark.parametrize(
    "settings", [{"radial_mlp": [10**20, 16]}, {"mlp_irreps": "4x0e + 4x1o"}, {"max_ell": 64}], ids=str
)
def test_settings_of_which_no_model_can_be_built(path, settings):
    """Found by tools/fuzz_inputs.py."""
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, "model": {**card["model"], **settings}}))
    with pytest.raises(
        ValueError, match=r"model\.json: (a model of these settings cannot be built|not a card: model\.m)"
    ):
        load(path)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_parameters_that_are_not_the_models(path, fault):
    state = load_file(path)
    name = "radial_embedding.network.0.weight"
    if fault == "missing":
        del state[name]
    elif fault == "unknown":
        state[f"{name}.other"] = torch.zeros(2)
    else:
        state[name] = torch.zeros(2, 3)
    save_file(state, path)
    sign(path)
    with pytest.raises(ValueError, match=rf"model\.safetensors: parameters .*{name}"):
        load(path)


def test_misuse_of_models(small_settings, graphs):
    with pytest.raises(ValueError, match="backend 'quick' is unknown; known are auto"):
        build_model("static", small_settings, 5.0, 20.0, backend="quick")
    with pytest.raises(ValueError, match="'linear' is unknown; known are released, released_no_silu, literal"):
        CutoffEmbedding(8, 4, "linear")
    model = build_model("static", small_settings, 5.0, 20.0, dtype=torch.float64)
    molecule = graphs.batch(torch.tensor([0]))
    molecule = graphs.select_pairs(molecule, torch.full((molecule.n_atoms,), 5.0), ARITHMETIC)
    with pytest.raises(ValueError, match="without a cell volume"):
        model(molecule, stress=True)


def test_elements_in_few_training_structures_are_warned_of_once(tmp_path, small_settings, caplog):
    from ase import Atoms

    from fcl.simulation.calculator import FCLCalculator

    file = tmp_path / "model.safetensors"
    save_model(build_model("fcl", small_settings, 7.0), file, {"training_structures": {"H": 5, "O": 4}})
    calculator = FCLCalculator(file, 4.0)
    for symbols in ("H2", "OHN", "OHN"):
        atoms = Atoms(symbols, [[0, 0, z] for z in range(len(Atoms(symbols)))], calculator=calculator)
        assert atoms.get_potential_energy() != 0.0
    said = [record.getMessage() for record in caplog.records]
    assert said == ["elements that the model hardly knows: N in 0, O in 4 of its training structures"]
    save_model(build_model("fcl", small_settings, 7.0), file)  # nothing is known, nothing is said
    caplog.clear()
    load(file).check_elements(torch.tensor([7, 8]))
    assert not caplog.records


def test_models_are_loaded_in_several_threads():
    """The default dtype, in which modules are built, is that of the process."""
    before, wanted = torch.get_default_dtype(), [torch.float64, torch.float32] * 8
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda dtype: load("mini", dtype=dtype), wanted))
    for dtype, model in zip(wanted, models, strict=True):
        tensors = [*model.parameters(), *model.buffers()]
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {dtype}
    assert torch.get_default_dtype() == before
