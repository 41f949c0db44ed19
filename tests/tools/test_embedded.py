"""The embedded data set: its generator, its CP2K adapter and the files that are shipped."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections import Counter

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import molecule
from ase.io import read

from embedded_data.cp2k import (
    BOHR_ANGSTROM,
    HARTREE_EV,
    CP2KError,
    compute,
    executable,
    fragment_box,
    input_text,
    kpoint_grid,
    parse_output,
)
from embedded_data.generate import generate, read_lines, results_file, to_record
from embedded_data.package import PackageError, package, to_frame
from embedded_data.structures import (
    SPLITS,
    SUBSETS,
    Task,
    closest_distance,
    load_settings,
    make_structure,
    parent_order,
    split_of,
    tasks,
)
from project import ROOT

SHIPPED = ROOT / "resources" / "embedded"
COMMON_ELEMENTS = {"H", "C", "N", "O", "S"}
# Recomputed against shipped values: another build of CP2K differs by its FFTs and summation order, not by physics.
ENERGY_TOLERANCE_EV_PER_ATOM = 1e-3
FORCE_TOLERANCE_EV_PER_ANGSTROM = 3e-2


@pytest.fixture(scope="module")
def settings() -> dict:
    return load_settings()


@pytest.fixture(scope="module")
def manifest() -> dict:
    return yaml.safe_load((SHIPPED / "manifest.yaml").read_text())


@pytest.fixture(scope="module")
def frames() -> dict[str, list[Atoms]]:
    def load(split: str) -> list[Atoms]:
        text = gzip.decompress((SHIPPED / f"{split}.xyz.gz").read_bytes()).decode()
        return read(io.StringIO(text), ":", format="extxyz")

    return {split: load(split) for split in SPLITS}


# --- structures -------------------------------------------------------------------------------------------------------


def test_splits_are_eight_to_one_to_one_in_every_subset(settings):
    counts = Counter((t.subset, t.split) for t in tasks(120, settings))
    for subset in SUBSETS:
        assert [counts[subset, split] for split in SPLITS] == [96, 12, 12]


def test_a_bigger_count_continues_the_same_list(settings):
    assert tasks(130, settings)[: 4 * 120] == tasks(120, settings)


def test_partial_data_hold_every_split_and_subset_early(settings):
    assert {(t.subset, t.split) for t in tasks(10, settings)} == {(s, p) for s in SUBSETS for p in SPLITS}


def test_structures_are_deterministic_and_variants_differ(settings):
    for subset in SUBSETS:
        parents = parent_order(subset, settings)
        first, second = Task(subset, 0, parents[0], 0, "train"), Task(subset, 999, parents[0], 1, "train")
        a, b = make_structure(first, settings), make_structure(first, settings)
        assert np.array_equal(a.positions, b.positions) and np.array_equal(a.cell, b.cell)
        assert np.abs(make_structure(second, settings).positions - a.positions).max() > 1e-2
        assert np.abs(make_structure(first, settings, attempt=1).positions - a.positions).max() > 1e-3


def test_every_structure_keeps_its_atoms_apart_and_has_its_periodicity(settings):
    periodicity = {"MC3D": 3, "MC2D": 2, "SHIFTML-molcrys": 3, "SHIFTML-molfrags": 0}
    sizes = []
    for task in tasks(60, settings):
        atoms = make_structure(task, settings)
        sizes.append(len(atoms))
        assert closest_distance(atoms) >= settings["limits"]["min_distance"], task.key
        assert atoms.pbc.sum() == periodicity[task.subset], task.key
        assert (atoms.cell.volume == 0.0) == (task.subset == "SHIFTML-molfrags")
    assert 2 <= min(sizes) and max(sizes) <= 16 and 10 <= np.mean(sizes) <= 20


def test_layers_have_vacuum(settings):
    for task in [t for t in tasks(12, settings) if t.subset == "MC2D"]:
        atoms = make_structure(task, settings)
        assert atoms.cell[2, 2] - np.ptp(atoms.positions[:, 2]) >= 12.0


def test_stretched_parents_reach_long_and_short_bonds(settings):
    factors = []
    for variant in range(2):
        atoms = make_structure(Task("SHIFTML-molfrags", 0, "stretch-CO", variant, "train"), settings)
        factors.append(atoms.get_distance(0, 1) / molecule("CO").get_distance(0, 1))
    assert factors[0] < 1.4 < factors[1] < 2.3


def test_an_unknown_parent_is_an_error_that_names_it(settings):
    with pytest.raises(KeyError, match="MC3D.*unobtainium"):
        split_of("MC3D", "unobtainium", settings)


# --- CP2K input and output --------------------------------------------------------------------------------------------


def test_kpoint_grid_is_odd_dense_enough_and_flat_along_vacuum(settings):
    level = settings["cp2k"]
    cell = [[4.0, 0.0, 0.0], [-3.0, 6.0, 0.0], [0.0, 0.0, 20.0]]
    atoms = Atoms("C", cell=cell, pbc=(True, True, False))
    grid = kpoint_grid(atoms, level)
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    assert grid[2] == 1 and all(k % 2 == 1 for k in grid)
    assert all(k * d >= level["kpoint_length"] > (k - 2) * d for k, d in zip(grid[:2], spacing[:2], strict=True))


def test_input_of_a_periodic_structure(settings):
    atoms = Atoms("CaO", positions=[[0, 0, 0], [2.4, 0, 0]], cell=[4.8, 4.8, 4.8], pbc=True)
    text = input_text(atoms, settings["cp2k"])
    for words in ("MONKHORST-PACK 3 3 3", "PERIODIC XYZ", "PARAMETRIZATION PBESOL", "GTH-PBE-q10", "ADDED_MOS"):
        assert words in text
    assert "UKS" not in text and "PSOLVER" not in text
    assert text.count("&END") == sum(1 for s in text.splitlines() if s.strip().startswith("&") and "&END" not in s)


def test_input_of_a_fragment_and_of_an_atom(settings):
    water = molecule("H2O")
    text = input_text(water, settings["cp2k"])
    assert "PSOLVER MT" in text and "PERIODIC NONE" in text and "KPOINTS" not in text
    assert (fragment_box(water, settings["cp2k"]) >= 2.0 * np.ptp(water.positions, axis=0) + 5.0).all()
    atom = input_text(Atoms("O"), settings["cp2k"], multiplicity=3)
    assert "UKS" in atom and "MULTIPLICITY 3" in atom and "SMEAR" not in atom


def test_an_element_without_pseudopotential_is_named(settings):
    with pytest.raises(KeyError, match="Xe"):
        input_text(Atoms("Xe"), settings["cp2k"])


SNIPPET = """
     1 NoMix/Diag. 0.40E+00    0.7     2.07347204       -17.2854579377 -1.72E+01
  *** SCF run converged in    11 steps ***

 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:              -17.250000000000000

 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
      1      1      O           0.05002649    -0.05778609     0.00339534
      2      2      H          -0.05002649     0.05778609    -0.00339534
 SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000
