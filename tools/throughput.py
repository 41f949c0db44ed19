"""Throughput of this machine for the stages of a study: a few timed steps of each, on representative structures."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fcl.config.study import Study
from fcl.data.manifest import DataManifest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from synthetic import synthetic_frame

#: Mean of MAD: 3.2 kB of text per frame; density and elements are typical, not measured.
SYNTHETIC_ATOMS, SYNTHETIC_VOLUME = 27, 16.0
SAMPLE_BATCHES = 2
TIMED_STEPS = 10  # of dynamics
SOURCE = Path(__file__).resolve().parents[1] / "src"  # where a fresh interpreter finds fcl
#: Code run in a fresh process: imports of a job that runs a model, and a complete drawing job.
MODEL_IMPORTS = "import fcl.training.fit, fcl.models.mace.model"
DRAWING = """
import sys, pathlib, fcl.study.figures.schematic as figures
folder = pathlib.Path(sys.argv[1])
figures.figure_02(png=folder / "f.png", pdf=folder / "f.pdf", r_min=3.5, r_max=7.0, initial_cutoff=6.0)
"""


@dataclass(frozen=True)
class Throughput:
    """Seconds per structure for each kind of work, and bytes per structure in the store, in memory and at the peak.

    ``curve`` is the time of one diatomic curve, ``step`` of one step of dynamics, ``start`` the startup time of a job
    that runs a model, ``first_call`` and ``first_epoch`` the extra time of the first evaluation and the first epoch of
    a training (compilation), ``drawing`` that of a complete drawing job.
    """

    store: float
    static: float
    fcl: float
    evaluate: float
    calibrate: float
    curve: float
    step: float
    start: float
    first_call: float
    first_epoch: float
    drawing: float
    store_bytes: float
    array_bytes: float
    base_bytes: float
    model_bytes: float
    sample: str


def sample_frames(study: Study, manifest: DataManifest, count: int) -> tuple[list, str]:
    """Up to ``count`` representative frames of the study, and their origin."""
    from fcl.data.download import DATA_DIR, local_file
    from fcl.data.read import read_frames
    from fcl.data.splits import frame_arguments

    entry = manifest.splits.get("train")
    own = study.data.local_dir or os.environ.get(DATA_DIR) or "."
    folders = (Path(study.data.manifest).parent, Path(f"data/{manifest.name}"), Path(own))
    found = (local_file(entry, folder) for folder in folders) if entry else ()
    path = next((path for path in found if path is not None), None)
    if path is None:
        atoms, elements = SYNTHETIC_ATOMS, range(1, 84)
        rng = np.random.default_rng(0)
        made = [synthetic_frame(rng, atoms, SYNTHETIC_VOLUME, elements) for _ in range(count)]
        return made, f"synthetic structures of {atoms} atoms"
    arguments = frame_arguments(manifest.frame_settings("train"), study.model.num_elements, study.data.max_force)
    rules = arguments["rules"]
    spread = max((entry.frames or count) // count, 1)  # not only the first subset of the file
    frames = list(islice(read_frames(path, "train", rules), 0, spread * count, spread))
    return frames, f"{len(frames)} frames of {path.name}"


def measure(study: Study, manifest: DataManifest) -> Throughput:
    """Time a few steps of each stage with the study's model, batch sizes, precision and device."""
    import torch
    from ase import Atoms

    from fcl.calibration.optimise import calibrate
    from fcl.cutoffs.rules import uniform_rule
    from fcl.data.batch import GraphData, average_neighbors
    from fcl.data.store import StoreArrays, arrays_from_frames, write_store
    from fcl.evaluation.diatomics import diatomic_curve
    from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate
    from fcl.models.files import build_model
    from fcl.runs.manifest import peak_gpu_memory_bytes, peak_memory_bytes
    from fcl.simulation.calculator import FCLCalculator
    from fcl.simulation.dynamics import molecular_dynamics
    from fcl.study.stages.job import compute as _compute
    from fcl.training.fit import fcl_recipe, fit, static_recipe

    dtype, device = _compute(study)
    batch = max(study.pretrain.batch_size, study.fcl.batch_size, study.static.batch_size)
    frames, origin = sample_frames(study, manifest, int(SAMPLE_BATCHES * max(batch, EVALUATION_BATCH_SIZE)))
    arrays, store_seconds = _timed(arrays_from_frames, frames, study.cutoffs.stored)
    count = len(arrays)
    with tempfile.TemporaryDirectory() as folder:
        _, written = _timed(write_store, arrays, Path(folder) / "s.h5", {})
        store_bytes = (Path(folder) / "s.h5").stat().st_size
    data = GraphData(arrays, dtype, device)
    array_bytes = sum(getattr(arrays, name).nbytes for name in StoreArrays.__annotations__ if _is_array(arrays, name))
    models = {}
    for kind, cutoff in (("static", study.pretrain.cutoff), ("fcl", study.cutoffs.r_max)):
        neighbours = average_neighbors(arrays, cutoff)["per_connected_atom"] if kind == "static" else None
        backend = study.compute.backend
        models[kind] = build_model(kind, study.model, cutoff, neighbours, dtype=dtype, device=device, backend=backend)
    uniform = uniform_rule(study.pretrain.cutoff, dtype)
    two = {"epochs": 2, "milestones": [1]}
    generator = torch.Generator(device=device).manual_seed(0)
    plans = {
        "static": (study.narrowed(static=two).static, static_recipe("plan", study.pretrain.cutoff, dtype)),
        "fcl": (
            study.narrowed(fcl={"epochs": 2}).fcl,
            fcl_recipe("plan", study.fcl, study.cutoffs, generator, dtype),
        ),
    }
    _, first = _timed(evaluate, models["fcl"], data, uniform, EVALUATION_BATCH_SIZE)
    _, evaluated = _timed(evaluate, models["fcl"], data, uniform, EVALUATION_BATCH_SIZE)
    seconds, first_epochs = {}, [0.0]
    tiny = GraphData(arrays_from_frames(frames[:1], study.cutoffs.r_max), dtype, device)  # negligible validation time
    for kind, (settings, steps) in plans.items():
        models[kind].backend = study.compute.backend_of_training
        history = fit(models[kind], data, tiny, settings, study.loss, steps, order_seed=0)
        models[kind].backend = study.compute.backend
        seconds[kind] = history[-1]["seconds"]
        first_epochs.append(history[0]["seconds"] - history[-1]["seconds"])
    once = study.narrowed(calibration={"epochs": 1}).calibration
    _, calibrated = _timed(calibrate, models["fcl"], data, once, study.loss, 1e-4, seed=0)
    curves = study.diatomics
    distances = torch.linspace(curves.r_start, curves.r_stop, curves.points, dtype=dtype, device=device)
    _, curve = _timed(diatomic_curve, models["fcl"], (1, 8), study.cutoffs.r_max, distances)
    moving = Atoms(frames[0].numbers, frames[0].positions, cell=frames[0].cell, pbc=frames[0].pbc)
    moving.calc = FCLCalculator(models["fcl"], study.observables.uniform_cutoff)
    dynamics = molecular_dynamics(moving, temperature=300.0, steps=TIMED_STEPS)
    weights = sum(value.nbytes for value in models["fcl"].state_dict().values())
    peak = peak_memory_bytes() + (peak_gpu_memory_bytes() or 0)
    per = {"static": seconds["static"] / count, "fcl": seconds["fcl"] / count}
    return Throughput(
        store=(store_seconds + written) / count, **per, evaluate=evaluated / count, calibrate=calibrated / count,
        curve=curve, step=dynamics.seconds / TIMED_STEPS, start=seconds_of_process(MODEL_IMPORTS),
        first_call=max(first - evaluated, 0.0), first_epoch=max(first_epochs),
        drawing=seconds_of_process(DRAWING), store_bytes=store_bytes / count, array_bytes=2 * array_bytes / count,
        base_bytes=peak, model_bytes=weights, sample=origin,
    )  # fmt: skip


@functools.cache
def seconds_of_process(code: str) -> float:
    """Wall-clock time of a fresh interpreter that runs ``code`` with a temporary folder as its argument."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, folder]
        _, seconds = _timed(subprocess.run, command, cwd=SOURCE, stdout=subprocess.DEVNULL, check=True)
    return seconds


def _is_array(arrays: Any, name: str) -> bool:
    return isinstance(getattr(arrays, name), np.ndarray)


def _timed(function, *arguments, **options) -> tuple[Any, float]:
    """(result, seconds)."""
    started = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - started
