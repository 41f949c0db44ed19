"""A process in which the command ``fcl`` runs several times, then the Python API; what came out goes to a JSON file.

    python session.py COMMANDS RESULT

COMMANDS is a JSON file with command lines, each a list of arguments of ``fcl``. They run one after the other in this
process, by the console script itself where there is one: starting a process for each would cost three seconds a time.
Nothing of ``fcl`` is imported here but the package.
"""

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("fcl")
#: Cutoffs (A) by symbol of every element in structures.xyz.
CUTOFFS = {"H": 4.2, "C": 4.9, "N": 5.3, "O": 5.1, "S": 6.4, "Ca": 6.7}


def command(arguments):
    """Exit code and output of ``fcl ARGUMENTS``."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = [str(SCRIPT), *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if SCRIPT.is_file():
                runpy.run_path(str(SCRIPT), run_name="__main__")
            else:
                runpy.run_module("fcl.cli", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def frames():
    from ase.io import read

    return read("structures.xyz", ":")


def results_of(calculator, atoms):
    """All that the calculator gives for a structure, as plain lists."""
    atoms = atoms.copy()
    atoms.calc = calculator
    found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    found["energies"] = atoms.get_potential_energies().tolist()
    if atoms.cell.rank == 3:
        found["stress"] = atoms.get_stress().tolist()
    return {**found, "pairs_per_atom": calculator.pairs_per_atom}


def error_of(function, *arguments, **options):
    """Kind and message of the error that a call raises."""
    try:
        function(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def calculators():
    """`fcl.FCLCalculator` at every kind of cutoffs, its properties, and what it refuses."""
    import fcl

    model = fcl.load("embedded")
    crystal, layer, *_, molecule = frames()
    found = {"weights_sha256": model.card["weights_sha256"], "names": callable(fcl.calibrate)}
    found["uniform"] = [results_of(fcl.FCLCalculator("embedded", cutoff), crystal) for cutoff in (3.5, 5.5)]
    found["default"] = results_of(fcl.FCLCalculator(model), layer)["energy"]
    found["by element"] = [results_of(fcl.FCLCalculator(model, CUTOFFS), atoms) for atoms in frames()]
    by_atom = [3.6 + 0.3 * number for number in range(len(molecule))]
    found["by atom"] = results_of(fcl.FCLCalculator(model, by_atom), molecule)
    found["file"] = results_of(fcl.FCLCalculator(model, "calibrated.json"), molecule)
    found["mini"] = results_of(fcl.FCLCalculator("mini", CUTOFFS), crystal)["energy"]

    calculator = fcl.FCLCalculator(model, 6.0, skin=0.6)
    moving, energies = crystal.copy(), []
    moving.calc = calculator
    for _ in range(6):  # one list of pairs for the first steps, another one after
        moving.positions[0, 0] += 0.1
        energies.append(moving.get_potential_energy())
    found["moving"] = {"energies": energies, "neighbour lists": calculator.rebuilds}
    calculator.cutoffs = CUTOFFS
    found["changed cutoffs"] = moving.get_potential_energy()
    single = fcl.FCLCalculator("embedded", CUTOFFS, dtype="float32")
    found["float32"] = [results_of(single, atoms)["energy"] for atoms in frames()]
    found["errors"] = [
        error_of(fcl.load, "no such model"),
        error_of(fcl.FCLCalculator, model, 7.5),
        error_of(results_of, fcl.FCLCalculator(model, {"H": 4.0}), crystal),
        error_of(results_of, fcl.FCLCalculator(model, [5.0, 5.0]), crystal),
    ]
    return found


def exported():
    """Energies and forces of exported files in metatomic's calculator beside `fcl.FCLCalculator`'s; None without it."""
    try:
        from metatomic_ase import MetatomicCalculator
    except ImportError:
        return None
    import fcl

    pairs = []
    for file, cutoffs in (("exported.pt", CUTOFFS), ("uniform.pt", 5.5)):
        engine, own = MetatomicCalculator(file, device="cpu"), fcl.FCLCalculator("embedded", cutoffs)
        for atoms in frames():
            theirs = atoms.copy()
            theirs.calc = engine
            ours = results_of(own, atoms)
            pairs.append(
                {
                    "engine": {"energy": theirs.get_potential_energy(), "forces": theirs.get_forces().tolist()},
                    "fcl": {key: ours[key] for key in ("energy", "forces")},
                }
            )
    return pairs


def main(commands, result):
    import fcl

    found = {"library": fcl.__file__, "commands": [command(line) for line in json.loads(Path(commands).read_text())]}
    found["calculators"], found["exported"] = calculators(), exported()
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
