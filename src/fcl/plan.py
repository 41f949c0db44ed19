"""What a study would take on this machine: hours, memory and disk of each stage, from a few seconds of measurement.

python -m fcl.plan                     every study of config.yaml that has no base
python -m fcl.plan --study paper       one of them

Steps of training, evaluation and calibration with the study's own model and batch sizes are timed on structures of the
study (its frames where they are on this machine, otherwise synthetic ones of MAD's mean size) and multiplied by the
counts of the protocol. Epochs are counted in full, so early stopping can only shorten it. Jobs are added up; where
several run side by side, divide.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fcl.config import SPLITS, Study, load_config
from fcl.dataset import DataManifest, load_data_manifest

#: Mean of MAD: 3.2 kB of text a frame; density and elements are typical, not measured.
SYNTHETIC_ATOMS, SYNTHETIC_VOLUME = 27, 16.0
SAMPLE_BATCHES = 2
BYTES_OF_A_FRAME = 3200  # of text, where the manifest gives no size


@dataclass(frozen=True)
class Stage:
    """One line of a plan: ``hours`` of all jobs together, ``memory`` (GB) of one, ``disk`` (GB) of all."""

    name: str
    jobs: int
    hours: float
    memory: float
    disk: float


@dataclass(frozen=True)
class Throughput:
    """Seconds a structure of each kind of work, and bytes a structure in the store, in memory and at the peak."""

    store: float
    static: float
    fcl: float
    evaluate: float
    calibrate: float
    store_bytes: float
    array_bytes: float
    base_bytes: float
    model_bytes: float
    sample: str


def frame_counts(study: Study, manifest: DataManifest) -> tuple[dict[str, int], list[str]]:
    """Structures of each split that the study uses, and what had to be assumed for it."""
    train = manifest.splits["train"].frames if "train" in manifest.splits else None
    counts, assumed = {}, []
    for split in SPLITS:
        entry = manifest.splits.get(split)
        frames = entry.frames if entry else None
        if frames is None:
            frames = max(train // 8, 1) if train and split != "train" else 1000
            assumed.append(f"{split}: {frames} structures (the manifest does not say)")
        limit = study.data.frame_limit(split)
        subsets = entry.subsets if entry and entry.subsets else dict.fromkeys(study.calibration.subsets, frames)
        counts[split] = min(frames, sum(min(n, limit) for n in subsets.values())) if limit else frames
    return counts, assumed


def plan(study: Study, manifest: DataManifest, speed: Throughput) -> list[Stage]:
    """The stages of ``study`` at the measured ``speed``."""
    counts, _ = frame_counts(study, manifest)
    train, val, test = (counts[split] for split in SPLITS)
    members = math.ceil(train / max(len(study.calibration.subsets), 1))
    tested = math.ceil(test / max(len(study.calibration.subsets), 1))
    grid, cutoffs = len(study.evaluation.uniform_cutoffs.values()), len(study.static.cutoffs)
    fcl_jobs, static_jobs = len(study.fcl.seeds), cutoffs * len(study.static.seeds)
    calibrations = len(study.calibration.subsets) * len(study.calibration.lambdas) * len(study.calibration.seeds)
    validated = val * len(study.fcl.validation_cutoffs)
    seconds = {
        "build_store": sum(counts.values()) * speed.store,
        "pretrain": study.pretrain.epochs * (train * speed.static + val * speed.evaluate),
        "train_fcl": fcl_jobs * study.fcl.epochs * (train * speed.fcl + validated * speed.evaluate),
        "train_static": static_jobs * study.static.epochs * (train * speed.static + val * speed.evaluate),
        "evaluate_cutoffs": (fcl_jobs * grid + static_jobs + 1) * test * speed.evaluate,
        "calibrate_cutoffs": calibrations
        * (study.calibration.epochs * members * speed.calibrate + 2 * tested * speed.evaluate),
    }
    jobs = {
        "build_store": len(SPLITS),
        "pretrain": 1,
        "train_fcl": fcl_jobs,
        "train_static": static_jobs,
        "evaluate_cutoffs": fcl_jobs + static_jobs + 1,
        "calibrate_cutoffs": calibrations,
    }
    held = {"evaluate_cutoffs": test, "build_store": 0, "calibrate_cutoffs": train + test}
    disk = {"build_store": sum(counts.values()) * speed.store_bytes}
    disk |= {name: jobs[name] * speed.model_bytes for name in ("pretrain", "train_fcl", "train_static")}
    stages = [
        Stage(
            name, jobs[name], seconds[name] / 3600,
            (speed.base_bytes + held.get(name, train + val) * speed.array_bytes) / 1e9, disk.get(name, 0.0) / 1e9,
        )
        for name in jobs
    ]  # fmt: skip
    downloads = [entry for entry in manifest.splits.values() if entry.url is not None]
    if downloads:
        size = sum(entry.size or counts.get(split, 0) * BYTES_OF_A_FRAME for split, entry in manifest.splits.items())
        stages.insert(0, Stage("download_mad", len(downloads), 0.0, 0.1, size / 1e9))
    return stages


def table(study: Study, stages: list[Stage], notes: list[str]) -> str:
    """The plan of a study as Markdown."""
    lines = [f"## {study.name}", "", "| stage | jobs | hours, all jobs | memory of a job (GB) | disk (GB) |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    rows = [(s.name, s.jobs, f"{s.hours:.3g}", f"{s.memory:.2g}", f"{s.disk:.2g}") for s in stages]
    hours, disk = sum(s.hours for s in stages), sum(s.disk for s in stages)
    memory = max(s.memory for s in stages)
    rows.append(("**all**", sum(s.jobs for s in stages), f"{hours:.3g}", f"{memory:.2g}", f"{disk:.2g}"))
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def sample_frames(study: Study, manifest: DataManifest, count: int) -> tuple[list, str]:
    """Up to ``count`` frames like those of the study, and where they are from."""
    from fcl.data.frames import read_frames
    from fcl.data.selection import frame_arguments

    entry = manifest.splits.get("train")
    folders = (Path(study.data.manifest).parent, Path(f"data/{manifest.name}/train"), Path(study.data.local_dir or "."))
    path = next((folder / entry.file for folder in folders if (folder / entry.file).is_file()), None) if entry else None
    if path is None:
        atoms = SYNTHETIC_ATOMS
        return [synthetic_frame(seed, atoms) for seed in range(count)], f"synthetic structures of {atoms} atoms"
    arguments = frame_arguments(manifest.frame_settings("train"), study.model.num_elements, study.data.max_force)
    rules = arguments["rules"]
    spread = max((entry.frames or count) // count, 1)  # not only the first subset of the file
    frames = list(islice(read_frames(path, "train", rules), 0, spread * count, spread))
    return frames, f"{len(frames)} frames of {path.name}"


def synthetic_frame(seed: int, atoms: int):
    """A periodic, jittered grid of ``atoms`` atoms with random labels."""
    from fcl.data.frames import Frame

    rng = np.random.default_rng(seed)
    side = math.ceil(atoms ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:atoms]
    length = (SYNTHETIC_VOLUME * atoms) ** (1 / 3)
    return Frame(
        numbers=rng.integers(1, 84, atoms),
        positions=(grid + rng.uniform(-0.15, 0.15, (atoms, 3))) * length / side,
        cell=np.eye(3) * length,
        pbc=np.ones(3, dtype=bool),
        energy=float(rng.normal()),
        forces=rng.normal(size=(atoms, 3)),
        subset="default",
        split="train",
    )


def measure(study: Study, manifest: DataManifest) -> Throughput:
    """Time a few steps of each stage with the study's model, batch sizes, precision and device."""
    import torch

    from fcl.calibration import calibrate
    from fcl.data.batch import GraphData, average_neighbors
    from fcl.data.store import StoreArrays, arrays_from_frames, write_store
    from fcl.evaluation import EVALUATION_BATCH_SIZE, evaluate, uniform_rule
    from fcl.manifest import peak_gpu_memory_bytes, peak_memory_bytes
    from fcl.model.files import build_model
    from fcl.stages import _compute
    from fcl.training import fcl_plan, fit, static_plan

    dtype, device = _compute(study)
    batch = max(study.pretrain.batch_size, study.fcl.batch_size, study.static.batch_size)
    frames, origin = sample_frames(study, manifest, int(SAMPLE_BATCHES * max(batch, EVALUATION_BATCH_SIZE)))
    arrays, store_seconds = _timed(arrays_from_frames, frames, study.cutoffs.r_max)
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
        "static": (study.narrowed(static=two).static, static_plan("plan", study.pretrain.cutoff, dtype)),
        "fcl": (
            study.narrowed(fcl={"epochs": 2}).fcl,
            fcl_plan("plan", study.fcl, study.cutoffs, generator, dtype),
        ),
    }
    _timed(evaluate, models["fcl"], data, uniform, EVALUATION_BATCH_SIZE)  # the first call compiles
    _, evaluated = _timed(evaluate, models["fcl"], data, uniform, EVALUATION_BATCH_SIZE)
    seconds = {}
    tiny = GraphData(arrays_from_frames(frames[:1], study.cutoffs.r_max), dtype, device)  # its validation costs nothing
    for kind, (settings, steps) in plans.items():
        seconds[kind] = fit(models[kind], data, tiny, settings, study.loss, steps, order_seed=0)[-1]["seconds"]
    once = study.narrowed(calibration={"epochs": 1}).calibration
    _, calibrated = _timed(calibrate, models["fcl"], data, once, study.loss, 1e-4, seed=0)
    weights = sum(value.nbytes for value in models["fcl"].state_dict().values())
    peak = peak_memory_bytes() + (peak_gpu_memory_bytes() or 0)
    per = {"static": seconds["static"] / count, "fcl": seconds["fcl"] / count}
    return Throughput(
        store=(store_seconds + written) / count, **per, evaluate=evaluated / count, calibrate=calibrated / count,
        store_bytes=store_bytes / count, array_bytes=2 * array_bytes / count, base_bytes=peak, model_bytes=weights,
        sample=origin,
    )  # fmt: skip


