"""Physics with optimised cutoffs: each quantity against an independent way to it, and the stages on a small model."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.geometry.rdf import get_rdf

from fcl.config.load import load_config
from fcl.data.frames import Frame
from fcl.data.store import arrays_from_frames, write_store
from fcl.simulation.dynamics import Dynamics, relax
from fcl.simulation.observables.failure import Failure
from fcl.simulation.observables.nve import energy_conservation, slope_of_blocks
from fcl.simulation.observables.rdf import block_means, pair_distribution, sampled_rdf
from fcl.simulation.observables.reference import broken, reference_fault
from fcl.simulation.observables.runs import equilibrate, stable_run
from fcl.simulation.observables.statics import at_minimum, equation_of_state, phonons_at_gamma, rmsd
from fcl.study.stages.observables import (
    calculators,
    chosen_structures,
    observe_nve,
    observe_rdf,
    observe_statics,
    read_minima,
    write_minima,
)
from project import ROOT

pytestmark = pytest.mark.heavy

MODEL = ROOT / "tests/golden/fcl.safetensors"
SUBSET = "metals"


class Metal(EMT):
    """ASE's EMT times a factor, with what the comparison reads of a calculator."""

    pairs_per_atom = 12.0

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results = {name: self.factor * value for name, value in self.results.items()}


@pytest.fixture
def copper():
    atoms = bulk("Cu", a=3.65, cubic=True)
    atoms.calc = Metal()
    return atoms


@pytest.fixture(scope="module")
def study():
    """Of a few steps of everything."""
    dynamics = {"equilibration": 0.005}
    short = {"dynamics": dynamics, "nve": {"duration": 0.02}, "rdf": {"duration": 0.01}, "relaxation": {"steps": 50}}
    return load_config(ROOT / "config.yaml").resolve("smoke").narrowed(observables={"subsets": [SUBSET], **short})


def settings(study, **changes):
    return study.narrowed(observables=changes).observables


def test_the_equation_of_state_is_that_of_the_stress(study, copper):
    """Zero pressure and the modulus from EMT's stress, which the fit of energies does not see."""
    choice = study.observables
    found = equation_of_state(copper, choice.equation_of_state, choice.relaxation)
    volume = 4 * found["volume_angstrom3_per_atom"]

    def pressure(size):
        atoms = bulk("Cu", a=size ** (1 / 3), cubic=True)
        atoms.calc = EMT()
        return -atoms.get_stress()[:3].mean() / units.GPa

    assert pressure(volume) == pytest.approx(0.0, abs=0.1)
    slope = (pressure(1.001 * volume) - pressure(0.999 * volume)) / (0.002 * volume)
    assert found["bulk_modulus_gpa"] == pytest.approx(-volume * slope, rel=0.03)


class Curve(Metal):
    """An energy that depends on the volume only."""

    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def calculate(self, atoms=None, *arguments, **options):
        super().calculate(atoms, *arguments, **options)
        volume = atoms.get_volume()
        slope = (self.energy(volume + 1e-3) - self.energy(volume - 1e-3)) / 2e-3
        self.results |= {"energy": self.energy(volume), "forces": np.zeros((len(atoms), 3))}
        self.results["stress"] = np.array([slope] * 3 + [0.0] * 3)


@pytest.mark.parametrize(
    ("energy", "steps", "failure", "reason"),
    [
        (lambda volume: 200.0 / volume, 500, "no minimum", "in the relaxation"),  # a gas
        (lambda volume: 0.5 * (volume - 40.0) ** 2, 1, "not converged", "not relaxed in 1 steps"),
        (lambda volume: 1e-4 * (volume - 60.0), 500, "no minimum", "in 3 scans"),  # flat: below the threshold
        (lambda volume: 0.01 * np.sin(9.0 * volume), 500, "no minimum", "of their range about the fit"),
    ],
)
def test_a_volume_without_minimum_is_a_failure_and_no_error(study, copper, energy, steps, failure, reason):
    copper.calc = Curve(energy)
    choice = study.observables
    found = equation_of_state(copper, choice.equation_of_state, choice.relaxation.model_copy(update={"steps": steps}))
    assert found["failure"] == failure and reason in found["reason"]


