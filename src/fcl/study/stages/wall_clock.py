"""Stage: measured time and memory of energies and forces, i.e. the cost axis of Fig. 5 in seconds and bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from fcl.cutoffs.file import read_cutoffs
from fcl.evaluation.timing import Case, measure
from fcl.runs.files import write_csv
from fcl.runs.manifest import device_name, processor_name
from fcl.study.stages.job import graph_data, loaded_model

logger = logging.getLogger(__name__)

COLUMNS = (
    "subset", "configuration", "cutoff_angstrom", "lambda", "seed", "structures", "atoms", "pairs_per_atom",
    "microseconds_per_atom", "median_microseconds_per_atom", "peak_memory_kb_per_atom", "repeats", "threads", "device",
)  # fmt: skip


def measure_wall_clock(study, test: Path, model: Path, cutoffs: Sequence[Path], measured: Path) -> dict:
    """Stage: measure uniform and optimised cutoffs (cutoffs files) of the study, per subset."""
    started, settings = time.time(), study.wall_clock
    data, potential = graph_data(study, test), loaded_model(study, model)
    cases = [Case(subset, cutoff) for subset in study.calibration.subsets for cutoff in settings.uniform_cutoffs]
    for file in map(read_cutoffs, cutoffs):
        facts = file.provenance.model_dump()
        cases.append(Case(facts["subset"], file.cutoffs, facts["lambda"]))
    rows = measure(potential, data, cases, settings.atoms, settings.repeats)
    where = device_name() if data.device.type == "cuda" else processor_name()
    seed = potential.card.get("seed")
    common = {"seed": seed, "repeats": settings.repeats, "threads": torch.get_num_threads(), "device": where}
    write_csv(measured, [row | common for row in rows], COLUMNS)
    logger.info(f"{measured}: {len(cases)} sets of cutoffs, {time.time() - started:.0f} s")
    return {"seed": seed, "threads": torch.get_num_threads(), "device": where, "backend": potential.backend}