def _is_array(arrays: Any, name: str) -> bool:
    return isinstance(getattr(arrays, name), np.ndarray)


def _timed(function, *arguments, **options) -> tuple[Any, float]:
    """(result, seconds)."""
    started = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - started


def describe(source: str | Path | Mapping[str, Any], names: list[str] | None = None) -> str:
    """The plans of the studies ``names`` of a configuration as Markdown; by default of all that have no base."""
    from fcl.manifest import device_name

    config = load_config(source)
    pages = []
    own = [name for name, overrides in config.studies.items() if "base" not in overrides]
    for name in names or sorted(own, key=lambda name: name != config.study):
        study = config.resolve(name)
        manifest = load_data_manifest(study.data.manifest)
        speed = measure(study, manifest)
        counts, assumed = frame_counts(study, manifest)
        notes = [
            f"{', '.join(f'{split} {count}' for split, count in counts.items())} structures",
            f"measured on {device_name()}, {study.compute.threads} thread(s) a job, with {speed.sample}",
            *(f"assumed: {text}" for text in assumed),
        ]
        pages.append(table(study, plan(study, manifest, speed), notes))
    return "# What the studies would take on this machine\n\n" + "\n".join(pages)


def main(arguments: list[str] | None = None) -> None:
    """Command line: print the plans."""
    parser = argparse.ArgumentParser(prog="python -m fcl.plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="config.yaml", help="a YAML or JSON file, or - for standard input")
    parser.add_argument("--study", action="append", help="only this study (may be given several times)")
    options = parser.parse_args(arguments)
    source = yaml.safe_load(sys.stdin) if options.config == "-" else options.config
    sys.stdout.write(describe(source, options.study))


if __name__ == "__main__":
    main()
