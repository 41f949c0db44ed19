"""Write the packaged data set: three compressed extxyz files, a manifest and a data card.

The output is a pure function of the results and the settings: packaging twice gives identical bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.io import write

from embedded_data.card import data_card
from embedded_data.generate import read_lines, results_file
from embedded_data.shipped import FILE as RESULTS
from embedded_data.shipped import pack_results
from embedded_data.structures import SPLITS, SUBSETS, tasks
from fcl.runs.files import atomic_path

TITLE = "embedded data set (CP2K PBEsol, GTH pseudopotentials; not MAD)"
SIZE_LIMIT = 2_000_000


class PackageError(ValueError):
    """The results cannot be packaged."""


def to_frame(record: Mapping, atom_energies: Mapping[str, float]) -> Atoms:
    """Frame with ``energy`` (eV, isolated atoms removed) and ``forces`` (eV/A, net force removed).

    Raises PackageError when the isolated-atom energy of an element is missing.
    """
    symbols = [chemical_symbols[z] for z in record["numbers"]]
    missing = sorted(set(symbols) - set(atom_energies))
    if missing:
        raise PackageError(f"{record['key']}: no isolated-atom energy of {', '.join(missing)}")
    forces = np.array(record["forces"])
    # The real-space grid slightly breaks translational invariance; no potential can fit the resulting net force.
    forces = np.round(forces - forces.mean(axis=0), 6) + 0.0
    energy = record["energy"] - sum(atom_energies[s] for s in symbols)
    atoms = Atoms(symbols, positions=record["positions"], cell=record["cell"], pbc=record["pbc"])
    atoms.calc = SinglePointCalculator(atoms, energy=round(energy, 6), forces=forces)
    parent = f"{record['subset']}/{record['parent']}"
    atoms.info.update(subset=record["subset"], split=record["split"], parent=parent, key=record["key"])
    return atoms


def collect(work: Path, count: int, settings: Mapping, allow_partial: bool) -> list[dict]:
    """Records of the first ``count`` tasks of every subset, in task order.

    Raises PackageError naming missing structures, unless ``allow_partial``, and always if a result belongs to another
    parent or split than in the settings.
    """
    records = {r["key"]: r for subset in SUBSETS for r in read_lines(results_file(work, subset))}
    chosen, missing = [], []
    for task in tasks(count, settings):
        record = records.get(task.key)
        if record is None:
            missing.append(task.key)
            continue
        if (record["parent"], record["split"]) != (task.parent, task.split):
            raise PackageError(f"{task.key}: computed as {record['parent']} ({record['split']}), now {task.parent}")
        chosen.append(record)
    if missing and not allow_partial:
        raise PackageError(
            f"{len(missing)} of {4 * count} structures are missing (first: {', '.join(missing[:5])}); "
            "run 'generate', or pass --allow-partial"
        )
    return chosen


def compress(frames: list[Atoms]) -> bytes:
    """Frames as gzip-compressed extxyz, byte for byte reproducible (no time stamp, no file name)."""
    text = io.StringIO()
    write(text, frames, format="extxyz")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        file.write(text.getvalue().encode())
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def package(work: Path, output: Path, count: int, settings: Mapping, *, allow_partial: bool = False) -> dict:
    """Write ``{train,val,test}.xyz.gz``, ``results.json.gz``, ``atoms.json``, ``manifest.yaml`` and ``README.md``.

    Returns the manifest. Raises PackageError for missing structures or elements, or files above the size limit.
    """
    records = collect(work, count, settings, allow_partial)
    energies_path = work / "atoms.json"
    if not energies_path.exists():
        raise PackageError(f"{energies_path} is missing; run 'python tools/embedded_data atoms --work {work}'")
    atom_energies = json.loads(energies_path.read_text())
    frames = [to_frame(record, atom_energies) for record in records]
    output.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split in SPLITS:
        mine = [f for f in frames if f.info["split"] == split]
        content = compress(mine)
        name = f"{split}.xyz.gz"
        _write(output / name, content)
        subsets = Counter(f.info["subset"] for f in mine)
        splits[split] = {
            "file": name,
            "frames": len(mine),
            "size": len(content),
            "checksum": "sha256:" + hashlib.sha256(content).hexdigest(),
            "subsets": {s: subsets[s] for s in SUBSETS},
        }
    failures = read_lines(work / "failures.jsonl")
    results = pack_results(records, failures, atom_energies)
    total = sum(s["size"] for s in splits.values()) + len(results)
    if total > SIZE_LIMIT:
        raise PackageError(f"the compressed files take {total} bytes, more than {SIZE_LIMIT}")
    manifest = {
        "name": "embedded",
        "title": TITLE,
        "version": str(settings["version"]),
        "record": None,
        "licence": "MIT",
        "citation": "This repository; computed with CP2K (T. D. Kuehne et al., J. Chem. Phys. 152, 194103 (2020)).",
        "complete": len(records) == 4 * count,
        "keys": {"parent": "parent"},
        "splits": splits,
    }
    _write(output / "atoms.json", (json.dumps(atom_energies, indent=2) + "\n").encode())
    _write(output / RESULTS, results)
    card = data_card(frames, records, failures, atom_energies, settings, manifest)
    _write(output / "README.md", card.encode())
    _write(output / "manifest.yaml", yaml.safe_dump(manifest, sort_keys=False, width=110).encode())
    return manifest
