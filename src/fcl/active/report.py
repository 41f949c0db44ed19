"""What active learning reports: labels and failures, what they cost, and which uncertainty foretold the errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcl.runs.files import write_csv, write_json

logger = logging.getLogger(__name__)

LABELS = ("round", "rung", "role", "atoms", "formula", "status", "seconds", "score", "digest")
FAILED = ("round", "rung", "atoms", "formula", "seconds", "error", "file")
#: Cells that the cost is compared with: atoms of a common supercell in training sets for metals.
LARGE_CELL = 54


def rows(rounds: Sequence, labels: Callable) -> list[dict[str, Any]]:
    """One row per label, in the order of the rounds."""
    from fcl.active.label import atoms_of, digest

    return [
        {
            "round": found.number, "rung": found.rung, "role": structure["role"],
            "atoms": len(structure["numbers"]), "formula": atoms_of(structure).get_chemical_formula(),
            "status": "failed" if label.error else "labelled", "seconds": label.seconds,
            "score": structure.get("score"), "digest": digest(structure), "error": label.error,
        }
        for found in rounds for structure, label in labels(found)
    ]  # fmt: skip


def failures(output: Path, rounds: Sequence, labels: Callable) -> None:
    """Write ``failed.csv``: the labels that failed, and why; delete such a file to have the label computed again."""
    failed = [row for row in rows(rounds, labels) if row["error"]]
    for row in failed:
        row["file"] = f"labels/{row['digest']}.json"
    write_csv(output / "failed.csv", [{key: row[key] for key in FAILED} for row in failed], FAILED)


def write_reports(output: Path, rounds: Sequence, labels: Callable, ended: str) -> dict[str, Any]:
    """Write ``labels.csv``, ``failed.csv`` and ``summary.json``; returns the latter.

    Costs: measured seconds of all labels, and the sum of n^3 over them, as DFT would scale, in units of one cell of
    `LARGE_CELL` atoms.
    """
    table = rows(rounds, labels)
    write_csv(output / "labels.csv", [{key: row[key] for key in LABELS} for row in table], LABELS)
    failures(output, rounds, labels)
    cubes = sum(row["atoms"] ** 3 for row in table)
    summary = {
        "ended": ended,
        "rounds": len(rounds) - 1,
        "training": sum(row["role"] == "train" and not row["error"] for row in table),
        "validation": sum(row["role"] == "val" and not row["error"] for row in table),
        "failed": sum(bool(row["error"]) for row in table),
        "label_seconds": float(sum(row["seconds"] for row in table)),
        "label_atoms_cubed": cubes,
        f"label_cost_in_cells_of_{LARGE_CELL}_atoms": cubes / LARGE_CELL**3,
        "model": str(output / "model.safetensors"),
    }
    if judged := _judged(output):
        summary["uncertainty"] = judged
    write_json(output / "summary.json", summary)
    return summary


def judge_round(path: Path, measures: Mapping[str, Callable], forces: Callable, labelled: Sequence) -> None:
    """Write the uncertainties of newly ``labelled`` structures (role, ASE atoms with labels) beside the true errors.

    ``forces``: those of the model that selected them (eV/A), a function of atoms. The error of a structure is the
    largest of its atoms.
    """
    found = []
    for role, atoms in labelled:
        bare = atoms.copy()
        error = np.linalg.norm(forces(bare) - atoms.get_forces(), axis=1)
        scores = {name: measure(bare) for name, measure in measures.items()}
        found.append({"role": role, "atoms": len(atoms), "error": float(error.max()), **scores})
    write_csv(path, found, ("role", "atoms", "error", *measures))


def _judged(output: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Of each measure of uncertainty, how well it told the errors of all structures labelled in the rounds.

    ``all``: those selected and those drawn at random; ``val``: the latter only, which no selection biases.
    """
    import pandas

    from fcl.active.uncertainty import judged

    files = sorted((output / "rounds").glob("*.uncertainty.csv"))
    if not files:
        return {}
    table = pandas.concat([pandas.read_csv(file) for file in files])
    found = {}
    for name in table.columns.drop(["role", "atoms", "error"]):
        groups = {"all": table, "val": table[table["role"] == "val"]}
        found[name] = {key: judged(part[name].to_numpy(), part["error"].to_numpy()) for key, part in groups.items()}
    return found
