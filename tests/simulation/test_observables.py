"""Physics with optimised cutoffs: each quantity against an independent way to it, and the stages on a small model."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.geometry.rdf import get_rdf
from ase.io import read

from fcl.config.load import load_config
from fcl.data.store import arrays_from_frames, write_store
from fcl.simulation.dynamics import Dynamics
from fcl.simulation.observables.failure import Failure
from fcl.simulation.observables.nve import energy_conservation, fluctuation, trace
from fcl.simulation.observables.rdf import block_average, pair_distribution, sampled_rdf
from fcl.simulation.observables.runs import equilibrate, stable_run
from fcl.simulation.observables.statics import at_minimum, equation_of_state, phonons_at_gamma, rmsd
from fcl.study.stages.observables import (
    CONFIGURATIONS,
    first_structures,
    observe_nve,
    observe_rdf,
    observe_statics,
    read_pairs,
    write_structures,
)
from project import ROOT

pytestmark = pytest.mark.heavy

MODEL = ROOT / "tests/golden/fcl.safetensors"
SUBSET = "SHIFTML-molcrys"
CRYSTAL = "MC3D"  # its first structure is the smallest: 8 atoms, few neighbours


class Metal(EMT):
    """ASE's EMT with what the comparison reads of a calculator."""

    pairs_per_atom = 12.0
    rebuilds = 0


@pytest.fixture
def copper():
    atoms = bulk("Cu", a=3.65, cubic=True)
    atoms.calc = Metal()
    return atoms


@pytest.fixture(scope="module")
def study():
    """Of a few steps of everything."""
    dynamics = {"equilibration": 0.005}
    short = {"dynamics": dynamics, "nve": {"duration": 0.02}, "rdf": {"duration": 0.01}, "relaxation": {"steps": 3}}
    return load_config(ROOT / "config.yaml").resolve("smoke").narrowed(observables={"subsets": [CRYSTAL], **short})


def settings(study, **changes):
    return study.narrowed(observables=changes).observables


def test_the_equation_of_state_is_that_of_the_stress(study, copper):
    """Zero pressure and the modulus from EMT's stress, which the fit of energies does not see."""
    choice = study.observables
    found = equation_of_state(copper, choice.equation_of_state, choice.relaxation.model_copy(update={"steps": 100}))
    volume = 4 * found["volume_angstrom3_per_atom"]

    def pressure(size):
        atoms = bulk("Cu", a=size ** (1 / 3), cubic=True)
        atoms.calc = EMT()
        return -atoms.get_stress()[:3].mean() / units.GPa

    assert pressure(volume) == pytest.approx(0.0, abs=0.1)
    slope = (pressure(1.001 * volume) - pressure(0.999 * volume)) / (0.002 * volume)
    assert found["bulk_modulus_gpa"] == pytest.approx(-volume * slope, rel=0.03)
    assert min(found["energies_ev_per_atom"]) == pytest.approx(found["energy_ev_per_atom"], abs=1e-4)


def test_no_minimum_of_the_volume_is_a_failure_and_no_error(study, copper):
    choice = study.observables
    copper.set_cell(copper.cell * 0.9, scale_atoms=True)
    stopped = equation_of_state(copper, choice.equation_of_state, choice.relaxation.model_copy(update={"steps": 1}))
    assert stopped["failure"] == "no minimum" and "did not relax in 1 steps" in stopped["reason"]


def test_phonons_are_those_of_the_matrix_of_second_derivatives(copper):
    copper.positions += np.random.default_rng(0).normal(scale=0.02, size=(4, 3))
    at_rest = copper.positions.copy()
    found = phonons_at_gamma(copper, 0.005)
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


def test_a_saddle_has_imaginary_modes(copper):
    saddle = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.1]], cell=[4.6, 4.6, 4.2], pbc=True)
    saddle.calc = copper.calc
    assert phonons_at_gamma(saddle, 0.01)["imaginary_modes"] > 0


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
    assert facts["relaxation"]["steps"] == study.observables.relaxation.steps
    assert sampled_rdf(water, study.observables, seed=1)["failure"] == "not applicable"


