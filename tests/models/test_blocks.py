"""The own blocks hold what mace-torch's hold: names, shapes, buffers, initial distributions. It is not imported."""

import copy
import json
import subprocess
import sys

import pytest
import torch

from examples import contract_model, mace_inputs, sampled_cutoffs
from fcl.models.files import build_model, card_path, load, save_model
from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments
from fcl.models.mace.blocks import SILU_SCALE
from fcl.models.mace.model import MACE, build, channels_of
from fcl.models.mace.wrapper import MACETorch
from fcl.models.registry import ARCHITECTURES
from tolerances import EQUAL, STANDARD_ERRORS

DRAWS = 6
SETTINGS = [{}, {"radial_mlp": (16,), "hidden_irreps": "8x0e + 8x1o"}, {"mlp_irreps": "4x0e + 3x0e", "num_elements": 5}]


def theirs(settings, r_max=5.5, neighbors=31.0):
    return ScaleShiftMACE(**backbone_arguments(settings, r_max, neighbors))


def ours(settings, r_max=5.5, neighbors=31.0):
    return build("static", settings, r_max, neighbors)


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_names_shapes_types_and_buffers(model_settings, changes):
    settings = model_settings.model_copy(update=changes)
    mine, other = ours(settings), theirs(settings)
    state, expected = mine.state_dict(), other.state_dict()
    assert sorted(state) == sorted(expected)
    assert {n: (v.shape, v.dtype) for n, v in state.items()} == {n: (v.shape, v.dtype) for n, v in expected.items()}
    parameters = dict(other.named_parameters())
    assert set(dict(mine.named_parameters())) == set(parameters)
    for name in set(state) - set(parameters):
        torch.testing.assert_close(state[name], expected[name], **EQUAL, msg=name)


def test_a_state_dict_goes_both_ways(model_settings, graphs):
    mine, other = ours(model_settings), theirs(model_settings)
    other.load_state_dict(mine.state_dict())
    fresh = ours(model_settings)
    fresh.load_state_dict(other.state_dict())
    for name, value in fresh.state_dict().items():
        assert value.equal(mine.state_dict()[name]), name


def test_initial_weights_are_drawn_from_the_same_distributions(model_settings):
    """Shape, mean and variance of every parameter, over several draws, within their standard errors."""
    samples = []
    for make, seed in ((ours, 1), (theirs, 2)):
        torch.manual_seed(seed)
        draws = [dict(make(model_settings).named_parameters()) for _ in range(DRAWS)]
        samples.append({name: torch.stack([draw[name].detach() for draw in draws]) for name in draws[0]})
    mine, other = samples
    assert mine.keys() == other.keys() and len(mine) == 23
    for name, values in mine.items():
        assert values.shape == other[name].shape, name
        # Both are N(0, 1): the mean of n draws has the standard error 1 / sqrt(n), the variance sqrt(2 / n).
        n = values.numel()
        means, variances = (
            torch.stack([v.mean(), w.mean()])
            for v, w in ((values, other[name]), (values.square(), other[name].square()))
        )
        assert ((means - 0.0).abs() < STANDARD_ERRORS / n**0.5).all(), name
        assert ((variances - 1.0).abs() < STANDARD_ERRORS * (2.0 / n) ** 0.5).all(), name
        assert (values.amax() > 1.0) and (values[0] != values[1]).any(), name


def test_the_parts_of_fcl_start_as_torch_starts_them(model_settings):
    """u and q are `torch.nn.Linear`: uniform within 1 / sqrt(inputs)."""
    model = build("fcl", model_settings, 7.0)
    for part in (model.radial_embedding, model.cutoff_embedding):
        layers = [module for module in part.modules() if isinstance(module, torch.nn.Linear)]
        assert len(layers) in (2, 3)
        for layer in layers:
            bound = layer.in_features**-0.5
            assert 0.8 * bound < float(layer.weight.detach().abs().max()) <= bound


def test_the_constant_of_silu_is_that_of_e3nn():
    from e3nn.math import normalize2mom

    assert float(normalize2mom(torch.nn.functional.silu).cst) == pytest.approx(SILU_SCALE, rel=1e-12)


def test_what_the_own_blocks_cover(model_settings):
    assert channels_of(model_settings) == 32
    for changes in (
        {"correlation": 2}, {"max_ell": 2}, {"num_interactions": 3}, {"hidden_irreps": "32x0e"},
        {"hidden_irreps": "16x0e + 8x1o"}, {"hidden_irreps": "8x0e + 8x1o + 8x2e"}, {"hidden_irreps": "8x0e + 8x1e"},
    ):  # fmt: skip
        assert channels_of(model_settings.model_copy(update=changes)) is None, changes
    small = model_settings.model_copy(update={"correlation": 2, "num_elements": 3})
    assert type(build("fcl", small, 7.0)) is MACETorch and type(build("fcl", model_settings, 7.0)) is MACE
    with pytest.raises(ValueError, match="correlation 1"):
        MACE(small, 7.0, 50.0, None)


