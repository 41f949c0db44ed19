"""Structures written by commands: formats by suffix, constraints, absurd runs, cutoffs that lack an element."""

import gzip
import json

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read, write

from commands import copy_model, run
from fcl.cli.structures import SUFFIXES

pytestmark = pytest.mark.heavy

COMMANDS = {"predict": (), "relax": ("--fmax", "0.5"), "md": ("--steps", "3", "--interval", "2", "--timestep", "0.1")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, crystals, trained_model):
    folder = tmp_path_factory.mktemp("structures")
    copy_model(trained_model, folder)
    crystal = next(a for a in read(crystals, ":", format="extxyz") if "molcrys" in a.info["subset"])
    crystal.calc = None
    crystal.info["note"] = "two words"
    crystal.rattle(0.02, seed=1)
    write(folder / "crystal.xyz", crystal)
    crystal.set_constraint(FixAtoms(range(3)))
    write(folder / "held.xyz", crystal)
    crystal.set_constraint(FixAtoms(range(len(crystal))))
    write(folder / "fixed.xyz", crystal)
    write(folder / "two.xyz", [Atoms("HO", [[0, 0, 0], [1, 0, 0]]), Atoms("HS", [[0, 0, 0], [1.3, 0, 0]])])
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_suffix_is_the_format_and_nothing_is_lost(command, suffix, folder):
    name = f"{command}-all{suffix}"
    done = run(command, "small.safetensors", "held.xyz", "-o", name, *COMMANDS[command])
    assert done.exit_code == 0, done.output
    start = (folder / name).read_bytes()[:4]
    assert start.startswith(b"\x1f\x8b" if suffix.endswith(".gz") else b"- of" if suffix == ".traj" else b"12\n")
    last, model = read(name, -1, format="traj" if suffix == ".traj" else "extxyz"), read("held.xyz")
    assert last.info["note"] == "two words" and last.info["subset"] == model.info["subset"]
    assert {"energy", "forces", "stress"} <= last.calc.results.keys()
    assert last.constraints[0].index.tolist() == [0, 1, 2] and last.pbc.all()
    from fcl import FCLCalculator

    last.calc, written = FCLCalculator("small.safetensors"), last.calc.results
    assert last.get_potential_energy() == pytest.approx(written["energy"], abs=1e-6)
    np.testing.assert_allclose(last.get_forces(apply_constraint=False), written["forces"], atol=1e-5)
    assert command != "md" or last.get_momenta().any()


@pytest.mark.parametrize("name", ["out", "out.db", "out.json", "out.cif", "POSCAR", "out.traj.gz", "out.xyz.bz2"])
@pytest.mark.parametrize("command", COMMANDS)
def test_another_suffix_is_refused_before_anything_is_computed(command, name, folder):
    done = run(command, "none.safetensors", "none.xyz", "-o", name)
    assert done.exit_code == 1 and f"error: {name}: the suffix is the format" in done.stderr
    assert ".xyz, .extxyz, .xyz.gz, .extxyz.gz, .traj" in done.stderr and not (folder / name).exists()


def test_what_a_trajectory_does_not_keep_is_named(folder):
    atoms = read("crystal.xyz")
    atoms.set_array("site", np.arange(len(atoms)))
    write("sites.xyz", atoms)
    done = run("predict", "small.safetensors", "sites.xyz", "-o", "sites.traj")
    assert done.exit_code == 0 and "warning: sites.traj: .traj does not keep site" in done.stderr


def test_reported_forces_are_those_of_the_file():
    """Constraints move no force in the file; a relaxation reports both."""
    done = run("predict", "small.safetensors", "fixed.xyz", "-o", "forces.xyz", "--json")
    (row,) = json.loads(done.stdout)["frames"]
    largest = np.linalg.norm(read("forces.xyz").calc.results["forces"], axis=1).max()
    assert row["max_force_ev_per_angstrom"] == pytest.approx(largest, abs=1e-6) and largest > 0.01
    done = run("relax", "small.safetensors", "held.xyz", "-o", "held-relaxed.xyz", "--json")
    facts, forces = json.loads(done.stdout), read("held-relaxed.xyz").calc.results["forces"]
    assert facts["max_force_ev_per_angstrom"] == pytest.approx(np.linalg.norm(forces[3:], axis=1).max(), abs=1e-6)
    whole = facts["max_force_without_constraints_ev_per_angstrom"]
    assert whole == pytest.approx(np.linalg.norm(forces, axis=1).max(), abs=1e-6) and whole > 0.01


@pytest.mark.parametrize("suffix", [".xyz", ".xyz.gz", ".traj"])
@pytest.mark.parametrize("options", [("--timestep", "50"), ("--timestep", "50", "--nvt"), ("--timestep", "8")])
def test_a_run_beyond_physics_ends_and_keeps_its_frames(options, suffix, folder):
    name = f"absurd{suffix}"
    arguments = ("crystal.xyz", "-o", name, "--overwrite", "--steps", "100", "--interval", "1", *options)
    done = run("md", "small.safetensors", *arguments)
    assert done.exit_code == 1 and not done.stdout, done.stdout
    frames = read(name, ":", format="traj" if suffix == ".traj" else "extxyz")
    assert f"; is the time step too long? ({name} keeps the {len(frames)} frames before)" in done.stderr
    assert "error: crystal.xyz: frame 0: the t" in done.stderr and 1 <= len(frames) < 100
    assert all(np.isfinite(atoms.positions).all() for atoms in frames)