"""


def test_parser_reads_energy_and_forces_in_ev_and_angstrom():
    result = parse_output(SNIPPET, 2)
    assert result.energy == pytest.approx(-17.25 * HARTREE_EV)
    assert result.forces.shape == (2, 3) and result.scf_steps == 11
    assert result.forces[0, 1] == pytest.approx(-0.05778609 * HARTREE_EV / BOHR_ANGSTROM)


@pytest.mark.parametrize(
    ("text", "atoms", "message"),
    [
        (SNIPPET.replace("converged in    11 steps", "NOT converged"), 2, "did not converge"),
        (SNIPPET.split("ATOMIC")[0], 2, "no energy or no forces"),
        (SNIPPET, 3, "2 force lines for 3 atoms"),
        ("", 1, "no converged"),
    ],
)
def test_parser_refuses_what_is_not_a_result(text, atoms, message):
    with pytest.raises(CP2KError, match=message):
        parse_output(text, atoms)


# --- generation and packaging, with a stand-in for CP2K ---------------------------------------------------------------


@pytest.fixture
def fake_cp2k(monkeypatch):
    """Energies and forces without CP2K; the returned list collects what was asked for."""
    calls: list[Atoms] = []

    def stand_in(atoms, level, **_):
        calls.append(atoms)
        force = 99.0 if "Cl" in atoms.get_chemical_symbols() and len(calls) == 1 else 0.5
        text = SNIPPET.split("\n      1 ")[0] + "\n"
        text += "".join(
            f"      {i}      1      {s}   {0.01 if force < 1 else 1.0:.8f}  0.00000000  0.00000000\n"
            for i, s in enumerate(atoms.get_chemical_symbols(), 1)
        )
        return parse_output(text, len(atoms))

    monkeypatch.setattr("embedded_data.generate.compute", stand_in)
    return calls


def test_generation_resumes_extends_and_packages_reproducibly(tmp_path, settings, fake_cp2k):
    assert generate(tmp_path, 5, 1, settings) == 20
    assert generate(tmp_path, 5, 1, settings) == 0
    earlier = results_file(tmp_path, "MC3D").read_text()
    with open(results_file(tmp_path, "MC3D"), "a") as file:
        file.write('{"key": "MC3D-000')  # a run that was killed while it wrote
    assert generate(tmp_path, 6, 1, settings) == 4
    assert results_file(tmp_path, "MC3D").read_text().startswith(earlier)
    assert len(read_lines(results_file(tmp_path, "MC3D"))) == 6

    with pytest.raises(PackageError, match="atoms.json"):
        package(tmp_path, tmp_path / "out", 6, settings)
    (tmp_path / "atoms.json").write_text(json.dumps(dict.fromkeys(settings["cp2k"]["valence"], -1.0)))
    with pytest.raises(PackageError, match="4 of 28 structures are missing"):
        package(tmp_path, tmp_path / "out", 7, settings)
    package(tmp_path, tmp_path / "out", 6, settings)
    contents = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    package(tmp_path, tmp_path / "out", 6, settings)
    assert contents == {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    partial = package(tmp_path, tmp_path / "out", 7, settings, allow_partial=True)
    assert not partial["complete"] and "Partial" in (tmp_path / "out" / "README.md").read_text()


def test_a_structure_that_fails_is_drawn_again_and_recorded(tmp_path, settings, monkeypatch):
    def never(atoms, level, **_):
        raise CP2KError("the self-consistent field did not converge")

    monkeypatch.setattr("embedded_data.generate.compute", never)
    assert generate(tmp_path, 1, 2, settings) == 0
    failures = read_lines(tmp_path / "failures.jsonl")
    assert len(failures) == 4 * settings["limits"]["attempts"]
    assert generate(tmp_path, 1, 2, settings) == 0
    assert len(read_lines(tmp_path / "failures.jsonl")) == len(failures)


def test_frames_lose_the_isolated_atoms_and_the_net_force():
    task = Task("SHIFTML-molfrags", 7, "CO2", 0, "train")
    atoms = Atoms("CO2", positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    forces = np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    frame = to_frame(to_record(task, atoms, -100.0, forces), {"C": -40.0, "O": -20.0})
    assert frame.get_potential_energy() == pytest.approx(-20.0)
    assert np.allclose(frame.get_forces().sum(axis=0), 0.0)
    assert frame.get_forces()[1, 2] == pytest.approx(0.9)
    with pytest.raises(PackageError, match=r"SHIFTML-molfrags-00007.*\bO\b"):
        to_frame(to_record(task, atoms, -100.0, forces), {"C": -40.0})


# --- the shipped files ------------------------------------------------------------------------------------------------


def test_manifest_matches_the_files(manifest, frames):
    assert manifest["complete"] and manifest["name"] == "embedded" and "not MAD" in manifest["title"]
    total = 0
    for split in SPLITS:
        entry = manifest["splits"][split]
        content = (SHIPPED / entry["file"]).read_bytes()
        total += len(content)
        assert entry["size"] == len(content)
        assert entry["checksum"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert entry["frames"] == len(frames[split]) == sum(entry["subsets"].values())
        assert Counter(f.info["subset"] for f in frames[split]) == entry["subsets"]
    assert total <= 2_000_000


def test_shipped_splits_are_eight_to_one_to_one(manifest):
    for subset in SUBSETS:
        train, val, test = (manifest["splits"][split]["subsets"][subset] for split in SPLITS)
        assert train >= 96 and train == 8 * val == 8 * test


def test_no_parent_crosses_splits(frames):
    homes: dict[str, set[str]] = {}
    for split in SPLITS:
        for frame in frames[split]:
            homes.setdefault(frame.info["parent"], set()).add(split)
            assert frame.info["split"] == split
    assert len(homes) > 100
    assert {parent: splits for parent, splits in homes.items() if len(splits) > 1} == {}


def test_shipped_elements(frames):
    def elements(split, subset):
        return {s for f in frames[split] if f.info["subset"] == subset for s in f.get_chemical_symbols()}

    for subset in SUBSETS:
        for split in SPLITS:
            assert elements(split, subset) >= COMMON_ELEMENTS, (split, subset)
            assert elements(split, subset) <= elements("train", subset), (split, subset)
    assert set().union(*(elements("train", s) for s in SUBSETS)) >= COMMON_ELEMENTS | {"Si", "P", "Cl", "K", "Ca"}


def test_shipped_frames_are_sane(frames):
    every = [frame for split in SPLITS for frame in frames[split]]
    assert 10 <= np.mean([len(f) for f in every]) <= 20
    for frame in every:
        where = frame.info["key"]
        energy = frame.get_potential_energy() / len(frame)
        forces = frame.get_forces()
        assert np.isfinite(forces).all() and forces.shape == (len(frame), 3), where
        assert -9.0 < energy < 1.0, where
        assert np.linalg.norm(forces, axis=1).max() < 21.0, where
        assert np.abs(forces.sum(axis=0)).max() < 1e-4, where
        assert (frame.cell.volume == 0.0) == (frame.info["subset"] == "SHIFTML-molfrags"), where
        expected = {"MC2D": [True, True, False], "SHIFTML-molfrags": [False] * 3}.get(frame.info["subset"], [True] * 3)
        assert frame.pbc.tolist() == expected, where
    rms = np.sqrt(np.mean(np.concatenate([f.get_forces().ravel() for f in every]) ** 2))
    assert 0.3 < rms < 5.0


def test_shipped_geometries_are_those_of_the_generator(frames, settings):
    by_key = {f.info["key"]: f for split in SPLITS for f in frames[split]}
    exact = 0
    for task in tasks(15, settings):
        atoms, frame = make_structure(task, settings), by_key[task.key]
        same_cell = np.allclose(atoms.cell, frame.cell, atol=2e-6)
        exact += same_cell and np.allclose(atoms.positions, frame.positions, atol=2e-6)
    assert exact >= 0.8 * 4 * 15  # the others were drawn again after a failure


@pytest.mark.skipif(
    os.environ.get("FCL_TEST_CP2K") != "1" or executable() is None, reason="needs FCL_TEST_CP2K=1 and cp2k.psmp"
)
@pytest.mark.parametrize("subset", ["MC3D", "SHIFTML-molfrags"])
def test_cp2k_gives_the_shipped_labels_again(frames, settings, subset):
    frame = min((f for f in frames["test"] if f.info["subset"] == subset), key=len)
    energies = json.loads((SHIPPED / "atoms.json").read_text())
    result = compute(frame, settings["cp2k"])
    energy = result.energy - sum(energies[s] for s in frame.get_chemical_symbols())
    forces = result.forces - result.forces.mean(axis=0)
    assert abs(energy - frame.get_potential_energy()) / len(frame) < ENERGY_TOLERANCE_EV_PER_ATOM
    assert np.abs(forces - frame.get_forces()).max() < FORCE_TOLERANCE_EV_PER_ANGSTROM