def test_the_range_of_the_bessel_functions_is_a_setting(small_settings, contract_graphs):
    """null is r_max; another range moves the functions and not the taper, in both architectures alike."""
    vectors, pair, numbers = torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0], [1]]), torch.tensor([1, 8])
    for kind, cutoffs in (("static", None), ("fcl", torch.tensor([5.0, 6.0]))):
        energies = {}
        for bessel_range in (None, 5.5, 9.0):
            settings = small_settings.model_copy(update={"bessel_range": bessel_range})
            for architecture in ARCHITECTURES:
                torch.manual_seed(3)
                model = build_model(kind, settings, 5.5, 9.0, dtype=torch.float64)
                other = build_model(kind, settings, 5.5, 9.0, dtype=torch.float64, architecture=architecture)
                other.load_state_dict(model.state_dict())
                assert model.bessel_range == other.bessel_range == (bessel_range or 5.5)
                found = other.site_energies(numbers, pair, vectors, cutoffs)
                energies.setdefault(bessel_range, found)
                torch.testing.assert_close(found, energies[bessel_range], **EQUAL)
        assert energies[None].equal(energies[5.5]) and not torch.allclose(energies[None], energies[9.0])


def lonely(model, numbers):
    """Inputs of `site_energies` without pairs."""
    cutoffs = torch.full((len(numbers),), 4.0) if model.flexible else None
    return torch.tensor(numbers), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, 3), cutoffs


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "converted"])
@pytest.mark.parametrize("kind", ["static", "fcl"])
def test_the_interface_of_every_architecture(small_settings, contract_graphs, architecture, kind, tmp_path):
    """Elements, offsets, last-layer features, card and file."""
    model = contract_model(small_settings, kind, architecture=architecture)
    architecture = "mace-torch" if architecture == "converted" else architecture
    assert model.architecture == architecture and model.kind == kind and model.flexible == (kind == "fcl")
    assert model.elements == tuple(range(1, 101)) and model.head == "Default" and model.card == {}
    assert model.energy_offsets.tolist() == [0.0] * 100
    assert model.bessel_range == model.cutoff_limit == float(model.r_max) == (7.0 if kind == "fcl" else 5.5)
    assert model.backend == model.backends[0] and "reference" in model.backends
    with pytest.raises(ValueError, match="Z = 1-100, not Lr"):
        model.check_elements(torch.tensor([1, 103]))
    batch = contract_graphs.batch(torch.arange(len(contract_graphs)))
    cutoffs = sampled_cutoffs(batch.n_atoms, 2) if kind == "fcl" else torch.full((batch.n_atoms,), 5.5)
    batch = contract_graphs.select_pairs(batch, cutoffs, model.selector)
    i, j = batch.pair_index
    shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, batch.cells.index_select(0, batch.pair_structure))
    inputs = batch.numbers, batch.pair_index, batch.positions[j] - batch.positions[i] + shifts, cutoffs
    energies, features = model.site_energies(*inputs), model.last_layer_features(*inputs)
    weights, shift = model.last_layer()
    assert features.shape == (batch.n_atoms, len(weights)) and energies.abs().max() > 0.1
    torch.testing.assert_close(features @ weights + shift, energies, **EQUAL)
    path = tmp_path / "model.safetensors"
    assert save_model(model, path)["architecture"] == architecture
    again = load(path, dtype=torch.float64)
    assert type(again) is type(model) and again.card["architecture"] == architecture
    assert again.site_energies(*inputs).equal(energies)


def test_an_unknown_architecture(small_settings, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(build_model("fcl", small_settings, 7.0), path)
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, "architecture": "schnet"}))
    with pytest.raises(ValueError, match="architecture 'schnet' is unknown; known are mace, mace-torch"):
        load(path)


