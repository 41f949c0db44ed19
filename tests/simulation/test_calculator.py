"""The calculator: derivatives, the skin, and the programs of ASE that use it."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from examples import ARITHMETIC, enlarged, labelled, structures
from fcl import FCLCalculator
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.data.verlet import VerletList
from fcl.models.files import build_model

CUTOFFS = {"H": 3.9, "C": 4.6, "O": 5.2, "Si": 5.7, "K": 6.8, "Cl": 6.1, "Ca": 5.5}


@pytest.fixture(scope="module")
def model(small_settings):
    torch.manual_seed(8)
    return enlarged(build_model("fcl", small_settings, 7.0, dtype=torch.float64)).eval()


def evaluated(calculator, atoms):
    """Energy, forces and, where there is a volume, stress; the atoms are left without a calculator."""
    atoms = atoms.copy()
    atoms.calc = calculator
    stress = atoms.get_stress() if atoms.cell.rank == 3 else np.zeros(6)
    return atoms.get_potential_energy(), atoms.get_forces(), stress


def numeric_force(atoms, atom, axis, step):
    """-dE/dx by central differences (eV/A)."""
    energies = []
    for sign in (1, -1):
        atoms.positions[atom, axis] += sign * step
        energies.append(atoms.get_potential_energy())
        atoms.positions[atom, axis] -= sign * step
    return -(energies[0] - energies[1]) / (2 * step)


@pytest.mark.parametrize("case", range(len(structures())))
def test_same_as_the_batches_of_the_training(model, case):
    """Energies, forces and pairs are those of the graph store's path."""
    atoms = structures()[case]
    calculator = FCLCalculator(model, CUTOFFS, radial="network")
    energy, forces, _ = evaluated(calculator, atoms)
    data = GraphData(arrays_from_frames([labelled(atoms, 0)], 7.0), torch.float64)
    cutoffs = torch.tensor([CUTOFFS[symbol] for symbol in atoms.symbols])
    batch = data.select_pairs(data.batch(torch.tensor([0])), cutoffs, model.selector)
    expected = model(batch, cutoffs)
    assert energy == pytest.approx(float(expected["energy"]), abs=1e-10)
    np.testing.assert_allclose(forces, expected["forces"].numpy(), atol=1e-10)
    assert calculator.pairs_per_atom == 2 * batch.pair_index.shape[1] / len(atoms)
    assert calculator.results["energies"].sum() == pytest.approx(energy, abs=1e-10)
    assert calculator.results["free_energy"] == energy


@pytest.mark.parametrize("case", [0, 1, 3, 5])
def test_forces_are_derivatives_of_the_energy(model, case):
    atoms = structures()[case]
    atoms.calc = FCLCalculator(model, CUTOFFS)
    forces = atoms.get_forces()
    for atom in range(min(3, len(atoms))):
        for axis in range(3):
            assert forces[atom, axis] == pytest.approx(numeric_force(atoms, atom, axis, 1e-4), abs=1e-7)


@pytest.mark.parametrize("case", [2, 3, 5, 8])
def test_stress_is_the_strain_derivative(model, case):
    atoms = structures()[case]
    calculator = FCLCalculator(model, CUTOFFS)
    _, _, stress = evaluated(calculator, atoms)
    cell, step = atoms.cell.array, 1e-5
    for component, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(cell @ strain, scale_atoms=True)
            energies.append(evaluated(calculator, strained)[0])
        expected = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        assert stress[component] == pytest.approx(expected, abs=1e-8)


