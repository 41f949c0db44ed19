"""Models whose cards have the format fcl-model-1 are those that they were: predictions from before the own blocks."""

import json

import pytest
import torch

from fcl.data.batch import GraphData
from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames
from fcl.models.files import load, read_card, save_model
from fcl.models.pretrained import FOLDER, model_file
from regenerate import HERE, golden_cutoffs
from tolerances import SAME_MODEL

EXPECTED = json.loads((HERE / "format_1/predictions.json").read_text(encoding="utf-8"))
MODELS = {"embedded": "embedded", "mini": "mini", "static": HERE / "format_1/static.safetensors"}


@pytest.fixture(scope="module")
def structures():
    """The first structure of each subset of the shipped test split with elements up to Z = 20."""
    first = {}
    for frame in read_frames(FOLDER / "test.xyz.gz", "test"):
        if max(frame.numbers) <= 20:
            first.setdefault(frame.subset, frame)
    return GraphData(arrays_from_frames(list(first.values()), 7.0), torch.float64)


@pytest.mark.parametrize("backend", ["fast", "reference"])
@pytest.mark.parametrize("name", MODELS)
def test_energies_and_forces_are_those_of_before(structures, name, backend):
    assert read_card(model_file(MODELS[name]))["format"] == "fcl-model-1"
    model = load(MODELS[name], dtype=torch.float64, backend=backend)
    assert model.settings.cutoff_embedding == "released_no_silu"
    batch = structures.batch(torch.arange(len(structures)))
    own = {f"{model.cutoff_limit:.1f}": torch.full((batch.n_atoms,), model.cutoff_limit)}
    cases = golden_cutoffs(batch) if model.flexible else own
    for cutoffs, quantities in EXPECTED[name].items():
        output = model(structures.select_pairs(batch, cases[cutoffs], model.selector), cases[cutoffs])
        for key, quantity in (("energy", "energy_ev"), ("forces", "forces_ev_per_angstrom")):
            expected = torch.tensor(quantities[quantity])
            assert (output[key] - expected).abs().max() <= SAME_MODEL * expected.abs().max(), (cutoffs, quantity)


def test_saved_again_it_is_of_the_new_format(structures, tmp_path):
    """The card then says what the model has, so that it loads as the same model."""
    path = tmp_path / "again.safetensors"
    model = load("mini", dtype=torch.float64)
    card = save_model(model, path)
    assert card["format"] == "fcl-model-2" and card["model"]["cutoff_embedding"] == "released_no_silu"
    batch = structures.batch(torch.arange(len(structures)))
    cutoffs = golden_cutoffs(batch)["per_atom"]
    batch = structures.select_pairs(batch, cutoffs, model.selector)
    assert load(path, dtype=torch.float64)(batch, cutoffs)["energy"].equal(model(batch, cutoffs)["energy"])
    # the same weights with the SiLU at the end are another model
    text = path.with_suffix(".json").read_text(encoding="utf-8")
    path.with_suffix(".json").write_text(text.replace("released_no_silu", "released"), encoding="utf-8")
    other = load(path, dtype=torch.float64)(batch, cutoffs)["energy"]
    assert (other - model(batch, cutoffs)["energy"]).abs().max() > 1e-3
