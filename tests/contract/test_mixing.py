"""A third mixing rule: all that mixes cutoffs follows it, or refuses and names it. None falls back to another rule."""

import importlib
import json
import sys
import types
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from ase.build import bulk

from examples import contract_model, labelled
from fcl import FCLCalculator
from fcl.calibration.optimise import objective
from fcl.config.architectures import ModelSettings
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.mixing import MIXING_RULES, mixing_rule
from fcl.cutoffs.plain import NUMPY_RULES
from fcl.cutoffs.rules import element_rule, element_table
from fcl.data.batch import GraphData
from fcl.data.loader import selected_batches
from fcl.data.neighbors import half_pairs
from fcl.data.store import arrays_from_frames
from fcl.data.verlet import VerletList
from fcl.engines.lammps import LammpsForces
from fcl.evaluation.errors import evaluate
from fcl.models.files import build_model, load, save_model
from fcl.models.mace.frozen import freeze
from fcl.study.figures.environment import pair_table
from fcl.training.fit import Recipe, train_epoch
from fcl.training.loss import LOSS
from tolerances import TABLES

CUTOFFS = {"K": 6.9, "Cl": 3.6}


def harmonic_mean(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    return 2.0 * a_i * a_j / (a_i + a_j)


def larger(a_i: torch.Tensor, a_j: torch.Tensor) -> torch.Tensor:
    return torch.maximum(a_i, a_j)


#: Rules that the library does not have: one that keeps fewer pairs than its own, one that keeps the most.
THIRD = {"harmonic": harmonic_mean, "larger": larger}


@pytest.fixture(params=THIRD)
def third(request, monkeypatch):
    """The name of a third rule, which the library knows for one test."""
    monkeypatch.setitem(MIXING_RULES, request.param, THIRD[request.param])
    return request.param


@pytest.fixture
def model(small_settings, third):
    return contract_model(small_settings, mixing=third).eval()


@pytest.fixture(scope="module")
def crystal():
    """Two elements whose cutoffs differ by much."""
    atoms = bulk("KCl", "rocksalt", a=6.3, cubic=True)
    atoms.positions += np.random.default_rng(4).normal(scale=0.3, size=atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def data(crystal):
    return GraphData(arrays_from_frames([labelled(crystal, 0)], 7.0), torch.float64)


def within(atoms, rule):
    """How many pairs are within m_ij by ``rule``: Eq. 4 in plain NumPy."""
    (i, j), _, distances = half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), 7.0)
    a = torch.tensor([CUTOFFS[symbol] for symbol in atoms.get_chemical_symbols()])
    return int((distances <= rule(a[i], a[j]).numpy()).sum())


def by_hand(model, atoms):
    """Energy and forces of the model from the pairs of a list that was made for these cutoffs alone, by Eq. 4."""
    (i, j), shifts, distances = half_pairs(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), 7.0)
    a = torch.tensor([CUTOFFS[symbol] for symbol in atoms.get_chemical_symbols()])
    keep = torch.as_tensor(distances) <= MIXING_RULES[model.settings.mixing_rule](a[i], a[j])
    pair = torch.as_tensor(np.stack([i, j]))[:, keep]
    x = torch.tensor(atoms.positions, requires_grad=True)
    vectors = x[pair[1]] - x[pair[0]] + torch.as_tensor(shifts @ atoms.cell.array)[keep]
    energy = model.site_energies(torch.as_tensor(atoms.numbers), pair, vectors, a).sum()
    return float(energy.detach()), -torch.autograd.grad(energy, x)[0].numpy()


def assert_as_by_hand(model, atoms, energy, forces):
    """The third rule's numbers, which the library's own rules are far from."""
    expected, expected_forces = by_hand(model, atoms)
    assert energy == pytest.approx(expected, abs=TABLES)
    np.testing.assert_allclose(forces, expected_forces, rtol=0, atol=TABLES)


# -- who follows -------------------------------------------------------------------------------------------------------


def test_each_rule_keeps_other_pairs_and_gives_other_energies(small_settings, third, crystal):
    assert len({within(crystal, rule) for rule in MIXING_RULES.values()}) == len(MIXING_RULES) == 3
    energies = [by_hand(contract_model(small_settings, mixing=name).eval(), crystal)[0] for name in MIXING_RULES]
    assert np.abs(np.subtract.outer(energies, energies))[np.triu_indices(3, 1)].min() > 1e-4


