"""What a study would take on this machine: hours, memory and disk of each stage, from a few seconds of measurement.

python tools/plan.py                     every study of config.yaml without a base
python tools/plan.py --study paper       a single study

Steps of each stage, with the study's model and batch sizes, are timed on structures of the study (its frames if they
are on this machine, otherwise synthetic ones of MAD's mean size) and multiplied by the counts of the protocol; the
startup time of each job is added. All epochs are counted, so early stopping can only shorten the estimate, and
relaxations of the observables with all their steps. Times are summed over jobs; divide by the number of parallel jobs.
Timings are overestimated on a loaded machine.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fcl.config.data import SPLITS
from fcl.config.load import load_config
from fcl.config.sections import ObservableSettings
from fcl.config.study import Study
from fcl.data.manifest import DataManifest, SplitFile, load_data_manifest
from throughput import SYNTHETIC_ATOMS, Throughput, measure

BYTES_OF_A_FRAME = 3200  # of text, if the manifest gives no size
PRODUCTS = 10 + 1 + 9 + 2 + 3 + 3  # jobs: figures of the paper, training curves, tables, observables, cost, pages
PASSES = 20  # of a calibration by L-BFGS through its subset: measured on the embedded set
#: Not measured: workflow overhead per job (a process that parses the rules), and download speed.
WORKFLOW_SECONDS, DOWNLOAD_BYTES_A_SECOND = 2.0, 5e6
ASSUMED = (
    f"{WORKFLOW_SECONDS:g} s of Snakemake a job, {DOWNLOAD_BYTES_A_SECOND / 1e6:g} MB/s of a download",
    "checkpoints of all trainings at the same time; they are removed when a training has ended",
)
#: Weights, best weights and the two moments of AdamW, in each of the two checkpoints kept during a training.
CHECKPOINT_COPIES = 8


@dataclass(frozen=True)
class Stage:
    """One line of a plan: ``hours`` and ``disk`` (GB) of all jobs together, ``memory`` (GB) of one job."""

    name: str
    jobs: int
    hours: float
    memory: float
    disk: float


def frame_counts(study: Study, manifest: DataManifest) -> tuple[dict[str, int], list[str]]:
    """Number of structures of each split used by the study, and the assumptions made."""
    train = _frames(manifest.splits.get("train"))
    counts, assumed, folds = {}, [], study.data.folds
    for split in SPLITS:
        entry = manifest.splits.get(split)
        frames = _frames(entry)
        if frames is None:
            frames = max(train // 8, 1) if train and split != "train" else 1000
            assumed.append(f"{split}: {frames} structures (the manifest does not say)")
        limit = study.data.frame_limit(split)
        subsets = entry.subsets if entry and entry.subsets else dict.fromkeys(study.calibration.subsets, frames)
        counts[split] = min(frames, sum(min(n, limit) for n in subsets.values())) if limit else frames
    if folds is not None:
        total = sum(counts.values())
        counts = {split: round(total * len(folds.of_split(split)) / folds.number) for split in SPLITS}
    counts = {split: round(frames * (study.data.group_share(split) or 1.0)) for split, frames in counts.items()}
    return counts, assumed


def _frames(entry: SplitFile | None) -> int | None:
    """How many structures a split has, where the manifest says so."""
    return (entry.frames or entry.count) if entry else None


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
    unlabelled = len(study.calibration.subsets) * len(study.unlabelled.lambdas) * len(study.calibration.seeds)
    passes = study.calibration.epochs if study.calibration.optimiser == "adam" else PASSES
    one_calibration = passes * members * speed.calibrate + 3 * tested * speed.evaluate
    choices, folds = len(study.calibration.subsets) * len(study.calibration.seeds), study.choice.folds
    followed = len(study.calibration.lambdas) * study.choice.evaluations * (folds - 1) * members * speed.calibrate
    one_choice = followed + (1 + len(study.calibration.lambdas)) * members * speed.evaluate
    measured = (1 + study.wall_clock.repeats) * (
        len(study.wall_clock.uniform_cutoffs) + len(study.calibration.subsets) * len(study.calibration.lambdas)
    )
    calls = {name: count for name, count in force_calls(study.observables).items() if count}
    jobs = {
        "build_store": len(SPLITS),
        "describe_data": 1,
        "pretrain": len(study.pretrain.seeds),
        "train_fcl": fcl_jobs,
        "train_static": static_jobs,
        "evaluate_cutoffs": fcl_jobs + static_jobs + len(study.pretrain.seeds),
        "evaluate_trivial": 1,
        "diatomic_curves": fcl_jobs,
        "calibrate_cutoffs": calibrations,
        "choose_cutoffs": choices,
        **dict.fromkeys(calls, len(study.observables.subsets)),
        "calibrate_unlabelled": unlabelled,
        "measure_wall_clock": 1,
        "figures, tables, report": PRODUCTS,
    }
    seconds = {
        "build_store": sum(counts.values()) * speed.store,
        "describe_data": 0.0,
        "pretrain": len(study.pretrain.seeds) * study.pretrain.epochs * (train * speed.static + val * speed.evaluate),
        "train_fcl": fcl_jobs * study.fcl.epochs * (train * speed.fcl + validated * speed.evaluate),
        "train_static": static_jobs * study.static.epochs * (train * speed.static + val * speed.evaluate),
        "evaluate_cutoffs": (fcl_jobs * grid + static_jobs + len(study.pretrain.seeds)) * test * speed.evaluate,
        "evaluate_trivial": 0.0,
        "diatomic_curves": fcl_jobs * len(study.diatomics.pairs) * len(study.diatomics.cutoffs) * speed.curve,
        "calibrate_cutoffs": calibrations * one_calibration,
        "choose_cutoffs": choices * one_choice,
        "calibrate_unlabelled": unlabelled * one_calibration,
        "measure_wall_clock": measured * study.wall_clock.atoms / SYNTHETIC_ATOMS * speed.evaluate,
        **{name: count * speed.step for name, count in calls.items()},
        "figures, tables, report": 0.0,
    }
    training, starting = ("pretrain", "train_fcl", "train_static"), speed.start + speed.first_call
    begin = dict.fromkeys(jobs, starting) | dict.fromkeys(training, starting + speed.first_epoch)
    begin |= dict.fromkeys(("build_store", "describe_data", "evaluate_trivial"), speed.start)
    begin |= {"figures, tables, report": speed.drawing}
    held = {"evaluate_cutoffs": test, "measure_wall_clock": test, "describe_data": sum(counts.values())}
    held |= dict.fromkeys(("calibrate_cutoffs", "calibrate_unlabelled"), train + test)
    held |= dict.fromkeys(("build_store", "diatomic_curves", "figures, tables, report", *calls), 0)
    disk = {"build_store": sum(counts.values()) * speed.store_bytes}
    disk |= {name: jobs[name] * speed.model_bytes * (1 + CHECKPOINT_COPIES) for name in training}
    stages = [
        Stage(
            name, jobs[name], (seconds[name] + jobs[name] * (begin[name] + WORKFLOW_SECONDS)) / 3600,
            (speed.base_bytes + held.get(name, train + val) * speed.array_bytes) / 1e9, disk.get(name, 0.0) / 1e9,
        )
        for name in jobs
    ]  # fmt: skip
    downloads = {entry.file: entry for entry in manifest.splits.values() if entry.url is not None}
    if downloads:
        unknown = [split for split, entry in manifest.splits.items() if entry.size is None]
        size = sum(entry.size or 0 for entry in {entry.file: entry for entry in manifest.splits.values()}.values())
        size += sum(counts.get(split, 0) * BYTES_OF_A_FRAME for split in unknown)
        hours = (size / DOWNLOAD_BYTES_A_SECOND + len(downloads) * WORKFLOW_SECONDS) / 3600
        stages.insert(0, Stage("download_data", len(downloads), hours, 0.1, size / 1e9))
    return stages


def force_calls(settings: ObservableSettings) -> dict[str, int]:
    """Number of force evaluations in each stage of the observables, if every structure has a reference.

    Relaxations count with all their steps. Dynamics repeat the reference.
    """
    potentials = 2 if settings.null_seed is None else 3
    points = settings.equation_of_state.points + 1 if settings.equation_of_state else 0
    displaced = 6 * SYNTHETIC_ATOMS if settings.phonons else 0
    dynamics, nve, rdf = settings.dynamics, settings.nve, settings.rdf

    def steps(run) -> float:
        return 1000 * (dynamics.equilibration + run.duration) / dynamics.timestep if run else 0

    runs = (potentials + 1) * dynamics.structures
    calls = {
        "observe_statics": potentials * settings.structures * (settings.relaxation.steps * (1 + points) + displaced),
        "observe_nve": runs * steps(nve),
        "observe_rdf": runs * steps(rdf),
    }
    return {name: round(len(settings.subsets) * count) for name, count in calls.items()}


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


def describe(source: str | Path | Mapping[str, Any], names: list[str] | None = None) -> str:
    """The plans of the studies ``names`` of a configuration as Markdown; by default all without a base."""
    from fcl.runs.manifest import device_name

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
            *(f"assumed: {text}" for text in [*assumed, *ASSUMED]),
        ]
        pages.append(table(study, plan(study, manifest, speed), notes))
    return "# What the studies would take on this machine\n\n" + "\n".join(pages)


def main(arguments: list[str] | None = None) -> None:
    """Command line: print the plans."""
    parser = argparse.ArgumentParser(prog="python tools/plan.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="config.yaml", help="a YAML or JSON file, or - for standard input")
    parser.add_argument("--study", action="append", help="only this study (may be given several times)")
    options = parser.parse_args(arguments)
    source = yaml.safe_load(sys.stdin) if options.config == "-" else options.config
    sys.stdout.write(describe(source, options.study))


if __name__ == "__main__":
    main()
