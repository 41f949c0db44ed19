"""Tabulated radial functions: against the networks, eager against compiled, derivatives, limits and fall-backs."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

import fcl.models.mace.tabulated as tabulated
from export_examples import CUTOFFS, all_structures, export_model
from fcl import FCLCalculator
from fcl.cutoffs.choice import CutoffChoice
from fcl.data.batch import GraphData
from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames
from fcl.models.fixed import FixedModel
from fcl.models.mace import kernel
from fcl.models.mace.frozen import freeze
from fcl.models.mace.tables import RadialTables, hermite_tables, knots_for
from project import ROOT

#: What the tables may differ by from the networks: eV per atom, eV/A.
ENERGY, FORCE = 1e-6, 1e-5
#: Compiled against eager, float64, relative to the largest: the same mathematics in another order.
SAME = 1e-11
WITHOUT_COMPILER = "there is no C++ compiler"


@pytest.fixture
def tables(model):
    return freeze(model, CutoffChoice(model, CUTOFFS), radial="tables")


@pytest.fixture
def compiled(tables):
    if not kernel.available(tables):
        pytest.skip(WITHOUT_COMPILER)
    return tables


def results(calculator, atoms):
    atoms = atoms.copy()
    atoms.calc = calculator
    stress = atoms.get_stress() if atoms.cell.rank == 3 else np.zeros(6)
    return atoms.get_potential_energy(), atoms.get_forces(), stress


def inputs(tables, dtype=torch.float64, seed=3, n=60):
    """Element rows, pairs within their cutoffs and vectors of a random cluster."""
    random = np.random.default_rng(seed)
    positions = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)[:n] * 1.9
    positions = torch.as_tensor(positions + random.uniform(-0.5, 0.5, positions.shape))
    rows = torch.as_tensor(random.integers(0, len(tables.elements), n))
    i, j = torch.combinations(torch.arange(n)).T
    vectors = positions[j] - positions[i]
    near = vectors.norm(dim=1) <= tables.pair_cutoffs[tables.pair_class[rows[i], rows[j]]]
    return rows, torch.stack([i, j])[:, near], vectors[near].to(dtype)


def eager(tables, rows, pair_index, vectors):
    vectors = vectors.clone().requires_grad_(True)
    energies = tables.energies_of(rows, pair_index, vectors)
    (gradient,) = torch.autograd.grad(energies.sum(), vectors, materialize_grads=True)
    forces = vectors.new_zeros(len(rows), 3).index_add(0, pair_index[0], gradient)
    return energies.detach(), gradient, forces.index_add(0, pair_index[1], -gradient)


# -- the splines -------------------------------------------------------------------------------------------------------


def wiggle(r, m):
    """A function of two columns that vanishes with two derivatives at m and varies fast below an angstrom."""
    return (1.0 - r / m) ** 3 * torch.cat([torch.exp(-4.0 * r) * torch.sin(9.0 * r), torch.cos(r)], dim=1)


def test_knots_are_where_the_function_needs_them():
    cutoffs = torch.tensor([3.0, 5.0])
    coarse, fine = (knots_for(wiggle, cutoffs, tolerance, 0.0) for tolerance in (1e-3, 1e-6))
    assert len(coarse) < len(fine) < 300
    assert fine[0] == 0.0 and fine[-1] == 1.0 and bool((fine.diff() > 0).all())
    assert fine.diff()[0] < fine.diff()[-1]
    r = torch.linspace(0.01, 1.0, 997)[:, None] * cutoffs
    for knots, tolerance in ((coarse, 1e-3), (fine, 1e-6)):
        made = RadialTables(hermite_tables(wiggle, cutoffs, knots), cutoffs, knots)
        for number, m in enumerate(cutoffs):
            x = r[:, number].clone().requires_grad_(True)
            for column in range(2):
                (found,) = torch.autograd.grad(made(x, torch.full((997,), number))[:, column].sum(), x)
                (known,) = torch.autograd.grad(wiggle(x[:, None], m)[:, column].sum(), x)
                assert (found - known).abs().max() <= 1.5 * tolerance


def test_the_interpolant_is_twice_differentiable_also_where_intervals_change():
    m = torch.tensor([4.0])
    knots = torch.tensor([0.0, 0.125, 0.25, 0.5, 1.0])
    made = RadialTables(hermite_tables(wiggle, m, knots), m, knots)

    def derivatives(r):
        r = torch.tensor([r], requires_grad=True)
        value = made(r, torch.tensor([0]))[0, 0]
        # from one side: the interval is chosen by the value of r
        (slope,) = torch.autograd.grad(value, r)
        return torch.stack([value.detach(), slope[0]])

    for knot in 4.0 * knots[1:-1]:
        for order in (0, 1):
            step = 1e-5
            below, above = derivatives(float(knot) - 1e-9)[order], derivatives(float(knot) + 1e-9)[order]
            assert below == pytest.approx(float(above), abs=1e-7)
            left = (derivatives(float(knot) - 1e-9) - derivatives(float(knot) - step))[1] / step
            right = (derivatives(float(knot) + step) - derivatives(float(knot) + 1e-9))[1] / step
            assert left == pytest.approx(float(right), abs=1e-2)


def test_pairs_may_be_as_close_as_they_like(model, tables):
    """Tables begin at 0: no distance is below the first knot, and near it they are still the networks."""
    frozen = freeze(model, CutoffChoice(model, CUTOFFS))
    function = tabulated.radial(frozen)
    m = float(tables.pair_cutoffs[0])
    width = tables.first.table.shape[3]
    for r in (1e-4, 0.003, 0.05, 0.2, 0.5):
        found = tables.first(torch.tensor([r]), torch.tensor([0]))
        known = function(torch.tensor([[r]]), torch.tensor([[m]]))[:, :width]
        assert (found - known).abs().max() < 1e-4 * known.abs().max()


# -- against the networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, mixing", [("fcl", "arithmetic"), ("fcl", "geometric"), ("static", "arithmetic")])
@pytest.mark.parametrize("how", ["compiled", "eager"])
def test_energies_forces_and_stress_are_those_of_the_networks(small_settings, kind, mixing, how, monkeypatch):
    if how == "eager":
        monkeypatch.setenv("CXX", "no-such-compiler")
    model = export_model(small_settings, kind=kind, mixing=mixing)
    cutoffs = CUTOFFS if kind == "fcl" else None
    fast, exact = (FCLCalculator(model, cutoffs, radial=radial) for radial in ("tables", "network"))
    largest = 0.0
    for atoms in all_structures():
        energy, forces, stress = results(fast, atoms)
        known = results(exact, atoms)
        assert energy == pytest.approx(known[0], abs=ENERGY * len(atoms))
        np.testing.assert_allclose(forces, known[1], rtol=0, atol=FORCE)
        np.testing.assert_allclose(stress, known[2], rtol=0, atol=FORCE)
        largest = max(largest, np.abs(forces).max())
        assert fast.pairs_per_atom == exact.pairs_per_atom
    assert largest > 0.01 and exact.path == "network"
    assert fast.path == "tables" if how == "eager" else fast.path.startswith("tables")


@pytest.mark.heavy
def test_the_shipped_model_on_crystals(crystals):
    from ase.io import read

    fast, exact = (FCLCalculator("embedded", 5.0, radial=radial) for radial in ("tables", "network"))
    for atoms in read(crystals, ":6", format="extxyz"):
        energy, forces, _ = results(fast, atoms)
        known = results(exact, atoms)
        assert energy == pytest.approx(known[0], abs=ENERGY * len(atoms))
        np.testing.assert_allclose(forces, known[1], rtol=0, atol=FORCE)


def test_environments_hold_every_pair_of_elements():
    numbers, positions, pair_index, cluster = tabulated.environments([1, 6, 8])
    kinds = {tuple(sorted(set(numbers[cluster == k].tolist()))) for k in range(int(cluster[-1]) + 1)}
    assert kinds >= {(1, 6), (1, 8), (6, 8), (1,), (6,), (8,)}
    distances = (positions[pair_index[0]] - positions[pair_index[1]]).norm(dim=1)
    assert 0.55 < float(distances.min()) < 1.0 < 4.0 < float(distances.max())
    assert bool((cluster[pair_index[0]] == cluster[pair_index[1]]).all())


# -- compiled against eager --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 4])
def test_the_compiled_program_computes_what_pytorch_computes(compiled, seed):
    arguments = inputs(compiled, seed=seed)
    assert arguments[1].shape[1] > 300
    for found, known in zip(kernel.evaluate(compiled, *arguments), eager(compiled, *arguments), strict=True):
        assert float((found - known).abs().max()) <= SAME * float(known.abs().max())


@pytest.mark.heavy
def test_also_for_the_widths_of_the_paper_and_in_float32(crystals):
    model = FCLCalculator("mini", 5.0).model
    wide = freeze(model, CutoffChoice(model, {"H": 3.9, "C": 4.6, "O": 5.2}), radial="tables")
    if not kernel.available(wide):
        pytest.skip(WITHOUT_COMPILER)
    narrow = freeze(model, CutoffChoice(model, {"H": 3.9, "C": 4.6, "O": 5.2}), torch.float32, radial="tables")
    assert narrow.sent.dtype == torch.float32
    known = eager(wide, *inputs(wide))
    for tables, tolerance in ((wide, SAME), (narrow, 5e-4)):
        found = kernel.evaluate(tables, *inputs(tables, tables.sent.dtype))
        for mine, theirs in zip(found, known, strict=True):
            assert float((mine - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


def test_threads_change_no_bit(compiled, monkeypatch):
    monkeypatch.setattr(kernel, "ATOMS", 5)
    one = kernel.evaluate(compiled, *inputs(compiled))
    for threads in (2, 7):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(one, kernel.evaluate(compiled, *inputs(compiled)), strict=True))


def test_without_atoms_near_each_other(compiled):
    rows, pair_index, vectors = torch.tensor([0, 3]), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, 3)
    energies, gradient, forces = kernel.evaluate(compiled, rows, pair_index, vectors)
    torch.testing.assert_close(energies, compiled.energies_of(rows, pair_index, vectors))
    assert gradient.shape == (0, 3) and not forces.any()


def test_coinciding_atoms_give_no_number_and_no_crash(model):
    atoms = Atoms("H2", positions=np.zeros((2, 3)))
    atoms.calc = FCLCalculator(model, CUTOFFS)
    with pytest.raises(FloatingPointError, match="not finite"):
        atoms.get_forces()


def test_batches_are_their_structures_one_by_one(model, compiled):
    frames = [frame for frame in read_frames(ROOT / "resources" / "embedded" / "val.xyz.gz") if len(frame) < 12]
    frames = [
        frame for frame in frames if {*frame.numbers} <= {*compiled.elements} and abs(np.linalg.det(frame.cell)) > 0
    ]
    data = GraphData(arrays_from_frames(frames[:4], 7.0), torch.float64)
    evaluate = FixedModel(model, CutoffChoice(model, CUTOFFS))

    def evaluated(indices):
        batch = data.batch(torch.tensor(indices))
        cutoffs = torch.as_tensor(evaluate.choice.of(batch.numbers.numpy()))
        return evaluate(data.select_pairs(batch, cutoffs, model.selector), cutoffs, stress=True)

    together, single = evaluated([0, 1, 2, 3]), [evaluated([k]) for k in range(4)]
    assert evaluate.path == "tables, compiled"
    for name in ("energy", "forces", "stress", "node_energy"):
        torch.testing.assert_close(together[name], torch.cat([one[name] for one in single]), rtol=1e-12, atol=1e-12)


# -- derivatives and dynamics ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [0, 3, 5, 10])
def test_forces_and_stress_are_derivatives_of_the_tabulated_energy(model, case):
    atoms = all_structures()[case]
    atoms.calc = FCLCalculator(model, CUTOFFS)
    forces, step = atoms.get_forces(), 1e-4
    assert atoms.calc.path.startswith("tables")

    def energy(change):
        moved = atoms.copy()
        moved.calc = atoms.calc
        change(moved)
        return moved.get_potential_energy()

    for atom in range(min(2, len(atoms))):
        for axis in range(3):

            def shifted(moved, sign, atom=atom, axis=axis):
                moved.positions[atom, axis] += sign * step

            slope = (energy(lambda m: shifted(m, 1)) - energy(lambda m: shifted(m, -1))) / (2 * step)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-7)
    if atoms.cell.rank < 3:
        return
    for component, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):

        def strained(moved, sign, a=a, b=b):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * 1e-5
            strain[b, a] += 0.5 * sign * 1e-5
            moved.set_cell(moved.cell.array @ strain, scale_atoms=True)

        slope = (energy(lambda m: strained(m, 1)) - energy(lambda m: strained(m, -1))) / (2e-5 * atoms.get_volume())
        assert atoms.get_stress()[component] == pytest.approx(slope, abs=1e-8)


@pytest.mark.heavy
@pytest.mark.parametrize("dtype, difference", [("float64", 2e-6), ("float32", 2e-5)])
def test_energy_is_conserved_as_with_the_networks(dtype, difference):
    """NVE of a shipped crystal at 300 K: the total energy (eV/atom) at every step. Both vary with the time step."""
    from fcl.models.pretrained import structures

    def totals(radial):
        atoms = structures("test", subset="SHIFTML-molcrys")[2]
        atoms.calc = FCLCalculator("embedded", {"H": 4.0, "S": 5.0}, dtype=dtype, radial=radial)
        random = np.random.default_rng(1)
        atoms.set_momenta(np.sqrt(atoms.get_masses() * units.kB * 300)[:, None] * random.normal(size=(len(atoms), 3)))
        found = []
        program = VelocityVerlet(atoms, 0.5 * units.fs)
        program.attach(lambda: found.append(atoms.get_total_energy() / len(atoms)))
        program.run(80)
        return np.array(found)

    tables, network = totals("tables"), totals("network")
    np.testing.assert_allclose(tables - tables[0], network - network[0], rtol=0, atol=difference)
    assert np.ptp(tables) < 1e-3  # the kinetic energy is 0.04


# -- limits and fall-backs ---------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_too_many_elements_have_tables_structure_by_structure_else_networks(model, monkeypatch, tmp_path):
    monkeypatch.setenv("FCL_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel, "available", lambda tables: False)
    size = freeze(model, CutoffChoice(model, {"H": 3.9, "C": 4.6, "O": 5.2}), radial="tables").first.table.nbytes * 2
    monkeypatch.setattr(tabulated, "LARGEST_TABLES", int(1.4 * size))
    calculator, exact = FCLCalculator(model, CUTOFFS), FCLCalculator(model, CUTOFFS, radial="network")
    for atoms, path in (
        (molecule("CH3OH"), "tables"),
        (molecule("H2O"), "tables"),
        (molecule("SiH4"), "tables"),
        (Atoms("HCNOSCl", positions=1.3 * np.eye(6, 3) + np.arange(6)[:, None]), "network"),
        (molecule("CH3OH"), "tables"),
    ):
        energy = results(calculator, atoms)[0]
        assert calculator.path == path
        assert energy == pytest.approx(results(exact, atoms)[0], abs=ENERGY * len(atoms))
    assert "pair cutoffs would have" in calculator._fixed.reason


@pytest.mark.heavy
def test_when_networks_are_evaluated(model, small_settings):
    atoms = molecule("H2O")
    for options, path in (
        ({}, "tables"),
        ({"radial": "network"}, "network"),
        ({"backend": "fast"}, "network"),
        ({"backend": "auto"}, "tables"),
        ({"backend": "reference", "radial": "tables"}, "tables"),
    ):
        calculator = FCLCalculator(model, CUTOFFS, **options)
        results(calculator, atoms)
        assert calculator.path.startswith(path), options
    calculator.cutoffs = [4.0, 4.5, 4.0]  # of atoms
    results(calculator, atoms)
    assert calculator.path == "network"
    calculator.cutoffs = 5.0
    results(calculator, atoms)
    assert calculator.path.startswith("tables")
    with pytest.raises(ValueError, match="radial 'splines' is unknown; known are tables, network"):
        FCLCalculator(model, CUTOFFS, radial="splines")
    other = export_model(small_settings, architecture="mace-torch")
    calculator = FCLCalculator(other, CUTOFFS)
    results(calculator, atoms)
    assert calculator.path == "network" and "tables cover" in calculator._fixed.reason


def test_tables_follow_the_weights(small_settings):
    model = export_model(small_settings)
    calculator, atoms = FCLCalculator(model, CUTOFFS), molecule("CH3OH")
    before = results(calculator, atoms)[0]
    with torch.no_grad():
        for parameter in model.radial_embedding.parameters():
            parameter.mul_(1.1)
    calculator.reset()
    after = results(calculator, atoms)[0]
    assert abs(after - before) > 1e-3
    model.scale_shift.scale.mul_(2.0)  # a buffer
    calculator.reset()
    assert results(calculator, atoms)[0] == pytest.approx(2.0 * after, rel=1e-5)
    model.scale_shift.scale.mul_(0.5)
    assert after == pytest.approx(results(FCLCalculator(model, CUTOFFS, radial="network"), atoms)[0], abs=1e-5)


def test_tables_are_kept_on_disk(model, monkeypatch, tmp_path):
    monkeypatch.setenv("FCL_CACHE", str(tmp_path))
    choice = CutoffChoice(model, {"H": 3.9, "O": 5.2})
    first = freeze(model, choice, radial="tables")
    (file,) = (tmp_path / "tables").glob("*.safetensors")
    monkeypatch.setattr(tabulated, "knots_for", None)  # another time, nothing is computed
    torch.testing.assert_close(freeze(model, choice, radial="tables").state_dict(), first.state_dict())
    monkeypatch.undo()
    monkeypatch.setenv("FCL_CACHE", str(tmp_path))
    file.write_bytes(file.read_bytes()[:100])
    torch.testing.assert_close(freeze(model, choice, radial="tables").state_dict(), first.state_dict())
    freeze(model, CutoffChoice(model, {"H": 4.0, "O": 5.2}), radial="tables")
    assert len(list((tmp_path / "tables").glob("*.safetensors"))) == 2
    monkeypatch.setenv("FCL_CACHE", str(file))  # a folder that cannot be made
    freeze(model, choice, radial="tables")


def test_tables_that_do_not_get_accurate_are_refused(model, monkeypatch, tmp_path):
    monkeypatch.setenv("FCL_CACHE", str(tmp_path))
    monkeypatch.setattr(tabulated, "SLOPE_TOLERANCES", (1e2,))
    with pytest.raises(ValueError, match="tables differ from the networks by .* eV per atom"):
        model.tabulate([1, 8], [4.0, 5.0])


@pytest.mark.parametrize("compiler, reason", [("no-such", "there is no C++ compiler (no-such)"), ("false", "failed")])
def test_without_a_compiler_tables_are_evaluated_by_pytorch(model, monkeypatch, tmp_path, compiler, reason, caplog):
    known = results(FCLCalculator(model, CUTOFFS), molecule("CH3OH"))
    monkeypatch.setenv("FCL_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    kernel._say_once.cache_clear()
    with caplog.at_level("INFO", logger="fcl"):
        for _ in range(2):
            calculator = FCLCalculator(model, {key: CUTOFFS[key] for key in ("H", "C", "O")})
            found = results(calculator, molecule("CH3OH"))
            assert calculator.path == "tables"
    assert found[0] == pytest.approx(known[0], abs=2 * ENERGY)
    said = [record.message for record in caplog.records if "evaluated by PyTorch" in record.message]
    assert len(said) == 1 and reason in said[0]


def test_calculators_are_copied_and_pickled(model):
    calculator, atoms = FCLCalculator(model, CUTOFFS), bulk("KCl", "rocksalt", a=6.3)
    known = results(calculator, atoms)
    for other in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        other.reset()
        assert results(other, atoms)[0] == known[0]
        assert other.path == calculator.path


def test_scripted(model, tables):
    """As in exported files, pairs beyond their cutoffs among them."""
    scripted = torch.jit.script(tables)
    rows, pair_index, vectors = inputs(tables)
    numbers = torch.tensor(tables.elements)[rows]
    far = torch.cat([vectors, torch.tensor([[6.95, 0.0, 0.0]])])
    pairs = torch.cat([pair_index, torch.tensor([[0], [1]])], dim=1)
    torch.testing.assert_close(scripted(numbers, pairs, far), tables.energies_of(rows, pair_index, vectors))


# -- networks of long runs -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_networks_of_long_runs_are_compiled(model, monkeypatch, caplog):
    from fcl.models import compile as compilation

    made = []

    class Program(compilation.CompiledEnergies):
        def __init__(self, model):
            made.append(self)
            super().__init__(model, backend="aot_eager")

    monkeypatch.setattr(compilation, "CompiledEnergies", Program)
    monkeypatch.setattr("fcl.models.fixed.COMPILATION", 1e-9)
    atoms = molecule("CH3OH")
    calculator, exact = (FCLCalculator(model, CUTOFFS, radial="network") for _ in range(2))
    exact._fixed._compile = False
    with caplog.at_level("INFO", logger="fcl"):
        for step, path in enumerate(["network", "network, compiled", "network, compiled"]):
            atoms.positions[0] += 0.01
            for mine, theirs in zip(results(calculator, atoms), results(exact, atoms), strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)
            assert calculator.path == path, step
    assert len(made) == 1 and len([one for one in caplog.records if "compiled" in one.message]) == 1
    other = FCLCalculator(model, CUTOFFS, backend="fast")  # whoever names a path gets it
    for _ in range(2):
        other.reset()
        results(other, atoms)
    assert other.path == "network"


def test_a_run_survives_a_failing_compilation(model, monkeypatch, caplog):
    from fcl.models import compile as compilation

    def fail(*_):
        raise RuntimeError("no compiler\nand many lines")

    monkeypatch.setattr(compilation.CompiledEnergies, "__call__", fail)
    monkeypatch.setattr("fcl.models.fixed.COMPILATION", 0.0)
    calculator, atoms = FCLCalculator(model, CUTOFFS, radial="network"), molecule("CH3OH")
    known = results(calculator, atoms)[0]
    for _ in range(3):
        calculator.reset()
        assert results(calculator, atoms)[0] == known
    said = [record.message for record in caplog.records if "goes on without" in record.message]
    assert len(said) == 1 and said[0].endswith("no compiler")
