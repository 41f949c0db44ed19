"""Calculators with cutoffs that follow the environment: dynamics, lists, bounds, and how it is evaluated."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

import fcl
from examples import contract_model, structures
from fcl import FCLCalculator
from fcl.cutoffs.adaptive import SchemeSelector
from fcl.cutoffs.file import write_scheme
from fcl.data.neighbors import half_pairs

SCHEMES = ["neighbours=9.5", "dynamic=14"]


@pytest.fixture(scope="module")
def model(small_settings):
    flexible = contract_model(small_settings).eval()
    flexible.card = {"r_min_angstrom": 3.5}
    return flexible


def evaluated(calculator, atoms):
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), calculator.pairs_per_atom


# -- dynamics ----------------------------------------------------------------------------------------------------------


def spread_of(scheme, timestep, steps):
    """Spread of the total energy (eV/atom) in NVE from 300 K of a shipped crystal, ``timestep`` in fs."""
    from fcl.models.pretrained import structures as shipped

    atoms = shipped("test", subset="SHIFTML-molcrys")[2]
    atoms.calc = FCLCalculator("embedded", scheme)
    random = np.random.default_rng(1)
    atoms.set_momenta(np.sqrt(atoms.get_masses() * units.kB * 300)[:, None] * random.normal(size=(len(atoms), 3)))
    found = []
    program = VelocityVerlet(atoms, timestep * units.fs)
    program.attach(lambda: found.append(atoms.get_total_energy() / len(atoms)))
    program.run(steps)
    return float(np.ptp(found))


def without_the_implicit_derivative(monkeypatch):
    """The control: cutoffs follow the environment, but forces do not know it."""
    select = SchemeSelector.select

    def selected(self, candidates, cutoffs, margin=0.0):
        loose = copy.copy(candidates)
        object.__setattr__(loose, "vectors", candidates.vectors.detach())
        return select(self, loose, cutoffs, margin)

    monkeypatch.setattr(SchemeSelector, "select", selected)


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["neighbours=25", pytest.param("dynamic=25", marks=pytest.mark.slow)])
def test_energy_is_conserved(scheme, monkeypatch):
    """In 50 fs it varies by the error of velocity Verlet, of second order; the control drifts."""
    coarse, fine = spread_of(scheme, 0.5, 100), spread_of(scheme, 0.25, 200)
    without_the_implicit_derivative(monkeypatch)
    control = spread_of(scheme, 0.5, 100), spread_of(scheme, 0.25, 200)
    assert 3.5 < coarse / fine < 4.5 and fine < 1e-3
    assert 0.8 < control[0] / control[1] < 1.25 and control[1] > 10.0 * fine


@pytest.mark.parametrize("scheme", ["neighbours=60", "dynamic=60"])
@pytest.mark.parametrize("case", [0, 3, 5])
def test_the_skin_changes_nothing(model, scheme, case):
    kept, fresh = FCLCalculator(model, scheme, skin=0.3), FCLCalculator(model, scheme, skin=0.0)
    atoms, random = structures()[case], np.random.default_rng(5)
    for _ in range(12):
        atoms.positions += random.normal(scale=0.06, size=atoms.positions.shape)
        mine, theirs = evaluated(kept, atoms), evaluated(fresh, atoms)
        assert mine[0] == theirs[0] and mine[2] == theirs[2]
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert kept.rebuilds < fresh.rebuilds == 12


# -- cutoffs -----------------------------------------------------------------------------------------------------------


def test_pairs_are_those_that_the_network_evaluates(model):
    """Counted by hand from the cutoffs; fewer than the candidates."""
    atoms, scheme = bulk("Si", "diamond", a=5.43, cubic=True), fcl.NeighbourCutoffs(20)
    calculator = FCLCalculator(model, scheme)
    pairs = evaluated(calculator, atoms)[2]
    (i, j), _, distances = half_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 7.0)
    r, receivers = torch.as_tensor(np.tile(distances, 2)), torch.as_tensor(np.concatenate([i, j]))
    a = calculator.cutoffs.selector.scheme.cutoffs(r, receivers, torch.as_tensor(atoms.numbers)).numpy()
    assert np.ptp(a) < 1e-9 and 3.5 < a[0] < 7.0  # all atoms are alike
    assert pairs == 2 * int((distances <= a[0]).sum()) / len(atoms) < 2 * len(distances) / len(atoms)


def test_at_its_bounds_a_scheme_is_a_fixed_cutoff(model):
    for atoms in (molecule("CH3OH"), bulk("KCl", "rocksalt", a=6.3), Atoms("H"), Atoms("H2", [[0, 0, 0], [0, 0, 9.0]])):
        for scheme, cutoff in (("neighbours=0.01", 3.5), ("neighbours=1e6", 7.0), ("neighbours=1e6,upper=6", 6.0)):
            if cutoff == 3.5 and len(atoms) < 3:
                continue  # an atom alone has the largest cutoff
            found = evaluated(FCLCalculator(model, scheme), atoms)
            expected = evaluated(FCLCalculator(model, cutoff, radial="network"), atoms)
            assert found[0] == pytest.approx(expected[0], abs=1e-12) and found[2] == expected[2]
            np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_atoms_without_neighbours(model):
    """Alone, and beyond all others, at the upper bound: no energy and no force."""
    for scheme in SCHEMES:
        calculator = FCLCalculator(model, scheme)
        energy, forces, pairs = evaluated(calculator, Atoms("H"))
        assert not forces.any() and pairs == 0.0
        apart = evaluated(calculator, Atoms("H2", [[0, 0, 0], [0, 0, 9.0]]))
        assert apart[0] == pytest.approx(2 * energy, abs=1e-12) and not apart[1].any()


def test_coinciding_atoms_are_an_error(model):
    for scheme in SCHEMES:
        with pytest.raises(FloatingPointError, match="not finite"):
            evaluated(FCLCalculator(model, scheme), Atoms("H3", positions=np.zeros((3, 3))))


def test_float32_is_float64_to_its_digits(model):
    atoms = bulk("KCl", "rocksalt", a=6.3)
    atoms.rattle(0.05, seed=3)
    for scheme in SCHEMES:
        exact, rounded = (evaluated(FCLCalculator(model, scheme, dtype=d), atoms) for d in ("float64", "float32"))
        assert rounded[0] == pytest.approx(exact[0], rel=1e-4)
        np.testing.assert_allclose(rounded[1], exact[1], atol=1e-4)


# -- use ---------------------------------------------------------------------------------------------------------------


def test_every_way_to_give_a_scheme(model, tmp_path):
    atoms, scheme = molecule("CH3OH"), fcl.NeighbourCutoffs(6.5)
    write_scheme(tmp_path / "mine.json", scheme, {})
    expected = evaluated(FCLCalculator(model, scheme), atoms)
    for given in ("neighbours=6.5", tmp_path / "mine.json", str(tmp_path / "mine.json")):
        found = evaluated(FCLCalculator(model, given), atoms)
        assert found[0] == expected[0]
    calculator = FCLCalculator(model, 5.0)
    evaluated(calculator, atoms)
    assert calculator.path.startswith("tables")
    calculator.cutoffs = scheme
    assert evaluated(calculator, atoms)[0] == expected[0] and calculator.path == "network"
    for other in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        assert evaluated(other, atoms)[0] == expected[0]
    calculator.cutoffs = 5.0
    evaluated(calculator, atoms)
    assert calculator.path.startswith("tables")


def test_networks_are_used_and_it_is_said_once(model, caplog):
    atoms = molecule("H2O")
    for radial, level in (("tables", "WARNING"), (None, "INFO"), ("network", None)):
        caplog.clear()
        with caplog.at_level("INFO", logger="fcl"):
            calculator = FCLCalculator(model, "neighbours=3", radial=radial)
            for _ in range(3):
                calculator.reset()
                evaluated(calculator, atoms)
        assert calculator.path == "network"
        said = [(record.levelname, record.message) for record in caplog.records]
        sentence = "radial functions are evaluated by their networks: neighbours=3: tables need fixed cutoffs"
        assert said == ([(level, sentence)] if level else [])


def test_the_compiled_path_falls_back(model, caplog):
    atoms = molecule("H2O")
    with caplog.at_level("WARNING", logger="fcl"):
        calculator = FCLCalculator(model, "neighbours=3", backend="compiled")
        calculators = [calculator, FCLCalculator(model, "neighbours=3", backend="fast")]
        found = [evaluated(one, atoms)[0] for one in (*calculators, calculator)]
    assert found[0] == found[1] == found[2]
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("neighbours=3") and said.endswith("are evaluated without the compiled program")


def test_features_of_an_uncertainty_need_fixed_cutoffs(model):
    from fcl.active.uncertainty import Features

    with pytest.raises(ValueError, match="neighbours=3: they follow the environment"):
        Features(FCLCalculator(model, "neighbours=3")).of(molecule("H2O"))