def test_a_scan_moves_to_a_minimum_beyond_its_volumes(study, copper):
    """A soft solid whose pressure is below the threshold of the relaxation, 8% from the minimum."""
    copper.calc = Curve(lambda volume: 5e-4 * (volume - 52.5) ** 2)
    choice = study.observables
    found = equation_of_state(copper, choice.equation_of_state, choice.relaxation.model_copy(update={"fmax": 0.2}))
    assert 4 * found["volume_angstrom3_per_atom"] == pytest.approx(52.5, rel=0.01)


def test_phonons_are_those_of_the_matrix_of_second_derivatives(copper):
    copper.positions += np.random.default_rng(0).normal(scale=0.02, size=(4, 3))
    at_rest = copper.positions.copy()
    found, softest = phonons_at_gamma(copper, 0.005)
    second = np.zeros((12, 12))
    for k in range(12):
        for sign in (1.0, -1.0):
            copper.positions = at_rest
            copper.positions.flat[k] += sign * 0.005
            second[k] -= sign * copper.get_forces().ravel() / 0.01
    squares = np.linalg.eigvalsh(0.5 * (second + second.T)) / copper.get_masses()[0]
    per_cm = units._hbar * np.sqrt(units._e / units._amu) * 1e10 / units._e / units.invcm
    expected = np.sign(squares) * np.sqrt(np.abs(squares)) * per_cm
    expected = np.sort(expected[np.argsort(np.abs(expected))[3:]])
    np.testing.assert_allclose(found["frequencies_per_cm"], expected, rtol=1e-3, atol=0.5)
    assert found["imaginary_modes"] == 0


def test_a_relaxation_leaves_a_saddle(study, copper):
    """Layers of copper half way between their images, where forces vanish by symmetry."""
    saddle = Atoms("Cu2", positions=[[0.0, 0.0, 0.0], [1.25, 1.25, 3.0]], cell=[2.5, 2.5, 6.0], pbc=True)
    saddle.calc = copper.calc
    found, softest = phonons_at_gamma(saddle, 0.01)
    assert found["imaginary_modes"] > 0
    np.testing.assert_allclose(np.abs(softest), [[0.0, 0.0, 1.0]] * 2, atol=1e-6)
    energy = saddle.get_potential_energy()
    facts = at_minimum(saddle, settings(study, equation_of_state=None))
    assert facts["phonons"]["imaginary_modes"] == 0 and saddle.get_potential_energy() < energy - 0.5


def test_rmsd_knows_no_shift_and_of_molecules_no_turn():
    crystal = bulk("Cu", cubic=True)
    moved = crystal.copy()
    moved.positions += 0.7
    assert rmsd(crystal, moved) == pytest.approx(0.0, abs=1e-12)
    moved.positions[0, 0] += 0.4
    assert rmsd(crystal, moved) == pytest.approx(0.4 * np.sqrt(3) / 4)  # less its share of the shift
    ethanol = molecule("CH3CH2OH")
    turned = ethanol.copy()
    turned.rotate(70, (1, 2, 3))
    assert rmsd(ethanol, turned) == pytest.approx(0.0, abs=1e-6)
    assert rmsd(Atoms("H"), Atoms("H", positions=[[1, 1, 1]])) == 0.0


def test_what_needs_a_crystal_is_not_applied_to_a_molecule(study):
    water = molecule("H2O")
    water.calc = Metal()
    water.numbers[:] = 29
    facts = at_minimum(water, study.observables)
    assert facts["equation_of_state"]["failure"] == facts["phonons"]["failure"] == "not applicable"
    assert sampled_rdf(water, study.observables, seed=1)["failure"] == "not applicable"


def test_what_is_left_out_is_not_computed(study, copper):
    facts = at_minimum(copper, settings(study, phonons=None, equation_of_state=None))
    assert list(facts) == ["relaxation"]


def test_a_relaxation_that_ends_early_is_a_failure_of_all_quantities(study, copper):
    copper.rattle(0.1, seed=1)
    facts = at_minimum(copper, settings(study, relaxation={"steps": 2}))
    assert {facts[name]["failure"] for name in ("relaxation", "equation_of_state", "phonons")} == {"not converged"}
    assert "eV/Å after 2 steps" in facts["relaxation"]["reason"]


