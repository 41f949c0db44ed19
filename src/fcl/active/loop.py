"""The loop of active learning: label, train, explore, select, until nothing new is found or the budget is spent.

All state is in the output folder, as files that are written once: labels (``labels/``), the structures of each round
(``rounds/NN.json``), runs of dynamics (``runs/NN/``), models (``models/``). A loop that is started again goes
through the same steps and finds them done. Everything random has a seed of its own (settings, round, run), so that a
loop that was killed and resumed has the same training set as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcl.active import cells, extract, select
from fcl.active.label import Label, atoms_of, digest, label_all, plain, read_label
from fcl.active.pool import run_tasks
from fcl.active.report import failures, judge_round, write_reports
from fcl.active.settings import ActiveSettings
from fcl.runs.files import atomic_path, locked, remove_halves, sha256_file, write_json
from fcl.runs.log import log_to_file

logger = logging.getLogger(__name__)

#: Every so many of the first structures is for validation.
START_VALIDATION = 5


@dataclass(frozen=True)
class Round:
    """Structures that a round has chosen, `plain` with a ``role`` ("train", "val"); ``rung``: atoms, 0 at the start."""

    number: int
    rung: int
    structures: list[dict[str, Any]]


def learn(settings: ActiveSettings, output: str | Path, *, folder: str | Path = ".", processes: int = 1) -> dict:
    """Run the loop, or go on with it, in the folder ``output``; ``folder`` is that of the settings file.

    Returns the summary that is also in ``summary.json``. Raises `ConfigError` for a calculator that cannot be built,
    `ValueError` if the folder belongs to other settings, or if nothing could be labelled.
    """
    loop = _Loop(settings, Path(output), Path(folder), processes)
    loop.output.mkdir(parents=True, exist_ok=True)
    lock = locked(loop.output / ".lock", f"{loop.output}: another process is working in this folder", 0.0)
    try:
        with log_to_file(loop.output / "active.log"):
            return loop.run()
    finally:
        lock.release()


class _Loop:
    def __init__(self, settings: ActiveSettings, output: Path, folder: Path, processes: int):
        self.settings, self.output, self.folder, self.processes = settings, output, folder, processes
        self.files = [folder / name for name in settings.start.structures]
        self.cutoff = settings.explore.cutoff or _pretrain_cutoff(settings)
        self.rounds: list[Round] = []

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self) -> dict:
        explore = self.settings.explore
        units = cells.read_cells(self.files)
        rungs = [(n, fitting) for n in explore.cells if (fitting := _fitting(units, n))]
        if not rungs:
            sizes = sorted({len(unit) for unit in units})
            raise ValueError(f"explore.cells: none is a multiple of the unit cells, of {sizes} atoms")
        self._check_folder()
        for place in ("labels", "rounds", "runs"):
            remove_halves(self.output / place)
        self._label(self._round(0, 0, lambda: self._start(units)))
        ended = "nothing new on the last rung"
        for rung, supercells in rungs:
            for _ in range(explore.rounds):
                if spent := self._spent():
                    break
                number = len(self.rounds)
                if not self._label(self._round(number, rung, lambda n=number, s=supercells: self._explored(n, s))):
                    break
            if spent := self._spent():
                ended = spent
                break
        else:
            if self.rounds[-1].structures:
                ended = "all rounds done; the last one still found something new"
        models = self._train(len(self.rounds))
        found = {f"{role}.xyz": Path(models.grade).with_name(f"{role}.xyz") for role in ("train", "val")}
        found |= {f"model.{end}": Path(models.files[0]).with_suffix(f".{end}") for end in ("safetensors", "json")}
        for name, file in found.items():
            with atomic_path(self.output / name) as temporary:
                shutil.copyfile(file, temporary)
        return write_reports(self.output, self.rounds, self._labels, ended)

    def _round(self, number: int, rung: int, choose) -> Round:
        """Round ``number`` from its file, or chosen now."""
        file = self.output / "rounds" / f"{number:02d}.json"
        if not file.is_file():
            write_json(file, {"rung": rung, "structures": choose()}, indent=None)
        known = json.loads(file.read_text(encoding="utf-8"))
        found = Round(number, known["rung"], known["structures"])
        self.rounds.append(found)
        roles = [structure["role"] for structure in found.structures]
        what = f"round {number}, cells of {rung} atoms" if number else "start"
        logger.info(f"{what}: {roles.count('train')} structures for training, {roles.count('val')} for validation")
        return found

    def _start(self, units: Sequence) -> list[dict]:
        settings = self.settings
        found = cells.start_structures(
            units, settings.explore.cells, settings.explore.strains, number=settings.start.number,
            shear=settings.explore.shear, rattle=settings.start.rattle, shortest=settings.select.shortest,
            seed=settings.seed,
        )  # fmt: skip
        if self.settings.budget.labels is not None:
            found = found[: self.settings.budget.labels]
        last = START_VALIDATION - 1
        return [
            {**plain(atoms), "role": "val" if n % START_VALIDATION == last else "train"}
            for n, atoms in enumerate(found)
        ]

    # -- labels --------------------------------------------------------------------------------------------------------

    def _label(self, found: Round) -> bool:
        """Label the structures of a round; whether there were any for training."""
        settings, before = self.settings.label, len(self._labels(found))
        labels = label_all(
            found.structures, self.settings.calculator.model_dump(by_alias=True), self.output / "labels",
            seconds=settings.seconds, max_force=settings.max_force, processes=self.processes,
            scratch=self.output / "scratch" / "labels", folder=self.folder,
        )  # fmt: skip
        if failed := [label for label in labels if label.error]:
            logger.warning(f"{len(failed)} of {len(labels)} labels failed, listed in failed.csv: {failed[0].error}")
            failures(self.output, self.rounds, self._labels)
        if before < len(labels):
            logger.info(f"{len(labels) - before} labels took {sum(label.seconds for label in labels):.1f} s in all")
        self._judge(found)
        return any(structure["role"] == "train" for structure in found.structures)

    def _labels(self, found: Round) -> list[tuple[dict, Label]]:
        """Structures of a round and their labels, as far as there are some."""
        files = [self.output / "labels" / f"{digest(structure)}.json" for structure in found.structures]
        pairs = [(structure, read_label(file)) for structure, file in zip(found.structures, files, strict=True)]
        return [(structure, label) for structure, label in pairs if label is not None]

    def _good(self, before: int) -> list[tuple[int, dict, Label]]:
        """Round, structure and label of all labels of the rounds ``before`` this one that succeeded."""
        pairs = [(found.number, pair) for found in self.rounds[:before] for pair in self._labels(found)]
        return [(number, structure, label) for number, (structure, label) in pairs if label.error is None]

    def _spent(self) -> str:
        """Which budget is spent; empty if none is."""
        labels = [label for found in self.rounds for _, label in self._labels(found)]
        budget, seconds = self.settings.budget, sum(label.seconds for label in labels)
        if budget.labels is not None and len(labels) >= budget.labels:
            return f"budget of {budget.labels} labels spent"
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"budget of {budget.seconds:g} s of labels spent"
        return ""

    # -- models --------------------------------------------------------------------------------------------------------

    def _train(self, before: int) -> extract.Models:
        """The models of the labels of all rounds ``before`` this one; trained, unless they are there."""
        good = self._good(before)
        roles = [structure["role"] for _, structure, _ in good]
        if not {"train", "val"} <= set(roles):
            errors = [label.error for found in self.rounds for _, label in self._labels(found) if label.error]
            raise ValueError(
                f"too few labels: {len(good)} succeeded; the first failure: {errors[0] if errors else '-'}"
            )
        contents = [(structure["role"], label.structure, label.energy, label.forces) for _, structure, label in good]
        name = hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:8]
        folder = self.output / "models" / f"{max(number for number, _, _ in good):02d}-{name}"
        for role in ("train", "val"):
            frames = [label.atoms() for _, structure, label in good if structure["role"] == role]
            _write_frames(folder / f"{role}.xyz", frames)
        members = self.settings.select.members
        files = [folder / f"member{k}" / "fcl.safetensors" for k in range(members)]
        seed = self.settings.seed
        tasks = [
            (str(file.parent.resolve()), str(folder.resolve()), self.settings.of_training(), seed + k)
            for k, file in enumerate(files)
            if not file.with_suffix(".manifest.json").is_file()  # written last
        ]
        for outcome in run_tasks(
            _train_member, tasks, processes=self.processes, seconds=None, folder=self.output / "scratch" / "train",
            prepare=(extract.prepare, ()),
        ):  # fmt: skip
            if outcome.error is not None:
                raise ValueError(f"training of {tasks[outcome.index][0]}: {outcome.error}")
            logger.info(f"{Path(tasks[outcome.index][0]).name} of {folder}: {outcome.value}, {outcome.seconds:.0f} s")
        grade = folder / "grade.json"
        models = extract.Models(tuple(str(file.resolve()) for file in files), str(grade.resolve()), self.cutoff)
        if not grade.is_file():
            from fcl.active.uncertainty import Grade

            of, train = _feature_function(models), [label.atoms() for _, one, label in good if one["role"] == "train"]
            numbers = np.concatenate([atoms.numbers for atoms in train])
            write_json(
                grade, Grade.fitted(np.concatenate([of(atoms) for atoms in train]), numbers).record(), indent=None
            )
        return models

    def _judge(self, found: Round) -> None:
        """Compare the uncertainties of newly labelled structures with the errors of the model that selected them."""
        file = self.output / "rounds" / f"{found.number:02d}.uncertainty.csv"
        labelled = [(one["role"], label.atoms()) for one, label in self._labels(found) if label.error is None]
        if labelled and found.number and not file.is_file():
            models = self._train(found.number)
            judge_round(file, models.measures(self.settings.select.cutoffs), models.calculator().get_forces, labelled)

    # -- exploration ---------------------------------------------------------------------------------------------------

    def _explored(self, number: int, supercells: Sequence) -> list[dict]:
        """What round ``number`` selects from dynamics of ``supercells``."""
        models, settings = self._train(number), self.settings
        explore, choice = settings.explore.model_dump(), settings.select.model_dump()
        runs = [
            (cell, temperature, factor)
            for cell in supercells
            for temperature in settings.explore.temperatures
            for factor in settings.explore.strains
        ]
        folder = (self.output / "runs" / f"{number:02d}").resolve()
        files = [folder / f"{index:03d}.json" for index in range(len(runs))]
        tasks = [
            (plain(cell), temperature, factor, [settings.seed, number, index + 1], models, explore, choice, str(file))
            for index, ((cell, temperature, factor), file) in enumerate(zip(runs, files, strict=True))
            if not file.is_file()
        ]
        for outcome in run_tasks(
            extract.explore, tasks, processes=self.processes, seconds=settings.explore.seconds,
            folder=self.output / "scratch" / "runs", prepare=(extract.prepare, ()),
        ):  # fmt: skip
            file = Path(tasks[outcome.index][-1])
            if outcome.error is not None and not file.is_file():  # it may have ended just within its limit
                logger.warning(f"{file}: this run failed and is left out: {outcome.error}")
                failed = {"frames": 0, "ended": f"failed: {outcome.error}", "candidates": [], "control": None}
                write_json(file, failed, indent=None)
        return self._selected(models, number, [json.loads(file.read_text(encoding="utf-8")) for file in files])

    def _selected(self, models: extract.Models, number: int, runs: list[dict]) -> list[dict]:
        """The farthest of the candidates of the ``runs`` for training, and frames at random for validation."""
        if not any(run["frames"] for run in runs):
            raise ValueError(f"round {number}: no run got beyond its start; the first: {runs[0]['ended']}")
        choice, random = self.settings.select, np.random.default_rng([self.settings.seed, number])
        candidates = [frame for run in runs for frame in run["candidates"]]
        known = {digest(structure) for found in self.rounds for structure in found.structures}
        candidates = [frame for frame in candidates if digest(frame["structure"]) not in known]
        logger.info(
            f"round {number}: {sum(run['frames'] for run in runs)} frames of {len(runs)} runs,"
            f" {len(candidates)} of them above {choice.thresholds[0]:g}"
        )
        left = self._left()
        if not candidates or left < 1:
            return []
        features = _feature_function(models)
        described = [features(atoms_of(structure)) for found in self.rounds for structure in found.structures]
        descriptor = select.Descriptor(np.concatenate(described))
        points = np.array([descriptor.of(features(atoms_of(frame["structure"]))) for frame in candidates])
        before = np.array([descriptor.of(one) for one in described])
        limit = int(min(choice.per_round, math.ceil(left / (1.0 + choice.validation)) if left < math.inf else math.inf))
        chosen = [candidates[n] for n in select.farthest_points(points, before, limit, choice.duplicates)]
        known |= {digest(frame["structure"]) for frame in chosen}
        controls = [run["control"] for run in runs if run["control"]]
        controls = [frame for frame in controls if digest(frame["structure"]) not in known]
        validation = int(min(math.ceil(len(chosen) * choice.validation), left - len(chosen)))
        controls = select.drawn(controls, validation, random)
        both = ((chosen, "train"), (controls, "val"))
        return [
            {**frame["structure"], "role": role, "score": frame["score"]} for frames, role in both for frame in frames
        ]

    def _left(self) -> float:
        """Labels that the budget still allows."""
        budget = self.settings.budget.labels
        return float("inf") if budget is None else budget - sum(len(found.structures) for found in self.rounds)

    # -- the folder ----------------------------------------------------------------------------------------------------

    def _check_folder(self) -> None:
        """`ValueError` if the folder was begun with other settings or structures; budget and cells may grow."""
        from fcl.training.checkpoints import differences

        own = self.settings.model_dump(mode="json", by_alias=True, exclude={"budget"})
        own["start"]["structures"] = [sha256_file(file) for file in self.files]
        own, file = json.loads(json.dumps(own)), self.output / "active.json"
        if file.is_file():
            known = json.loads(file.read_text(encoding="utf-8"))
            before, now = known["explore"]["cells"], own["explore"]["cells"]
            compared = {**own, "explore": {**own["explore"], "cells": before if now[: len(before)] == before else now}}
            if compared != known:
                changed = ", ".join(differences(known, compared))
                raise ValueError(f"{self.output}: was begun with other settings ({changed}): choose another folder")
        write_json(file, own)


def _fitting(units: Sequence, atoms: int) -> list:
    return [cell for unit in units if (cell := cells.supercell(unit, atoms)) is not None]


def _pretrain_cutoff(settings: ActiveSettings) -> float:
    from fcl.config.load import training_settings

    return training_settings(settings.of_training()).pretrain.cutoff


def _feature_function(models: extract.Models):
    from fcl.active.uncertainty import Features

    return Features(models.calculator()).of


def _write_frames(path: Path, frames: Sequence) -> None:
    from ase.io import write

    with atomic_path(path) as temporary:
        write(temporary, list(frames), format="extxyz")


def _train_member(output: str, data: str, settings: dict, seed: int) -> str:
    """Pre-train and train one FCL model; its errors in words."""
    from fcl.training.own import train

    files = {"train": Path(data) / "train.xyz", "val": Path(data) / "val.xyz"}
    settings = {**settings, "pretrain": {**settings.get("pretrain", {}), "seeds": [seed]}}
    model = train(output, kind="fcl", settings=settings, seed=seed, **files)[-1]
    return f"force error {model.force_mae:.3f} eV/A in validation (zero forces: {model.trivial_force_mae:.3f})"