def test_the_wrapper_takes_any_elements_heads_and_offsets(small_settings):
    """A ScaleShiftMACE of three elements with two heads, isolated-atom energies, scale and shift: mace-torch's energies
    are those of the wrapper and the offsets."""
    from ase.build import molecule

    from fcl.simulation.calculator import FCLCalculator

    arguments = backbone_arguments(small_settings.model_copy(update={"num_elements": 3}), 5.0, 9.0)
    offsets = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0]])
    arguments |= {"atomic_numbers": [1, 6, 8], "heads": ["pbe", "scan"], "atomic_energies": offsets.numpy()}
    arguments |= {"atomic_inter_scale": [1.5, 2.5], "atomic_inter_shift": [0.1, 0.2]}
    mace = ScaleShiftMACE(**arguments)
    atoms = molecule("CH3OH")
    for number, head in enumerate(("pbe", "scan")):
        model = MACETorch(mace, head=head).eval()
        assert model.elements == (1, 6, 8) and not model.flexible and model.head == head
        assert model.energy_offsets.equal(offsets[number])
        calculator = FCLCalculator(model, device="cpu")
        assert calculator.model is model
        batch, _ = calculator._neighbors.batch(
            atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, calculator.cutoffs.of(atoms.numbers)
        )
        inputs = mace_inputs(batch) | {"head": torch.tensor([number])}
        element = torch.tensor([[1, 6, 8].index(z) for z in atoms.numbers])
        inputs["node_attrs"] = torch.nn.functional.one_hot(element, 3).double()
        expected = mace(inputs)
        found = model(batch)
        total = found["energy"] + model.energy_offsets[element].sum()
        torch.testing.assert_close(total, expected["energy"], **EQUAL)
        torch.testing.assert_close(found["forces"], expected["forces"], **EQUAL)
        i, j = batch.pair_index
        given = batch.numbers, batch.pair_index, batch.positions[j] - batch.positions[i]
        weights, shift = model.last_layer()
        sites = model.last_layer_features(*given) @ weights + shift
        torch.testing.assert_close(sites, model.site_energies(*given), **EQUAL)
    with pytest.raises(ValueError, match="elements H, C, O, not N"):
        model.check_elements(torch.tensor([1, 7]))
    with pytest.raises(ValueError, match="head 'r2scan' is unknown; the model has pbe, scan"):
        MACETorch(mace, head="r2scan")
    with pytest.raises(ValueError, match="without settings cannot be saved"):
        save_model(model, "nowhere.safetensors")
    with pytest.raises(ValueError, match="own precision, device and backend only"):
        FCLCalculator(model, device="cpu", dtype="float32")
    with pytest.raises(ValueError, match="export covers"):
        model.freeze([1], [5.0])


def test_what_the_wrapper_refuses(small_settings):
    mace = ScaleShiftMACE(**backbone_arguments(small_settings.model_copy(update={"num_elements": 2}), 5.0, 9.0))
    mace.joint_embedding = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="embeddings of other inputs cannot be wrapped"):
        MACETorch(mace)


def test_the_oracle_is_no_part_of_the_model(small_settings):
    """mace-torch's blocks borrow the parameters: nothing is added to the state, and no random number is drawn."""
    model = build("fcl", small_settings, 7.0)
    names = set(model.state_dict())
    random = torch.get_rng_state()
    model.backend = "reference"
    energies = model.site_energies(*lonely(model, [1, 8]))
    assert torch.get_rng_state().equal(random) and set(model.state_dict()) == names
    assert copy.deepcopy(model).site_energies(*lonely(model, [1, 8])).equal(energies)


PROGRAM = """
import sys
import numpy as np
from ase.build import molecule
import fcl
from fcl.cutoffs.choice import CutoffChoice
from fcl.models.mace.frozen import freeze
import fcl.calibration.optimise, fcl.evaluation.errors, fcl.study.stages.training, fcl.training.fit, fcl.models.compile
model = fcl.load("embedded")
atoms = molecule("H2O")
atoms.calc = fcl.FCLCalculator(model, 5.0, device="cpu")
atoms.get_forces()
freeze(model, CutoffChoice(model, 5.0))
unwanted = ("mace", "e3nn", "torch_geometric", "matscipy", "lightning", "torchmetrics")
print([name for name in unwanted if name in sys.modules])
"""


def test_the_default_path_imports_neither_mace_torch_nor_e3nn():
    """Loading, calculator, export, and the modules of training, evaluation and calibration."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


#: Imports that take a tenth of a second and more, and that a job needs for none of what `fcl.load` does.
SLOW = ("pandas", "scipy", "matplotlib", "torch._dynamo", "phonopy", "ase.io", "sympy", "h5py", "snakemake")


def test_loading_a_model_imports_nothing_slow_beside_torch():
    load = "import fcl; fcl.load('embedded')"
    code = f"import sys, torch; before = set(sys.modules); {load}; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout.replace("'", '"'))
    assert "fcl.models.mace.model" in imported
    assert [name for name in SLOW if name in imported] == []


def test_the_architecture_is_a_setting(small_settings):
    """The union of the config is that of the registry; what names no architecture is of the first one."""
    from fcl.config.errors import ConfigError
    from fcl.config.load import training_settings

    small = small_settings.model_dump(mode="json")
    for architecture in ARCHITECTURES:
        study = training_settings({"model": {**small, "architecture": architecture}})
        assert build_model("static", study.model, 5.0, 9.0).architecture == architecture
        assert study.narrowed(model={"num_bessel": 4}).model.architecture == architecture
        assert type(study).restore(study.dump("model")).model == study.model
    assert "architecture" not in small and training_settings({"model": small}).model == small_settings
    with pytest.raises(ConfigError, match=f"^model: architecture is neither {' nor '.join(ARCHITECTURES)}$"):
        training_settings({"model": {"architecture": "schnet"}})
    with pytest.raises(ConfigError, match="^model.num_bessl: unknown key; did you mean 'num_bessel'"):
        training_settings({"model": {"num_bessl": 4}})