def test_a_relaxation_stops_when_told(copper):
    copper.rattle(0.1, seed=1)
    calls = []
    result = relax(copper, fmax=1e-6, stop=lambda: calls.append(1) or len(calls) == 3)
    assert not result.converged and result.steps == 2


def test_references_are_sane(study, copper):
    start, facts = copper.copy(), at_minimum(copper, study.observables, copper.copy())
    assert reference_fault(start, copper, facts) is None
    swollen = start.copy()
    swollen.set_cell(start.cell * 1.04, scale_atoms=True)
    assert reference_fault(swollen, copper, facts) == "volume -15% from that in the data"
    unstable = {**facts, "relaxation": {"failure": "unstable", "reason": "why"}}
    assert reference_fault(start, copper, unstable) == "unstable: why"
    gone = {"failure": "no minimum", "reason": "+51% in the relaxation"}
    assert reference_fault(start, copper, {**facts, "equation_of_state": gone}).startswith("volume: no minimum, +51%")
    saddle = {**facts, "phonons": {"imaginary_modes": 2}}
    assert reference_fault(start, copper, saddle) == "saddle point with 2 imaginary modes"
    only = {"relaxation": facts["relaxation"], "phonons": {"failure": "not applicable", "reason": ""}}
    assert reference_fault(start, copper, only) is None


def test_a_reference_that_fails_early_costs_no_more(study, copper):
    other = copper.copy()
    other.positions[0] += 1.0
    copper.rattle(0.05, seed=2)
    assert list(at_minimum(copper, study.observables, other)) == ["relaxation"]


def test_a_substance_stays_itself_when_it_moves_and_not_when_bonds_change():
    ammonia = molecule("NH3")
    crystal = Atoms("NNHHHHHH", cell=[5.0, 5.0, 5.0], pbc=True)
    crystal.positions = np.concatenate([[[0, 0, 0]], [[2.5, 2.5, 2.5]], *(ammonia.positions[1:] + d for d in (0, 2.5))])
    crystal.positions[2:] -= np.tile(ammonia.positions[0], (6, 1))
    warm = crystal.copy()
    warm.rattle(0.1, seed=3)
    warm.positions += 7.3  # beyond the cell
    assert broken(crystal, warm) is None
    split = crystal.copy()
    split.positions[2] += 1.5 * (split.positions[2] - split.positions[0])
    assert broken(crystal, split) == "bonds: 1 broken, 0 formed"
    assert broken(split, crystal) == "bonds: 0 broken, 1 formed"
    collapsed = crystal.copy()
    collapsed.positions[2] *= 0.6
    assert broken(crystal, collapsed).startswith("two atoms at 0.6")
    assert broken(Atoms("H"), Atoms("H")) is None


def test_the_start_is_the_same_for_both_and_follows_from_the_seed(study, copper):
    again, other = copper.copy(), copper.copy()
    again.calc = other.calc = copper.calc
    for atoms, seed in ((copper, 1), (again, 1), (other, 2)):
        assert equilibrate(atoms, study.observables.dynamics, seed) is None
    assert (copper.positions == again.positions).all() and (copper.get_momenta() == again.get_momenta()).all()
    assert (copper.positions != other.positions).any()


def test_energy_is_conserved_and_its_drift_has_an_error(study, copper):
    run = energy_conservation(copper, study.observables, seed=3)
    assert abs(run["drift_mev_per_atom_ps"]) < 5.0 and 0.0 < run["drift_standard_error"] < 5.0
    assert run["blocks"] == study.observables.dynamics.blocks and copper.get_temperature() > 0


def test_a_run_that_leaves_physics_is_unstable(study, copper):
    dynamics = study.observables.dynamics.model_copy(update={"unstable_above": 301.0, "timestep": 1.0})
    copper.rattle(0.4, seed=1)  # hot within femtoseconds
    run = energy_conservation(copper, study.observables.model_copy(update={"dynamics": dynamics}), seed=1)
    assert run["failure"] == "unstable" and "ps of 0.005 ps" in run["reason"] and "drift_mev_per_atom_ps" not in run
    found = sampled_rdf(copper, study.observables.model_copy(update={"dynamics": dynamics}), seed=1)
    assert found["failure"] == "unstable"