def test_batches_of_a_store(model, third, crystal, data):
    rule = element_rule(CUTOFFS, torch.float64, data.device)
    ((batch, cutoffs),) = selected_batches(data, [torch.tensor([0])], rule, model.selector)
    assert batch.pair_index.shape[1] == within(crystal, THIRD[third])
    with pytest.raises(TypeError, match="selector"):  # no rule is taken where none is given
        data.select_pairs(batch, cutoffs)


def test_training_evaluation_and_calibration(model, third, crystal, data):
    count = within(crystal, THIRD[third])
    rule = element_rule(CUTOFFS, torch.float64, data.device)
    still = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
    settings, seen = SimpleNamespace(gradient_clip_norm=None), []
    recipe = Recipe("test", rule, (6.0,), make_scheduler=None)
    train_epoch(model, data, [torch.tensor([0])], still, settings, LOSS, recipe, after_step=seen.append)
    assert seen == [count]
    per_atom = 2.0 * count / len(crystal)
    assert evaluate(model.eval(), data, rule, 1).pairs.tolist() == [per_atom]
    _, parts = objective(model, data, torch.tensor([0]), element_table(CUTOFFS), LOSS, 1e-3)
    assert float(parts["pairs_per_atom"]) == per_atom


def test_verlet_list_and_calculator(model, third, crystal):
    """With and without a skin, and after atoms have moved."""
    a = np.array([CUTOFFS[symbol] for symbol in crystal.get_chemical_symbols()])
    for skin in (0.0, 0.5):
        neighbors, moved = VerletList(model.selector, skin), crystal.copy()
        calculator = FCLCalculator(model, CUTOFFS, skin=skin)
        for _ in range(3):
            batch, _ = neighbors.batch(moved.numbers, moved.positions, moved.cell.array, moved.pbc, a)
            assert batch.pair_index.shape[1] == within(moved, THIRD[third])
            moved.calc = calculator
            assert_as_by_hand(model, moved, moved.get_potential_energy(), moved.get_forces())
            moved.positions[0] += 0.08
    assert neighbors.rebuilds < 3


def test_frozen_program(model, crystal, tmp_path):
    """As TorchScript, from a file; it is given pairs beyond the cutoffs too."""
    torch.jit.script(freeze(model, CutoffChoice(model, CUTOFFS))).save(tmp_path / "frozen.pt")
    frozen = torch.jit.load(tmp_path / "frozen.pt")
    (i, j), shifts, _ = half_pairs(crystal.positions, crystal.cell.array, np.asarray(crystal.pbc), 7.0)
    x = torch.tensor(crystal.positions, requires_grad=True)
    pair = torch.as_tensor(np.stack([i, j]))
    vectors = x[pair[1]] - x[pair[0]] + torch.as_tensor(shifts @ crystal.cell.array)
    energy = frozen(torch.as_tensor(crystal.numbers), pair, vectors).sum()
    assert_as_by_hand(model, crystal, float(energy.detach()), -torch.autograd.grad(energy, x)[0].numpy())


def test_metatomic_file(model, third, crystal, tmp_path):
    pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
    metatomic_ase = pytest.importorskip("metatomic_ase", reason="metatomic-ase is not installed")
    from fcl.engines.metatomic import save_metatomic

    facts = save_metatomic(model, CutoffChoice(model, CUTOFFS), tmp_path / "model.pt")
    assert facts["mixing_rule"] == third
    atoms = crystal.copy()
    atoms.calc = metatomic_ase.MetatomicCalculator(tmp_path / "model.pt", device="cpu")
    assert_as_by_hand(model, atoms, atoms.get_potential_energy(), atoms.get_forces())


class Lammps:
    """As much of a LAMMPS instance as `LammpsForces` asks for, with the atoms of an ASE structure."""

    def __init__(self, atoms, elements):
        types_of = np.array([1 + elements.index(symbol) for symbol in atoms.get_chemical_symbols()])
        self.numpy = SimpleNamespace(extract_atom=lambda name: types_of)
        self.lengths = np.diag(atoms.cell.array).tolist()
        self.extract_global = {"units": "metal", "ntypes": len(elements)}.__getitem__
        self.extract_setting = {"world_size": 1, "box_exist": 1}.__getitem__
        self.commands_list = lambda lines: None
        self.energy = None

    def extract_box(self):
        return [0.0] * 3, self.lengths, 0.0, 0.0, 0.0, [1, 1, 1], 0

    def set_fix_external_callback(self, fix, callback, caller):
        self.callback = callback

    def fix_external_set_energy_global(self, fix, energy):
        self.energy = energy

    def fix_external_set_virial_global(self, fix, virial):
        self.virial = virial

    def force_timeout(self):
        raise AssertionError("the forces could not be computed")