def test_what_is_left_out_is_not_computed(study, copper):
    facts = at_minimum(copper, settings(study, phonons=None, equation_of_state=None))
    assert list(facts) == ["relaxation"]


def test_the_start_is_the_same_for_both_and_follows_from_the_seed(study, copper):
    again, other = copper.copy(), copper.copy()
    again.calc = other.calc = copper.calc
    for atoms, seed in ((copper, 1), (again, 1), (other, 2)):
        assert equilibrate(atoms, study.observables.dynamics, seed) is None
    assert (copper.positions == again.positions).all() and (copper.get_momenta() == again.get_momenta()).all()
    assert (copper.positions != other.positions).any()


def test_every_time_step_starts_from_the_equilibrated_state(study, copper):
    runs = energy_conservation(copper, study.observables, seed=3)
    assert [run["timestep_fs"] for run in runs] == [0.5, 1.0]
    assert [run["duration_ps"] for run in runs] == [0.02, 0.02]
    assert all(abs(run["drift_mev_per_atom_ps"]) < 5.0 for run in runs)
    kinetic = copper.get_kinetic_energy()
    assert copper.get_temperature() > 0 and copper.get_kinetic_energy() == kinetic  # the start is not touched
    assert runs[0]["trace"]["energy_mev_per_atom"][0] == 0.0 and len(runs[0]["trace"]["times_ps"]) == 41


def test_a_run_that_leaves_physics_is_unstable(study, copper):
    dynamics = study.observables.dynamics.model_copy(update={"unstable_above": 301.0, "timestep": 1.0})
    copper.rattle(0.4, seed=1)  # hot within femtoseconds
    runs = energy_conservation(copper, study.observables.model_copy(update={"dynamics": dynamics}), seed=1)
    assert [run["failure"] for run in runs] == ["unstable", "unstable"]
    assert "ps of 0.005 ps" in runs[0]["reason"] and "drift_mev_per_atom_ps" not in runs[0]
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


def test_fluctuation_and_trace_of_a_known_run():
    times = np.linspace(0.0, 1.0, 1001)
    energies = 1e-3 * (2.0 * times + 0.5 * np.sqrt(2.0) * np.sin(2 * np.pi * 50 * times)) * 4
    run = Dynamics(times, energies, np.full(1001, 300.0), 4, 1.0)
    assert run.drift == pytest.approx(2.0, abs=0.05)
    assert fluctuation(run) == pytest.approx(0.5, rel=0.01)
    thinned = trace(run)
    assert len(thinned["times_ps"]) == 200 and thinned["energy_mev_per_atom"][-1] == pytest.approx(2.0, abs=0.5)


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


def test_block_average_knows_that_neighbours_are_correlated():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(20000, 3))
    mean, error = block_average(white, 50)
    np.testing.assert_allclose(mean, white.mean(axis=0))
    np.testing.assert_allclose(error, 1 / np.sqrt(20000), rtol=0.35)
    _, repeated = block_average(np.repeat(white[:200], 100, axis=0), 50)
    np.testing.assert_allclose(repeated, 1 / np.sqrt(200), rtol=0.4)


@pytest.fixture(scope="module")
def store(tmp_path_factory, crystals):
    """The first embedded test structures, of all subsets in turn."""
    from fcl.data.read import read_frames

    frames = [frame for frame, _ in zip(read_frames(crystals), range(12), strict=False)]
    path = tmp_path_factory.mktemp("observables") / "test.h5"
    write_store(arrays_from_frames(frames, 7.0), path, {})
    return path


