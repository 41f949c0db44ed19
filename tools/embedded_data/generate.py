"""Compute the structures with CP2K, one JSON line per result; resumes an interrupted generation."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from ase import Atoms

from embedded_data.cp2k import CP2KError, compute, kpoint_grid
from embedded_data.structures import SUBSETS, Task, make_structure, tasks
from fcl.runs.files import write_json


def results_file(work: Path, subset: str) -> Path:
    """JSONL of the accepted structures of a subset (energies in eV, isolated-atom energies not subtracted)."""
    return work / f"{subset}.jsonl"


def read_lines(path: Path) -> list[dict]:
    """Entries of a JSONL file; an incomplete last line (killed run) is dropped. Empty if there is no file."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: dropped an unfinished line", file=sys.stderr)
    return records


def _append(path: Path, record: dict) -> None:
    # An incomplete line left by a killed run must not be merged with this one.
    unfinished = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with open(path, "a") as file:
        file.write(("\n" if unfinished else "") + json.dumps(record) + "\n")


def to_record(task: Task, atoms: Atoms, energy: float, forces: np.ndarray, **extra: object) -> dict:
    """JSON-serialisable entry of one labelled structure (A, eV, eV/A) with the unmodified CP2K forces."""
    return {
        "key": task.key,
        "subset": task.subset,
        "index": task.index,
        "parent": task.parent,
        "variant": task.variant,
        "split": task.split,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "energy": energy,
        "forces": forces.tolist(),
        **extra,
    }


def solve(task: Task, settings: Mapping, first_attempt: int = 0) -> tuple[dict | None, list[dict]]:
    """Compute one structure, redrawing it after a failure; returns (entry or None, failures)."""
    failures: list[dict] = []
    for attempt in range(first_attempt, settings["limits"]["attempts"]):
        started = time.monotonic()
        try:
            atoms = make_structure(task, settings, attempt)
            result = compute(atoms, settings["cp2k"])
            largest = float(np.linalg.norm(result.forces, axis=1).max())
            if largest > settings["limits"]["max_force"]:
                raise CP2KError(f"largest force is {largest:.1f} eV/A")
        except (CP2KError, ValueError) as error:
            failures.append(
                {
                    "key": task.key,
                    "parent": task.parent,
                    "attempt": attempt,
                    "reason": str(error),
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
            continue
        extra = {
            "attempt": attempt,
            "rattle": atoms.info["rattle"],
            "kpoints": list(kpoint_grid(atoms, settings["cp2k"])),
            "scf_steps": result.scf_steps,
            "seconds": round(result.seconds, 1),
        }
        return to_record(task, atoms, result.energy, result.forces, **extra), failures
    return None, failures


def generate(work: Path, count: int, processes: int, settings: Mapping) -> int:
    """Compute the missing ones of ``count`` structures per subset; returns the number computed now.

    Tasks that failed in all attempts (``limits.attempts``) are not retried.
    """
    work.mkdir(parents=True, exist_ok=True)
    done = {r["key"] for subset in SUBSETS for r in read_lines(results_file(work, subset))}
    tried = Counter(f["key"] for f in read_lines(work / "failures.jsonl"))
    given_up = {key for key, count in tried.items() if count >= settings["limits"]["attempts"]}
    todo = [t for t in tasks(count, settings) if t.key not in done and t.key not in given_up]
    print(
        f"{len(done)} structures done, {len(given_up)} given up, {len(todo)} to do",
        file=sys.stderr,
        flush=True,
    )
    started = time.monotonic()
    finished = 0
    queue = iter(todo)
    with ThreadPoolExecutor(processes) as pool:
        running: set[Future] = set()
        while True:
            while len(running) < processes and (task := next(queue, None)) is not None:
                running.add(pool.submit(solve, task, settings, tried[task.key]))
            if not running:
                return finished
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                record, failures = future.result()
                for failure in failures:
                    _append(work / "failures.jsonl", failure)
                    print(f"  failed: {failure}", file=sys.stderr, flush=True)
                if record is None:
                    continue
                _append(results_file(work, record["subset"]), record)
                finished += 1
                rate = (time.monotonic() - started) / finished
                print(
                    f"{finished}/{len(todo)} {record['key']} {record['parent']} {record['variant']}: "
                    f"{len(record['numbers'])} atoms, {record['seconds']} s, {rate:.1f} s per structure",
                    file=sys.stderr,
                    flush=True,
                )


def isolated_atoms(work: Path, settings: Mapping) -> dict[str, float]:
    """Energies (eV) of the isolated atoms in ``work/atoms.json``, computing those missing in the file."""
    path = work / "atoms.json"
    energies: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    options = settings["atoms"]
    for symbol, multiplicity in options["multiplicity"].items():
        if symbol in energies:
            continue
        level = {**settings["cp2k"], **options["overrides"]}
        if symbol in options["structure_basis"]:
            level |= {name: settings["cp2k"][name] for name in ("basis", "basis_file")}
        result = compute(Atoms(symbol, positions=[[0.0, 0.0, 0.0]]), level, multiplicity=multiplicity)
        energies[symbol] = round(result.energy, 6)
        print(f"atom {symbol}: {result.energy:.6f} eV in {result.seconds:.0f} s", file=sys.stderr, flush=True)
        write_json(path, energies)
    return energies