def test_forces_for_lammps(model, crystal):
    elements = ["Cl", "K"]
    lmp = Lammps(crystal, elements)
    LammpsForces(lmp, model, CUTOFFS, elements=elements)
    forces = np.zeros_like(crystal.positions)
    lmp.callback(None, 0, len(crystal), np.arange(1, len(crystal) + 1), crystal.positions, forces)
    assert_as_by_hand(model, crystal, lmp.energy, forces)


@pytest.fixture
def torchsim(monkeypatch):
    """`fcl.engines.torchsim`, with a base class in place of TorchSim's where TorchSim is not installed."""
    if importlib.util.find_spec("torch_sim") is None:
        interface = types.ModuleType("torch_sim.models.interface")
        interface.ModelInterface = type(
            "ModelInterface",
            (torch.nn.Module,),
            {
                "compute_forces": property(lambda self: self._compute_forces),
                "compute_stress": property(lambda self: self._compute_stress),
            },
        )
        for name in ("torch_sim", "torch_sim.models"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, interface.__name__, interface)
    monkeypatch.delitem(sys.modules, "fcl.engines.torchsim", raising=False)
    yield importlib.import_module("fcl.engines.torchsim")
    sys.modules.pop("fcl.engines.torchsim")


def test_model_for_torchsim(model, crystal, torchsim):
    potential = torchsim.FCLTorchSimModel(model, CUTOFFS, compute_stress=False)
    state = {
        "positions": torch.tensor(crystal.positions),
        "atomic_numbers": torch.as_tensor(crystal.numbers),
        "cell": torch.tensor(crystal.cell.array.T)[None],
        "system_idx": torch.zeros(len(crystal), dtype=torch.int64),
        "pbc": True,
    }
    output = potential.forward(state)
    assert_as_by_hand(model, crystal, float(output["energy"][0]), output["forces"].numpy())


# -- who refuses -------------------------------------------------------------------------------------------------------


def test_config_and_figure_name_a_rule_that_they_do_not_have(third, small_settings):
    """Both are written without torch, hence with names of their own: the library's, and no other."""
    own = tuple(name for name in MIXING_RULES if name != third)
    assert get_args(ModelSettings.model_fields["mixing_rule"].annotation) == own == tuple(NUMPY_RULES)
    with pytest.raises(ValueError, match=rf"mixing_rule\n.*{own[0]}.*{third}"):
        ModelSettings.model_validate({**small_settings.model_dump(), "mixing_rule": third})
    with pytest.raises(ValueError, match=f"mixing rule '{third}' is unknown; known are {', '.join(own)}"):
        pair_table({"pairs": [], "symbols": []}, {}, 6.0, third)


def test_a_model_file_with_an_unknown_rule_is_refused(small_settings, tmp_path):
    save_model(build_model("fcl", small_settings, 7.0), tmp_path / "a.safetensors", {})
    card = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    card["model"]["mixing_rule"] = "harmonic"
    (tmp_path / "a.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ValueError, match="harmonic"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda a, b: 0.9 * a + 0.1 * b, "is not symmetric"),
        (lambda a, b: a + b, "is no mean: .* as far as the larger one"),
        (lambda a, b: 0.5 * torch.minimum(a, b), "is no mean"),
        (lambda a, b: (a + b) / 2 * float("nan"), "is no"),
    ],
)
def test_a_rule_beyond_the_reach_of_the_lists_is_refused(monkeypatch, small_settings, rule, message):
    monkeypatch.setitem(MIXING_RULES, "odd", rule)
    with pytest.raises(ValueError, match=f"mixing rule 'odd' {message}"):
        build_model("fcl", small_settings.model_copy(update={"mixing_rule": "odd"}), 7.0)


def test_a_rule_that_torchscript_does_not_take_is_not_exported(monkeypatch, small_settings, crystal):
    """It works everywhere else."""

    def by_numpy(a_i, a_j):
        return torch.as_tensor(np.minimum(*(values.detach().numpy() for values in (a_i, a_j))))

    monkeypatch.setitem(MIXING_RULES, "by numpy", by_numpy)
    assert mixing_rule("by numpy") is by_numpy
    model = contract_model(small_settings, mixing="by numpy").eval()
    atoms = crystal.copy()
    atoms.calc = FCLCalculator(model, CUTOFFS)
    assert_as_by_hand(model, atoms, atoms.get_potential_energy(), atoms.get_forces())
    with pytest.raises(ValueError, match="mixing rule 'by numpy' cannot be exported: TorchScript does not take it"):
        freeze(model, CutoffChoice(model, CUTOFFS))
