"""Labels by an ASE calculator: one file each, none twice; failures are listed and cost their structure only."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from fcl.active.label import atoms_of, compute_label, digest, label_all, make_calculator, plain, read_label
from fcl.config.errors import ConfigError

EMT_BY_NAME = {"module": "ase.calculators.emt", "class": "EMT", "arguments": {}}


def rattled(atoms, seed=0):
    cell = bulk("Cu", cubic=True).repeat((2, 1, 1))[:atoms]
    cell.rattle(0.1, seed=seed)
    return cell


def faulty(tmp_path, **faults):
    arguments = {"calls": "{folder}/calls", "faults": {number.strip("_"): what for number, what in faults.items()}}
    return {"module": "active_examples", "class": "make_faulty", "arguments": arguments}


def labels_of(tmp_path, frames, calculator, **options):
    options = {"seconds": 30.0, "max_force": None, "processes": 1} | options
    structures = [plain(atoms) for atoms in frames]
    return label_all(
        structures, calculator, tmp_path / "labels", scratch=tmp_path / "scratch", folder=tmp_path, **options
    )


def test_a_structure_survives_as_plain_text_and_has_a_name():
    atoms = rattled(4)
    again = atoms_of(plain(atoms))
    assert (again.positions == atoms.positions).all() and (again.cell.array == atoms.cell.array).all()
    assert digest(plain(again)) == digest({**plain(atoms), "role": "train"})
    again.positions[0, 0] += 1e-12
    assert digest(plain(again)) != digest(plain(atoms))


def test_a_label_is_that_of_the_calculator(tmp_path):
    atoms, file = rattled(4), tmp_path / "a.json"
    compute_label(plain(atoms), EMT_BY_NAME, "", None, str(file))
    label = read_label(file)
    atoms.calc = EMT()
    assert label.energy == atoms.get_potential_energy() and (np.array(label.forces) == atoms.get_forces()).all()
    assert label.error is None and label.seconds > 0.0
    found = label.atoms()
    assert found.get_potential_energy() == label.energy and (found.get_forces() == atoms.get_forces()).all()


@pytest.mark.parametrize(
    ("fault", "limit", "said"),
    [("nan", None, "not finite"), (None, 1e-3, "exceeds max_force"), ("raise", None, "no convergence")],
)
def test_what_is_no_label(tmp_path, fault, limit, said):
    calculator = faulty(tmp_path, **({"_3": fault} if fault else {}))
    with pytest.raises((ValueError, RuntimeError), match=said):
        compute_label(plain(rattled(3)), calculator, str(tmp_path), limit, str(tmp_path / "a.json"))
    assert read_label(tmp_path / "a.json") is None


@pytest.mark.heavy
def test_bad_calculators_cost_their_structures_only_and_nothing_is_computed_twice(tmp_path):
    frames = [rattled(number) for number in (1, 2, 3, 4, 5, 6)]
    calculator = faulty(tmp_path, _1="raise", _2="hang", _3="nan", _4="exit", _5="crash")
    labels = labels_of(tmp_path, frames, calculator, seconds=3.0)
    for label, said in zip(
        labels, ("no convergence after", "time limit", "finite", "licence", "SIGABRT"), strict=False
    ):
        assert said in label.error and label.energy is None
    assert labels[5].error is None and labels[5].energy is not None
    calls = (tmp_path / "calls").read_text()
    assert calls.split() == list("123456")
    assert labels_of(tmp_path, frames, calculator) == labels
    assert (tmp_path / "calls").read_text() == calls
    (tmp_path / "labels" / f"{digest(plain(frames[2]))}.json").unlink()
    labels_of(tmp_path, frames, calculator)
    assert (tmp_path / "calls").read_text() == calls + "3\n"


@pytest.mark.heavy
def test_a_calculator_beside_the_settings(tmp_path):
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\nclass Mine(EMT): pass\n")
    (label,) = labels_of(tmp_path, [rattled(2)], {"module": "mine", "class": "Mine", "arguments": {}})
    assert label.error is None


@pytest.mark.parametrize(
    ("module", "name", "arguments", "said"),
    [
        ("ase.calculators.no_such", "EMT", {}, "No module named"),
        ("ase.calculators.emt", "ETM", {}, "has no attribute 'ETM'"),
        ("active_examples", "make_faulty", {"colour": 1}, "calls"),
        ("active_examples", "no_calculator", {}, "makes no ASE calculator"),
        ("ase.calculators.emt", "parameters", {}, "neither a class nor a function"),
    ],
)
def test_a_calculator_that_is_none(module, name, arguments, said):
    with pytest.raises((ImportError, AttributeError, TypeError), match=said):
        make_calculator({"module": module, "class": name, "arguments": arguments}, "")


@pytest.mark.heavy
def test_a_calculator_that_cannot_be_built_stops_before_any_structure(tmp_path):
    with pytest.raises(ConfigError, match="calculator: AttributeError: .*'ETM'"):
        labels_of(tmp_path, [rattled(2)], {**EMT_BY_NAME, "class": "ETM"})
    assert not list((tmp_path / "labels").glob("*"))


def test_a_damaged_label_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"structure": 1')
    with pytest.raises(ValueError, match=r"a\.json: is not a label .* delete it"):
        read_label(tmp_path / "a.json")