def test_an_energy_that_is_not_finite_is_unstable(study, copper):
    class Broken(Metal):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            self.results["energy"] = float("nan")

    copper.calc = Broken()
    failed = stable_run(copper, study.observables.dynamics, duration=0.01, timestep=1.0)
    assert isinstance(failed, Failure) and "not finite" in failed.reason


def test_wrong_input_is_an_error_and_not_instability(study):
    gold = Atoms("U2", positions=[[0, 0, 0], [0, 0, 2.5]])
    gold.calc = Metal()
    with pytest.raises(Exception, match="No EMT-potential for U"):
        stable_run(gold, study.observables.dynamics, duration=0.01, timestep=1.0)


def test_the_slope_of_a_known_run_and_its_error():
    """A slope of 2 meV/atom/ps under correlated noise: 95 of 100 intervals of two standard errors contain it, or so."""
    times, rng, inside = np.linspace(0.0, 1.0, 1001), np.random.default_rng(0), 0
    for _ in range(100):
        noise = np.repeat(rng.normal(size=201), 5)[:1001]
        run = Dynamics(times, 4e-3 * (2.0 * times + noise), np.full(1001, 300.0), 4, 1.0)
        slope, error = slope_of_blocks(run, 10)
        inside += abs(slope - 2.0) < 2.31 * error  # t of 8 degrees of freedom
    assert 88 <= inside <= 99 and slope == pytest.approx(run.drift, abs=0.1)


def test_pair_distribution_is_that_of_ase_where_that_one_works(copper):
    big = copper.repeat((4, 4, 4))
    big.rattle(0.1, seed=2)
    edges = np.linspace(0.0, 7.0, 36)
    g, distances = get_rdf(big, 7.0, 35)
    np.testing.assert_allclose(0.5 * (edges[1:] + edges[:-1]), distances)
    np.testing.assert_allclose(pair_distribution(big, edges), g, atol=1e-8)


def test_a_small_cell_has_the_pair_distribution_of_its_supercell(copper):
    copper.rattle(0.1, seed=2)
    edges = np.linspace(0.0, 6.0, 61)
    whole = pair_distribution(copper.repeat((2, 3, 4)), edges)
    np.testing.assert_allclose(pair_distribution(copper, edges), whole, atol=1e-9)


def test_blocks_follow_one_another():
    np.testing.assert_allclose(block_means(np.arange(7.0), 3), [1.0, 3.5, 5.5])


