"""The generator's command line, and the call of the CP2K program, with a stand-in for the program."""

import json
import stat

import numpy as np
import pytest
from ase import Atoms

from embedded_data import __main__ as command_line
from embedded_data.cp2k import BOHR_ANGSTROM, HARTREE_EV, CP2KError, compute, executable
from embedded_data.generate import isolated_atoms, read_lines, results_file
from embedded_data.shipped import FILE, pack_results
from embedded_data.structures import SUBSETS, load_settings

#: Answers like CP2K: forces of 0.01 a.u. on each atom of the input, an energy of -1.5 a.u.
PROGRAM = """#!/bin/sh
test "$OMP_NUM_THREADS" = 1 || exit 3
grep -q "RUN_TYPE ENERGY_FORCE" "$2" || exit 4
echo "  *** SCF run converged in     7 steps ***"
echo " ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:               -1.500000000000000"
echo " ATOMIC FORCES in [a.u.]"
awk '/&COORD/ {on = 1; next}
     /&END COORD/ {on = 0}
     on && NF >= 4 {n++; print "  " n "  1  " $1 "  0.010000  0.000000  -0.020000"}' "$2"
echo " SUM OF ATOMIC FORCES  0.0 0.0 0.0"
"""


@pytest.fixture
def settings():
    return load_settings()


def install(folder, text, monkeypatch):
    """Make ``text`` the program that `$CP2K` names."""
    program = folder / "cp2k.sh"
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CP2K", str(program))
    return program


def test_one_structure(tmp_path, monkeypatch, settings):
    program = install(tmp_path, PROGRAM, monkeypatch)
    assert executable() == str(program)
    atoms = Atoms("CO", positions=[[0.0, 0.0, 0.0], [0.0, 0.0, 1.13]])
    result = compute(atoms, settings["cp2k"], keep=tmp_path / "kept")
    assert result.energy == pytest.approx(-1.5 * HARTREE_EV) and result.scf_steps == 7 and result.seconds > 0
    unit = HARTREE_EV / BOHR_ANGSTROM
    np.testing.assert_allclose(result.forces, [[0.01 * unit, 0.0, -0.02 * unit]] * 2)
    assert {"frame.inp", "frame.out"} <= {path.name for path in (tmp_path / "kept").iterdir()}


def test_no_program(monkeypatch, settings):
    monkeypatch.delenv("CP2K", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CP2KError, match="not on the PATH"):
        compute(Atoms("H"), settings["cp2k"], multiplicity=2)


def test_a_program_that_takes_too_long_or_says_nothing(tmp_path, monkeypatch, settings):
    install(tmp_path, "#!/bin/sh\nexec sleep 30\n", monkeypatch)
    with pytest.raises(CP2KError, match=r"timed out after 0\.2 s"):
        compute(Atoms("H"), {**settings["cp2k"], "timeout_seconds": 0.2}, multiplicity=2)
    install(tmp_path, "#!/bin/sh\nexit 1\n", monkeypatch)
    with pytest.raises(CP2KError, match="no converged"):
        compute(Atoms("H"), settings["cp2k"], multiplicity=2)


def test_isolated_atoms_are_computed_once(tmp_path, monkeypatch, settings):
    install(tmp_path, PROGRAM, monkeypatch)
    (tmp_path / "atoms.json").write_text(json.dumps({"H": -13.0}))
    energies = isolated_atoms(tmp_path, settings)
    assert set(energies) == set(settings["atoms"]["multiplicity"])
    assert energies["H"] == -13.0 and energies["Ca"] == pytest.approx(-1.5 * HARTREE_EV, abs=1e-6)
    assert json.loads((tmp_path / "atoms.json").read_text()) == energies


def test_generate_and_package_by_the_command_line(tmp_path, monkeypatch, capsys):
    """From nothing to the splits: what was shipped is taken over first, then one structure a subset is computed."""
    install(tmp_path, PROGRAM, monkeypatch)
    work, shipped = tmp_path / "work", tmp_path / "shipped"
    shipped.mkdir()
    (shipped / FILE).write_bytes(pack_results([], [], {}))
    arguments = ["--work", str(work), "--count", "1"]
    assert command_line.main(["generate", *arguments, "--processes", "1", "--resume-from", str(shipped)]) == 0
    assert "0 structures taken over" in capsys.readouterr().err
    assert [len(read_lines(results_file(work, subset))) for subset in SUBSETS] == [1, 1, 1, 1]
    assert command_line.main(["atoms", "--work", str(work)]) == 0
    assert set(json.loads((work / "atoms.json").read_text())) == set(load_settings()["atoms"]["multiplicity"])
    capsys.readouterr()
    assert command_line.main(["package", *arguments, "--output", str(tmp_path / "out"), "--allow-partial"]) == 0
    assert "train: 4 frames" in capsys.readouterr().out


def test_an_error_is_one_line_and_a_status(tmp_path, monkeypatch, capsys):
    arguments = ["package", "--work", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]
    assert command_line.main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        command_line.main(["package"])