def test_atoms_that_cannot_move_are_an_error_before_the_start(folder):
    done = run("md", "small.safetensors", "fixed.xyz", "-o", "never.xyz")
    assert done.exit_code == 1 and "fixed.xyz: frame 0: all atoms are fixed" in done.stderr
    done = run("md", "small.safetensors", "crystal.xyz", "-o", "never.xyz", "--temperature", "1e6")
    assert done.exit_code == 1 and "a temperature of 1e+06 K is not between 0 and 100000 K" in done.stderr
    assert not (folder / "never.xyz").exists()


def test_a_start_beyond_physics_leaves_no_file(folder):
    """Velocities drawn at the limit are above it for about every second seed."""
    for seed in range(20):
        arguments = ("--temperature", "1e5", "--seed", str(seed), "--steps", "1")
        done = run("md", "small.safetensors", "crystal.xyz", "-o", "hot.xyz", *arguments, "--overwrite")
        if "at the start" in done.stderr:
            break
    assert done.exit_code == 1 and done.stderr.strip().endswith("K at the start")
    (folder / "hot.xyz").unlink(missing_ok=True)
    run("md", "small.safetensors", "crystal.xyz", "-o", "hot.xyz", *arguments)
    assert not (folder / "hot.xyz").exists()


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan])
def test_a_mass_that_is_none(folder, mass):
    atoms = read("crystal.xyz")
    atoms.set_masses([1.0, mass, *[1.0] * (len(atoms) - 2)])
    atoms.arrays["masses"][1] = mass
    write("mass.traj", atoms)
    done = run("md", "small.safetensors", "mass.traj", "-o", "mass.xyz")
    assert done.exit_code == 1 and f"mass.traj: frame 0: masses: atom 1 has a mass of {mass:g} u" in done.stderr
    assert not (folder / "mass.xyz").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "code", "message"),
    [
        ("md", ("--repeat", "1000000", "1000000", "1000000"), 1, "crystal.xyz: frame 0: a supercell of "),
        ("md", ("--friction", "0.5"), 2, "is for the thermostat: add --nvt"),
        ("md", ("--friction", "0", "--nvt"), 2, "has to be positive"),
        ("relax", ("--fmax", "0"), 2, "has to be positive"),
        ("predict", ("--cutoffs", "0_6"), 1, "0_6: no such cutoffs file"),
        ("predict", ("--cutoffs", "H=0_6"), 2, "'H=0_6' is not of the form"),
    ],
)
def test_options_that_mean_nothing(command, arguments, code, message, folder):
    done = run(command, "small.safetensors", "crystal.xyz", "-o", "never.xyz", *arguments)
    assert done.exit_code == code and message in done.stderr, done.output
    assert not (folder / "never.xyz").exists()


def test_the_last_state_is_written_once():
    for steps, times in ((25, [0, 10, 20, 25]), (20, [0, 10, 20]), (1, [0, 1])):
        arguments = ("--steps", str(steps), "--interval", "10", "--timestep", "0.1", "--overwrite", "--json")
        facts = json.loads(run("md", "small.safetensors", "crystal.xyz", "-o", "last.xyz", *arguments).stdout)
        frames = read("last.xyz", ":")
        assert facts["frames"] == len(frames) == len(times)
        assert not np.allclose(frames[-1].positions, frames[-2].positions, atol=1e-6)


@pytest.mark.parametrize("command", [*COMMANDS, "evaluate"])
def test_an_element_without_a_cutoff_is_named_with_its_frame(command, folder):
    data = "two.xyz"
    if command == "evaluate":
        data = "two-labelled.xyz"
        text = "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0\nH 0 0 0 0 0 0\n{} 1.2 0 0 0 0 0\n"
        (folder / data).write_text(text.format("O") + text.format("S"))
    output = () if command == "evaluate" else ("-o", "lacking.xyz")
    done = run(command, "small.safetensors", data, *output, "--cutoffs", "H=4,O=4")
    assert done.exit_code == 1 and done.stderr == f"error: {data}: frame 1: cutoffs: no cutoff is given for S\n"
    assert not (folder / "lacking.xyz").exists()


def test_an_interrupted_compressed_run_is_readable(folder):
    """Each frame is flushed, so a killed run loses none of them."""
    from fcl.cli.structures import structure_writer

    atoms = read("crystal.xyz")
    from fcl import FCLCalculator

    atoms.calc = FCLCalculator("small.safetensors")
    atoms.get_forces()
    with structure_writer(folder / "open.xyz.gz") as append:
        append(atoms)
        append(atoms)
        with gzip.open(folder / "open.xyz.gz", "rt") as stream:
            lines = [stream.readline() for _ in range(2 * (len(atoms) + 2))]
    assert lines[len(atoms) + 2] == f"{len(atoms)}\n" and lines[-1].count(" ")
