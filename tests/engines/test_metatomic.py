"""Metatomic files in a real engine (metatomic's ASE calculator), and divided into domains as LAMMPS does it."""

import itertools
import json

import numpy as np
import pytest
import torch
from ase import Atoms

from export_examples import CUTOFFS, TOLERANCE, all_structures, expected
from fcl.cutoffs.choice import CutoffChoice
from fcl.cutoffs.file import write_cutoffs

pytest.importorskip("metatomic.torch", reason="metatomic-torch is not installed")
metatomic_ase = pytest.importorskip("metatomic_ase", reason="metatomic-ase is not installed")

from metatensor.torch import Labels  # noqa: E402
from metatomic.torch import (  # noqa: E402
    ModelEvaluationOptions,
    ModelOutput,
    load_atomistic_model,
    read_model_metadata,
    systems_to_torch,
)
from vesin.metatomic import neighbor_lists_for_model  # noqa: E402

from fcl.engines.metatomic import save_metatomic  # noqa: E402


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("metatomic") / "model.pt"
    save_metatomic(model, CutoffChoice(model, CUTOFFS), path)
    return path


@pytest.fixture(scope="module")
def engine(file):
    return metatomic_ase.MetatomicCalculator(file, device="cpu", check_consistency=True)


def test_the_engine_computes_what_the_calculator_computes(model, engine):
    compared = 0
    for atoms in all_structures():
        reference, other = expected(model, atoms), atoms.copy()
        other.calc = engine
        assert other.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=TOLERANCE)
        np.testing.assert_allclose(other.get_forces(), reference.get_forces(), rtol=0, atol=TOLERANCE)
        energies = other.get_potential_energies()
        np.testing.assert_allclose(energies, reference.get_potential_energies(), rtol=0, atol=TOLERANCE)
        if atoms.pbc.all():
            np.testing.assert_allclose(other.get_stress(), reference.get_stress(), rtol=0, atol=TOLERANCE)
            compared += 1
    assert compared > 3


def run(file, systems, sample_kind="system", selected=None):
    """Energies of ASE structures, called as an engine calls the file; and the positions as tensors."""
    loaded = load_atomistic_model(file)
    systems = systems_to_torch(systems, dtype=torch.float64)
    for system in systems:
        system.positions.requires_grad_(True)
    for calculator in neighbor_lists_for_model("angstrom", loaded):
        calculator.add_neighbor_list(systems)
    if selected is not None:
        selected = Labels(["system", "atom"], torch.tensor(selected, dtype=torch.int32))
    options = ModelEvaluationOptions(
        length_unit="angstrom",
        outputs={"energy": ModelOutput(unit="eV", sample_kind=sample_kind)},
        selected_atoms=selected,
    )
    block = loaded(systems, options, check_consistency=True)["energy"].block()
    return block, [system.positions for system in systems]


def test_several_systems_at_once(model, file):
    frames = [all_structures()[case] for case in (0, 3, 6)]
    reference = [expected(model, atoms) for atoms in frames]
    block, _ = run(file, frames)
    energies = [atoms.get_potential_energy() for atoms in reference]
    np.testing.assert_allclose(block.values.detach()[:, 0], energies, rtol=0, atol=TOLERANCE)
    block, _ = run(file, frames, "atom", selected=[[1, 1], [0, 4], [2, 0]])
    assert block.samples.values.tolist() == [[1, 1], [0, 4], [2, 0]]
    sites = [reference[s].get_potential_energies()[a] for s, a in ((1, 1), (0, 4), (2, 0))]
    np.testing.assert_allclose(block.values.detach()[:, 0], sites, rtol=0, atol=TOLERANCE)


def domain(atoms, own, reach):
    """Atom ``own`` and all atoms and images within ``reach`` (A) of it, without periodicity; and whose images."""
    images = range(-8, 9)
    shifts = np.array(list(itertools.product(images, repeat=3))) @ atoms.cell.array
    positions = (atoms.positions[None] + shifts[:, None]).reshape(-1, 3)
    origin = np.tile(np.arange(len(atoms)), len(shifts))
    distances = np.linalg.norm(positions - atoms.positions[own], axis=1)
    near = np.flatnonzero(distances <= reach)
    near = near[np.argsort(distances[near])]  # the atom itself comes first
    return Atoms(atoms.numbers[origin[near]], positions[near]), origin[near]


@pytest.mark.parametrize("share, correct", [(1.0, True), (0.5, False)])
def test_domains_with_a_halo_of_the_interaction_range(model, file, share, correct):
    """Energy and forces of a crystal from one domain for each atom; half the halo, one layer of messages, is wrong."""
    atoms = next(atoms for atoms in all_structures() if str(atoms.symbols) == "KCl")
    atoms.wrap()
    reach = share * load_atomistic_model(file).capabilities().interaction_range
    energy, forces = 0.0, np.zeros((len(atoms), 3))
    for own in range(len(atoms)):
        cluster, origin = domain(atoms, own, reach + 1e-9)
        block, (positions,) = run(file, [cluster], selected=[[0, 0]])
        value = block.values.sum()
        value.backward()
        energy += float(value.detach())
        np.add.at(forces, origin, -positions.grad.numpy())
    reference = expected(model, atoms)
    error = max(abs(energy - reference.get_potential_energy()), np.abs(forces - reference.get_forces()).max())
    assert (error < TOLERANCE) if correct else (error > 1e-4)


def test_the_file_says_what_it_is(small_settings, model, tmp_path):
    model.card = {"weights_sha256": "a" * 64, "stage": "train_fcl"}
    write_cutoffs(tmp_path / "water.json", {"O": 5.0, "H": 4.0}, {"weights_sha256": "a" * 64, "lambda": 1e-4})
    choice = CutoffChoice(model, tmp_path / "water.json")
    facts = save_metatomic(model, choice, tmp_path / "water.pt", torch.float32)
    model.card = {}
    extra = read_model_metadata(str(tmp_path / "water.pt")).extra
    assert {name: json.loads(value) for name, value in extra.items()} == facts
    assert facts["cutoffs_angstrom"] == {"H": 4.0, "O": 5.0} and facts["cutoffs_provenance"]["lambda"] == 1e-4
    assert facts["card"]["weights_sha256"] == "a" * 64
    loaded = load_atomistic_model(tmp_path / "water.pt")
    capabilities = loaded.capabilities()
    assert capabilities.atomic_types == [1, 8] and capabilities.interaction_range == 10.0
    assert capabilities.dtype == "float32" and capabilities.length_unit == "angstrom"
    (options,) = loaded.requested_neighbor_lists()
    assert options.cutoff == 5.0 and not options.full_list
    carbon = Atoms("C", positions=[[0, 0, 0]])
    carbon.calc = metatomic_ase.MetatomicCalculator(tmp_path / "water.pt", device="cpu")
    with pytest.raises(ValueError, match="does not support the atomic type"):
        carbon.get_potential_energy()


def test_wrong_names_and_files_that_exist(model, tmp_path):
    choice = CutoffChoice(model, {"H": 4.0})
    with pytest.raises(ValueError, match="ends in .pt"):
        save_metatomic(model, choice, tmp_path / "model.json")
    (tmp_path / "model.pt").write_text("precious")
    with pytest.raises(FileExistsError, match="model.pt: exists already"):
        save_metatomic(model, choice, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_text() == "precious" and len(list(tmp_path.iterdir())) == 1