def journey(atoms, steps=20):
    """Structures on the way: thermal steps, a drift, now and then strain, an atom put back into the cell."""
    rng = np.random.default_rng(5)
    atoms = atoms.copy()
    for step in range(steps):
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape) + [0.2, 0.0, -0.1]
        if step % 6 == 5 and atoms.pbc.all():
            strain = np.eye(3) + rng.normal(scale=0.01, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        if step == 15:
            atoms.wrap()
        yield atoms


@pytest.mark.parametrize(
    "case, dtype", [(0, "float64"), (1, "float64"), (3, "float64"), (5, "float64"), (5, "float32")]
)
def test_the_skin_changes_nothing(model, case, dtype):
    """To the last bit: the pruned list of a kept neighbour list is the fresh list."""
    kept, fresh = (FCLCalculator(model, CUTOFFS, skin=skin, dtype=dtype) for skin in (1.0, 0.0))
    steps = 0
    for atoms in journey(structures()[case]):
        mine, theirs = evaluated(kept, atoms), evaluated(fresh, atoms)
        assert mine[0] == theirs[0]
        np.testing.assert_array_equal(mine[1], theirs[1])
        np.testing.assert_array_equal(mine[2], theirs[2])
        assert kept.pairs_per_atom == fresh.pairs_per_atom
        steps += 1
    assert fresh.rebuilds == steps
    assert kept.rebuilds < steps / 2  # a list that is always built would pass the rest


def test_no_pair_is_missed_when_the_cell_shrinks(model):
    """Homogeneous compression moves no atom against the lattice, and yet pairs come into reach."""
    atoms = bulk("Si", "diamond", a=5.43).repeat(2)
    kept, fresh = FCLCalculator(model, 5.0, skin=0.3), FCLCalculator(model, 5.0, skin=0.0)
    for scale in np.linspace(1.0, 0.9, 21):
        squeezed = atoms.copy()
        squeezed.set_cell(atoms.cell.array @ np.diag([scale, 1.0, 1.0]), scale_atoms=True)
        assert evaluated(kept, squeezed)[0] == evaluated(fresh, squeezed)[0]
        assert kept.pairs_per_atom == fresh.pairs_per_atom
    assert 1 < kept.rebuilds < 15


def test_two_atoms_that_run_towards_each_other_are_seen():
    """The worst case of the criterion: both move, by half of the skin each."""
    neighbors = VerletList(ARITHMETIC, skin=0.5)
    numbers, cell, pbc, cutoffs = np.array([1, 1, 1]), np.zeros((3, 3)), np.zeros(3, bool), np.full(3, 4.0)
    for step, gap in enumerate(np.linspace(4.55, 3.95, 61)):
        # the third atom stays, so that the mean displacement is not zero
        positions = np.array([[-gap / 2, 0, 0], [gap / 2, 0, 0], [0, 30.0, 0]])
        batch, _ = neighbors.batch(numbers, positions, cell, pbc, cutoffs)
        assert batch.pair_index.shape[1] == int(gap <= 4.0), step
    assert neighbors.rebuilds == 2


def test_what_makes_a_new_list(model):
    atoms = molecule("CH3OH")
    atoms.center(vacuum=4.0)
    calculator = FCLCalculator(model, CUTOFFS)
    atoms.calc = calculator

    def rebuilt():
        before = calculator.rebuilds
        atoms.get_potential_energy()
        return calculator.rebuilds - before

    assert rebuilt() == 1
    atoms.positions[0] += 0.01
    assert rebuilt() == 0
    atoms.positions += 3.0
    assert rebuilt() == 0  # everything moved together
    atoms.numbers[0] = 14
    assert rebuilt() == 1
    atoms.pbc = True
    assert rebuilt() == 1
    calculator.cutoffs = 5.0
    assert rebuilt() == 1
    atoms.positions[1, 0] += 0.4
    assert rebuilt() == 1
    del atoms[0]
    assert rebuilt() == 1


def test_cutoffs_can_be_changed(model):
    atoms = structures()[2]
    atoms.calc = FCLCalculator(model, 6.5)
    wide = atoms.get_potential_energy()
    atoms.calc.cutoffs = np.linspace(4.0, 5.0, len(atoms))
    narrow = atoms.get_potential_energy()
    assert wide != narrow
    assert narrow == evaluated(FCLCalculator(model, np.linspace(4.0, 5.0, len(atoms))), atoms)[0]


def test_precision_and_backend(model, small_settings):
    atoms = structures()[0]
    exact = evaluated(FCLCalculator(model, CUTOFFS, radial="network"), atoms)
    single = evaluated(FCLCalculator(model, CUTOFFS, dtype=torch.float32), atoms)
    reference = evaluated(FCLCalculator(model, CUTOFFS, backend="reference"), atoms)
    assert exact[0] != single[0] and exact[0] == pytest.approx(single[0], abs=1e-4)
    np.testing.assert_allclose(reference[1], exact[1], atol=1e-9)
    assert (next(model.parameters()).dtype, model.backend) == (torch.float64, "fast")  # copied, not changed


def test_a_static_model_and_a_file(small_settings, tmp_path):
    from fcl.models.files import save_model

    torch.manual_seed(2)
    static = enlarged(build_model("static", small_settings, 5.0, 20.0, dtype=torch.float32)).eval()
    save_model(static, tmp_path / "static.safetensors")
    atoms = structures()[5]
    calculator = FCLCalculator(tmp_path / "static.safetensors")
    atoms.calc = calculator
    assert atoms.get_forces()[0, 0] == pytest.approx(numeric_force(atoms, 0, 0, 1e-4), abs=1e-6)
    assert calculator.pairs_per_atom > 0
    with pytest.raises(ValueError, match="static model of cutoff 5.0 A cannot be evaluated at 6.0 A"):
        FCLCalculator(tmp_path / "static.safetensors", 6.0)


def test_misuse(model):
    def energy(atoms, cutoffs=6.0):
        atoms.calc = FCLCalculator(model, cutoffs)
        return atoms.get_potential_energy()

    with pytest.raises(ValueError, match="no cutoff is given for O"):
        energy(molecule("H2O"), {"H": 4.0})
    with pytest.raises(ValueError, match="the model supports the elements Z = 1-100, not Lr"):
        energy(Atoms("Lr"))
    with pytest.raises(ValueError, match="the model supports the elements Z = 1-100, not X"):
        energy(Atoms("X"))
    with pytest.raises(ValueError, match="not finite"):
        energy(Atoms("H", positions=[[0, 0, np.nan]]))
    with pytest.raises(ValueError, match="without atoms"):
        energy(Atoms())
    with pytest.raises(ValueError, match="skin: -1.0 A"):
        FCLCalculator(model, skin=-1.0)
    with pytest.raises(ValueError, match="dtype 'half' is unknown"):
        FCLCalculator(model, dtype="half")
    with pytest.raises(ValueError, match="device 'gpu' cannot be used"):
        FCLCalculator(model, device="gpu")


@pytest.fixture(scope="module")
def sulphide():
    """A crystal of hydrogen sulphide, relaxed with the shipped model at cutoffs of its own for each element."""
    from fcl.models.pretrained import structures as shipped
    from fcl.simulation.dynamics import relax

    atoms = shipped("test", "SHIFTML-molcrys")[2]
    atoms.calc = FCLCalculator("mini", {"H": 3.8, "S": 5.4})
    assert relax(atoms, fmax=0.05, steps=300).converged
    return atoms


@pytest.mark.heavy
def test_a_trained_model_conserves_the_energy(sulphide):
    """NVE at 0.5 fs, 300 K: drift below 1 meV/atom/ps; kept lists give the forces of fresh ones, to the last bit."""
    from fcl.simulation.dynamics import molecular_dynamics

    atoms, fresh = sulphide.copy(), FCLCalculator(sulphide.calc.model, {"H": 3.8, "S": 5.4}, skin=0.0)
    atoms.calc = FCLCalculator(sulphide.calc.model, {"H": 3.8, "S": 5.4})
    compared = []

    def compare(now):
        other = now.copy()
        other.calc = fresh
        np.testing.assert_array_equal(now.get_forces(), other.get_forces())
        compared.append(now.get_temperature())

    run = molecular_dynamics(atoms, temperature=300.0, timestep=0.5, steps=400, interval=20, on_frame=compare)
    assert abs(run.drift) < 1.0
    assert len(compared) == 21 and run.temperature.mean() > 50.0
    assert atoms.calc.rebuilds < 200


@pytest.mark.heavy
def test_programs_of_ase(sulphide):
    """Optimisers, thermostats and a barostat run with it, each some steps."""
    from ase import units
    from ase.filters import FrechetCellFilter
    from ase.md.langevin import Langevin
    from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
    from ase.md.velocitydistribution import thermalize_momenta
    from ase.optimize import BFGS, FIRE

    def start(kelvin=0.0):
        atoms = sulphide.copy()
        atoms.calc = sulphide.calc
        atoms.rattle(0.02, seed=3)
        thermalize_momenta(atoms, kelvin, rng=np.random.RandomState(1))
        return atoms

    for program in (BFGS, FIRE):
        atoms = start()
        before = atoms.get_potential_energy()
        with program(FrechetCellFilter(atoms), logfile=None) as optimizer:
            optimizer.run(fmax=1e-3, steps=8)
        assert atoms.get_potential_energy() < before
    step, bath = 0.5 * units.fs, {"temperature_K": 300.0}
    pressure = {"pressure_au": 0.0, "tdamp": 50 * units.fs, "pdamp": 500 * units.fs}
    for make in (
        lambda atoms: Langevin(atoms, step, friction=0.01 / units.fs, fixcm=False, **bath),
        lambda atoms: NoseHooverChainNVT(atoms, step, tdamp=50 * units.fs, **bath),
        lambda atoms: IsotropicMTKNPT(atoms, step, **pressure, **bath),
    ):
        atoms = start(300.0)
        make(atoms).run(5)
        assert np.isfinite(atoms.get_potential_energy()) and not np.allclose(atoms.positions, sulphide.positions)


def test_energies_of_the_atoms(sulphide):
    energies = sulphide.get_potential_energies()
    assert energies.shape == (12,) and energies.sum() == pytest.approx(sulphide.get_potential_energy(), abs=1e-9)
    assert sulphide.get_potential_energy(force_consistent=True) == sulphide.get_potential_energy()


@pytest.mark.parametrize("how", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(sulphide, how):
    """What ASE's parallel programs and `copy.deepcopy(atoms)` do."""
    atoms = how(sulphide)
    np.testing.assert_array_equal(atoms.get_forces(), sulphide.get_forces())
    atoms.positions[0] += 0.05
    fresh = atoms.copy()
    fresh.calc = FCLCalculator("mini", {"H": 3.8, "S": 5.4})
    np.testing.assert_array_equal(atoms.get_forces(), fresh.get_forces())
    atoms.calc.cutoffs = 5.0
    assert sulphide.calc.cutoffs.by_element is not None


@pytest.mark.slow
def test_the_compiled_path(model):
    """The program of `backend="compiled"`, run without the compiler: energy, forces and stress, and other sizes too."""
    from fcl.models.compile import CompiledEnergies

    usual, program = FCLCalculator(model, 5.0, radial="network"), FCLCalculator(model, 5.0, backend="compiled")
    program.model._compiled = CompiledEnergies(program.model, backend="aot_eager")
    torch._dynamo.utils.counters.clear()
    for atoms in (structures()[3], structures()[3].repeat((2, 1, 1)), Atoms("S"), molecule("CH3OH")):
        for mine, theirs in zip(evaluated(program, atoms), evaluated(usual, atoms), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
    assert program.model.backend == "compiled" and model.backend != "compiled"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # of any size


def test_atoms_in_the_same_place_are_told(model):
    atoms = Atoms("HH", positions=np.zeros((2, 3)))
    atoms.calc = FCLCalculator(model)
    with pytest.raises(FloatingPointError, match="not finite: are there atoms in the same place"):
        atoms.get_potential_energy()


def test_stress_without_a_volume_is_not_offered(model):
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms = molecule("H2O")
    atoms.calc = FCLCalculator(model)
    atoms.get_forces()
    for cell in (np.zeros((3, 3)), np.ones((3, 3)), [[5, 0, 0], [5, 0, 0], [0, 0, 5]]):
        atoms.set_cell(cell)
        with pytest.raises(PropertyNotImplementedError, match="stress: the cell has no volume"):
            atoms.get_stress()
        assert np.isfinite(atoms.get_forces()).all()


@pytest.mark.parametrize("third", [[0, 0, 0], [4, 0, 0], [8, 4, 0], [1, 1, 30], [0, 0, 2]])
@pytest.mark.parametrize("skin", [0.0, 0.5])
def test_vectors_without_periodicity_do_not_matter(model, third, skin):
    expected = None
    for vector in ([0, 0, 20], third):
        atoms = Atoms("CO", [[0, 0, 0], [1.2, 0, 0.3]], cell=[[4, 0, 0], [0, 4, 0], vector], pbc=[True, True, False])
        atoms.calc = FCLCalculator(model, CUTOFFS, skin=skin)
        found = []
        for _ in range(3):
            found.append((atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.calc.pairs_per_atom))
            atoms.positions[1] += 0.2
        expected = expected or found
        assert found == expected
