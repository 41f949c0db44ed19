"""Measured time and memory of energies and forces: the cost axis of Fig. 5 in seconds and bytes.

The batches are structures of the test split, as many as make up a given number of atoms: they have the pairs per atom
of Fig. 5, and to the model a batch is what one large structure is, atoms and pairs. Pairs are selected before the clock
starts, since whoever computes step after step keeps neighbour lists. What comes out is a property of the machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fcl.cutoff_choice import read_cutoffs
from fcl.data.batch import GraphData
from fcl.evaluation import cutoff_rule
from fcl.files import write_csv
from fcl.manifest import device_name, processor_name
from fcl.measurement import interleaved, peak_memory_mb
from fcl.progress import say
from fcl.stage_tools import compute, record

COLUMNS = (
    "subset", "configuration", "cutoff_angstrom", "lambda", "seed", "structures", "atoms", "pairs_per_atom",
    "microseconds_per_atom", "median_microseconds_per_atom", "peak_memory_kb_per_atom", "repeats", "threads", "device",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Cutoffs (A) to measure on a subset: uniform, or by chemical symbol as optimised at ``lam``."""

    subset: str
    cutoffs: float | Mapping[str, float]
    lam: float | None = None


def structures_for(data: GraphData, members: torch.Tensor, atoms: int, seed: int = 0) -> torch.Tensor:
    """Indices of structures with ``atoms`` atoms in all, at least: some of ``members``, drawn at random.

    Where all of them together have fewer, all are taken as many times as it takes.
    """
    members = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
    counts = data.atom_counts.index_select(0, members).cumsum(0)
    if counts[-1] < atoms:
        return members.repeat(math.ceil(atoms / int(counts[-1])))
    return members[: int((counts < atoms).sum()) + 1]


def measure(model, data: GraphData, cases: Sequence[Case], atoms: int, repeats: int) -> list[dict]:
    """One row a case: structures, atoms, pairs per atom (all directed pairs / all atoms), time and peak memory.

    Cases take turns in ``repeats`` rounds, so that a slow moment of the machine hits all; the fastest round counts.
    Memory is what a call needs beyond model and batch, in kB per atom (empty where it cannot be measured).
    """
    programs, rows = {}, []
    for number, case in enumerate(cases):
        uniform = not isinstance(case.cutoffs, Mapping)
        batch = data.batch(structures_for(data, data.members(case.subset), atoms))
        cutoffs = cutoff_rule(case.cutoffs, data.dtype, data.device)(batch)
        batch = data.select_pairs(batch, cutoffs, model.mixing)
        programs[number] = lambda batch=batch, cutoffs=cutoffs: model(batch, cutoffs)
        rows.append(
            {
                "subset": case.subset,
                "configuration": "uniform" if uniform else "optimised",
                "cutoff_angstrom": case.cutoffs if uniform else "",
                "lambda": "" if case.lam is None else case.lam,
                "structures": batch.n_structures,
                "atoms": batch.n_atoms,
                "pairs_per_atom": 2.0 * batch.pair_index.shape[1] / batch.n_atoms,
            }
        )
    seconds = interleaved(programs, repeats)
    for number, row in enumerate(rows):
        memory = peak_memory_mb(programs[number], gpu=data.device.type == "cuda")
        row["microseconds_per_atom"] = 1e6 * seconds[number]["min_s"] / row["atoms"]
        row["median_microseconds_per_atom"] = 1e6 * seconds[number]["median_s"] / row["atoms"]
        row["peak_memory_kb_per_atom"] = "" if memory is None else 1e3 * memory / row["atoms"]
    return rows


def measure_wall_clock(study, test: Path, model: Path, cutoffs: Sequence[Path], output: Path, manifest: Path) -> None:
    """Stage: the uniform cutoffs of the study and its optimised ones (cutoffs files), subset by subset."""
    from fcl.data.store import read_store
    from fcl.model.files import load

    started = time.time()
    dtype, device = compute(study)
    data = GraphData(read_store(test), dtype, device)
    potential = load(model, dtype=dtype, device=device, backend=study.compute.backend)
    settings = study.wall_clock
    cases = [Case(subset, cutoff) for subset in study.calibration.subsets for cutoff in settings.uniform_cutoffs]
    for file in map(read_cutoffs, cutoffs):
        facts = file.provenance.model_dump()
        cases.append(Case(facts["subset"], file.cutoffs, facts["lambda"]))
    rows = measure(potential, data, cases, settings.atoms, settings.repeats)
    where = device_name() if device.type == "cuda" else processor_name()
    seed = potential.card.get("seed")
    common = {"seed": seed, "repeats": settings.repeats, "threads": torch.get_num_threads(), "device": where}
    write_csv(output, [row | common for row in rows], COLUMNS)
    inputs = {"test": test, "model": model, **{path.stem: path for path in cutoffs}}
    extra = {"threads": torch.get_num_threads(), "device": where, "backend": potential.backend}
    record(
        manifest, "measure_wall_clock", study, ("calibration", "wall_clock"), inputs, started, seed=seed, extra=extra
    )
    say(f"{output}: {len(cases)} sets of cutoffs, {time.time() - started:.0f} s")