def frame(parent, energy, scale=1.0, repeat=(1, 1, 1)):
    atoms = bulk("Cu", a=3.6 * scale, cubic=True).repeat(repeat)
    return Frame(
        atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, energy, np.zeros((len(atoms), 3)), SUBSET, "test",
        parent=parent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Copper: two variants of one parent, a large one, one that is swollen."""
    frames = [frame("a", -3.0), frame("a", -4.0, 1.01), frame("large", -99.0, repeat=(2, 1, 1)), frame("b", -1.0, 1.05)]
    path = tmp_path_factory.mktemp("observables") / "test.h5"
    write_store(arrays_from_frames(frames, 7.0), path, {})
    return path


def test_structures_are_the_lowest_of_different_parents(store):
    def volumes(count, most):
        return [round(atoms.get_volume() / 3.6**3, 2) for atoms in chosen_structures(store, SUBSET, count, most)]

    assert volumes(9, None) == [1.03, 2.0, 1.16] and volumes(2, 4) == [1.03, 1.16] and volumes(1, 4) == [1.03]
    with pytest.raises(ValueError, match=r"test.h5: no structure of subset 'MC9D'; there are metals"):
        chosen_structures(store, "MC9D", 1, None)
    with pytest.raises(ValueError, match=r"test.h5: no structure of subset 'metals' has at most 3 atoms"):
        chosen_structures(store, SUBSET, 1, 3)


def test_minima_come_back_by_structure(tmp_path):
    path, cell = tmp_path / "relaxed.xyz", bulk("Cu", cubic=True)
    write_minima(path, [(number, name, cell) for number in (1, 3) for name in ("uniform", "calibrated")])
    minima = read_minima(path)
    assert list(minima) == [1, 3] and list(minima[3]) == ["uniform", "calibrated"]
    np.testing.assert_allclose(minima[3]["calibrated"].positions, cell.positions, atol=1e-8)
    write_minima(path, [(2, "uniform", cell)])
    with pytest.raises(ValueError, match=r"relaxed.xyz: structure 2: no minimum of uniform or calibrated"):
        read_minima(path)
    write_minima(path, [])
    assert read_minima(path) == {}


@pytest.fixture(scope="module")
def done(study, store, tmp_path_factory):
    """The three stages on copper, where the optimised cutoffs make everything 1.44 times as stiff."""
    folder = tmp_path_factory.mktemp("stages")
    study = study.narrowed(observables={"structures": 2, "max_atoms": 4, "rdf": {"duration": 0.02}})
    potentials = {"uniform": Metal(), "calibrated": Metal(1.44), "other_seed": Metal(1.21)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcl.study.stages.observables.calculators", lambda *_: potentials)
        structures = folder / "relaxed.xyz"
        facts = observe_statics(study, store, MODEL, MODEL, SUBSET, structures, folder / "statics.json", MODEL)
        for stage, run in (("nve", observe_nve), ("rdf", observe_rdf)):
            assert run(study, structures, MODEL, MODEL, SUBSET, folder / f"{stage}.json", MODEL) == facts
    assert facts == {"seed": study.observables.seed, "subset": SUBSET}
    return folder


def content(folder, stage):
    found = json.loads((folder / f"{stage}.json").read_text())
    assert found["subset"] == SUBSET
    return found["structures"]


def test_the_stages_compare_each_potential_with_the_reference(done):
    good, bad = content(done, "statics")
    assert bad["no_reference"].startswith("volume -1") and "phonons" not in bad.get("calibrated", {})
    assert good["no_reference"] is None and set(good["rmsd_angstrom"]) == {"calibrated", "other_seed"}
    assert max(good["rmsd_angstrom"].values()) < 0.01
    for name, factor in (("calibrated", 1.44), ("other_seed", 1.21)):
        moduli, frequencies = ([good[one][part][key] for one in ("uniform", name)] for part, key in (
            ("equation_of_state", "bulk_modulus_gpa"), ("phonons", "frequencies_per_cm"),
        ))  # fmt: skip
        assert moduli[1] == pytest.approx(factor * moduli[0], rel=1e-2)
        np.testing.assert_allclose(frequencies[1], np.sqrt(factor) * np.array(frequencies[0]), rtol=1e-2)


def test_dynamics_repeat_the_reference_with_other_random_numbers(done):
    for stage, key in (("nve", "drift_mev_per_atom_ps"), ("rdf", "g_blocks")):
        (record,) = content(done, stage)  # only of the structure with a reference
        assert (record["structure"], record["formula"], record["no_reference"]) == (1, "Cu4", None)
        assert {"uniform", "repeated", "calibrated", "other_seed"} <= set(record)
        assert record["uniform"][key] != record["repeated"][key]
    assert np.array(record["uniform"]["g_blocks"]).shape == (4, 60)


def test_a_reference_that_becomes_hot_ends_the_comparison(study, tmp_path, monkeypatch, copper):
    potentials = {"uniform": Metal(), "calibrated": Metal()}
    monkeypatch.setattr("fcl.study.stages.observables.calculators", lambda *_: potentials)
    moved = copper.copy()
    moved.rattle(0.14, seed=1)
    write_minima(tmp_path / "relaxed.xyz", [(1, "uniform", moved), (1, "calibrated", copper)])
    observe_nve(study, tmp_path / "relaxed.xyz", MODEL, MODEL, SUBSET, tmp_path / "nve.json")
    (record,) = content(tmp_path, "nve")
    assert record["no_reference"].startswith("mean temperature") and "calibrated" not in record


def test_the_potentials_are_those_of_the_comparison(study, tmp_path):
    cutoffs = tmp_path / "cutoffs.json"
    cutoffs.write_text(json.dumps({"cutoffs": {"Ca": 4.5, "S": 3.6}}))
    found = calculators(study, MODEL, cutoffs, str(MODEL))
    assert list(found) == ["uniform", "calibrated", "other_seed"]
    energies = []
    for calculator in found.values():
        atoms = bulk("CaS", "rocksalt", a=5.7)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[2] != energies[1]  # the other seed is at the uniform cutoff
    assert list(calculators(study, MODEL, cutoffs, None)) == ["uniform", "calibrated"]