def test_structures_are_the_first_of_the_subset(store, crystals):
    expected = [atoms for atoms in read(crystals, ":12") if atoms.info["subset"] == SUBSET]
    chosen = first_structures(store, SUBSET, 2)
    assert len(expected) == 3 and len(chosen) == 2
    for atoms, reference in zip(chosen, expected, strict=False):
        assert (atoms.numbers == reference.numbers).all() and (atoms.pbc == reference.pbc).all()
        np.testing.assert_allclose(atoms.positions, reference.positions, atol=1e-6)
        np.testing.assert_allclose(atoms.cell.array, reference.cell.array, atol=1e-6)
    assert len(first_structures(store, SUBSET, 99)) == 3
    with pytest.raises(ValueError, match=r"test.h5: no structure of subset 'MC9D'; there are MC2D, MC3D"):
        first_structures(store, "MC9D", 1)


def test_relaxed_structures_come_back_in_pairs(tmp_path):
    path, cell = tmp_path / "relaxed.xyz", bulk("Cu", cubic=True)
    write_structures(path, [(name, cell) for name in CONFIGURATIONS * 2])
    pairs = read_pairs(path)
    assert len(pairs) == 2 and list(pairs[0]) == list(CONFIGURATIONS)
    np.testing.assert_allclose(pairs[1]["calibrated"].positions, cell.positions, atol=1e-8)
    write_structures(path, [("uniform", cell), ("uniform", cell)])
    with pytest.raises(ValueError, match="relaxed.xyz: expected each structure as uniform and calibrated"):
        read_pairs(path)


@pytest.fixture(scope="module")
def done(study, store, tmp_path_factory):
    """The three stages on one molecular crystal with a small model."""
    import torch

    folder = tmp_path_factory.mktemp("stages")
    cutoffs = folder / "cutoffs.json"
    cutoffs.write_text(json.dumps({"cutoffs": {"Ca": 4.5, "S": 3.6}}))
    before = torch.get_default_dtype()
    observe_statics(
        study,
        store,
        MODEL,
        cutoffs,
        CRYSTAL,
        folder / "relaxed.xyz",
        folder / "statics.json",
        folder / "s.manifest.json",
    )
    for stage, run in (("nve", observe_nve), ("rdf", observe_rdf)):
        outputs = folder / f"{stage}.json", folder / f"{stage}.manifest.json"
        run(study, folder / "relaxed.xyz", MODEL, cutoffs, CRYSTAL, *outputs)
    assert torch.get_default_dtype() == before
    return folder


def content(folder, stage):
    found = json.loads((folder / f"{stage}.json").read_text())
    assert found["subset"] == CRYSTAL
    (record,) = found["structures"]
    assert (record["structure"], record["formula"], record["atoms"]) == (1, "Ca4S4", 8)
    return record


def test_the_stages_compare_the_two_cutoffs(done):
    statics, nve, rdf = (content(done, stage) for stage in ("statics", "nve", "rdf"))
    pairs = [statics[name]["relaxation"]["pairs_per_atom"] for name in CONFIGURATIONS]
    assert pairs[0] > 1.5 * pairs[1]
    assert statics["rmsd_angstrom"] > 0.0
    for name in CONFIGURATIONS:
        assert len(statics[name]["phonons"]["frequencies_per_cm"]) == 21
        assert [run["timestep_fs"] for run in nve[name]] == [0.5, 1.0]
        assert len(rdf[name]["g"]) == 120 and max(rdf[name]["g"]) > 1.0
    assert nve["uniform"][0]["pairs_per_atom"] > 1.5 * nve["calibrated"][0]["pairs_per_atom"]
    assert nve["uniform"][0]["microseconds_per_atom_step"] > 0.0


def test_the_manifests_say_what_was_compared(done):
    manifest = json.loads((done / "nve.manifest.json").read_text())
    assert manifest["stage"] == "observe_nve" and manifest["extra"] == {"subset": CRYSTAL}
    assert set(manifest["inputs"]) == {"structures", "model", "cutoffs"}
    assert manifest["settings"]["observables"]["nve"]["timesteps"] == [0.5, 1.0]
