"""Training on a user's own data, without a study: structures in, models out.

One folder holds everything: ``stores/``, ``checkpoints/`` while a training runs, ``settings.yaml`` (all settings),
``train.json`` (what determines each model), ``train.log``, and for each model weights, card, history and run manifest.
The same call again continues where the last one ended. Settings or data other than those of a model in the folder are
an error.
"""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from fcl.config.errors import nearest
from fcl.config.load import training_settings
from fcl.config.sections import TrainingSections
from fcl.data.batch import GraphData
from fcl.data.build import build_store
from fcl.data.extxyz import check_file
from fcl.data.manifest import load_data_manifest
from fcl.data.splits import frame_arguments
from fcl.data.store import StoreArrays, read_reference_energies, read_store
from fcl.evaluation.baselines import trivial_errors
from fcl.evaluation.labels import check_energies
from fcl.models.files import load, verified_card
from fcl.runs.device import torch_device
from fcl.runs.files import sha256_file, write_json, write_text
from fcl.runs.log import log_to_file
from fcl.runs.manifest import settings_digest, write_manifest
from fcl.training import recipe
from fcl.training.checkpoints import differences, remove_finished
from fcl.training.fit import STRESS_COLUMN
from fcl.training.loss import stress_weight
from fcl.training.recipe import Outputs
from fcl.training.sources import Split, of_files, of_manifest_file, paths_of
from fcl.training.start import Start, start_of
from fcl.training.teacher import label_store

logger = logging.getLogger(__name__)

#: Trainings of each kind, in order; their names are those of the files.
KINDS = {"fcl": ("pretrain", "fcl"), "static": ("static",), "pretrain": ("pretrain",)}
#: Sections of the settings that determine the result of a training.
SECTIONS = {
    "pretrain": ("model", "loss", "pretrain"),
    "static": ("model", "loss", "static"),
    "fcl": ("model", "loss", "fcl", "cutoffs"),
}


@dataclass(frozen=True)
class TrainedModel:
    """A model in the folder: its file, what is in its history, and validation errors beside trivial predictions.

    ``new`` is whether this call trained it. Mean absolute errors are those of the best epoch (eV/A, eV per atom), means
    over the validation cutoffs; trivial are zero forces and energies linear in the composition. Those of the stress
    (eV/A^3; trivial is zero) are None if it has no weight in the loss.
    """

    name: str
    file: Path
    new: bool
    epochs: int
    best_epoch: int
    force_mae: float
    energy_mae: float
    trivial_force_mae: float
    trivial_energy_mae: float
    stress_mae: float | None = None
    trivial_stress_mae: float | None = None


def train(
    output: str | Path,
    *,
    train: str | Path | Iterable[str | Path] = (),
    val: str | Path | Iterable[str | Path] = (),
    data: str | Path | None = None,
    kind: str = "fcl",
    settings: Mapping[str, Any] | None = None,
    pretrained: str | Path | None = None,
    warm: bool = False,
    teacher: bool = False,
    cutoffs: str | Path | None = None,
    seed: int | None = None,
    val_fraction: float | None = None,
    group: str | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    reference_energies: Mapping[str, float] | str | None = None,
    max_force: float | None = None,
    skip_bad_frames: bool = False,
    workers: int = 1,
) -> list[TrainedModel]:
    """Train a model on own data, by the paper's protocol where ``settings`` say nothing else.

    Args:
        output: folder for everything that is written.
        train, val: files of structures with energies and forces, one or several each.
        data: instead, one such file that is divided, or a data manifest (``.yaml``, docs/your-data.md).
        kind: "fcl": pre-training, then Flexible Cutoff Learning; "pretrain": the former only; "static": one cutoff.
        settings: leaves of the sections model, cutoffs, loss, pretrain, fcl, static, compute (docs/configuration.md).
        pretrained: a static model to start FCL from, instead of pre-training; its ``model`` settings are the defaults.
        warm: fine-tune it: kind "fcl" with a warm start (`fcl.models.warm`), up to its own cutoff unless settings say
            otherwise, or "static": train it on at its cutoff. Its reference energies are taken over.
        teacher: its energies and forces at its own cutoff (a flexible one: 6 A) are the labels; those of the data are
            not read.
        cutoffs: a cutoffs file; with ``warm`` the flexible model ``pretrained`` is specialised for it: trained on at
            these cutoffs only, which become its own (`fcl.training.recipe.specialise`).
        seed: of the training of this ``kind``; None: the first of its section. FCL's pre-training keeps its own.
        val_fraction: share of ``data`` for validation (0.1).
        group: frames of ``data`` with the same value of this key, or the same "formula", stay in one split.
        energy_key, forces_key, stress_key: names of the labels ("energy", "forces", "stress"). The stress is read if
            it has a key or a weight in the loss.
        reference_energies: eV by chemical symbol, "fit" (the default: least squares on the training data) or "none".
        max_force: frames with larger forces (eV/A) are bad; ``skip_bad_frames`` leaves them out and lists them.
        workers: processes that read the data.

    Returns the models of this kind, in the order of training. Raises `fcl.config.errors.ConfigError` for settings,
    `fcl.data.frames.FrameError` for frames, `ValueError` for anything else that does not fit.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is unknown{nearest(kind, KINDS)}")
    if pretrained is not None and kind != "fcl" and not (warm and kind == "static"):
        raise ValueError(f"a pre-trained model is the start of kind fcl, not of {kind}")
    if pretrained is None and (warm or teacher):
        raise ValueError("a warm start and a teacher need a given model")
    keys = (energy_key, forces_key, stress_key)
    if empty := [key for key in (*keys, group) if key is not None and not key.strip()]:
        raise ValueError(f"{empty[0]!r} is no key of the data: keys of labels and group are names, or None")
    if teacher and (any(keys) or reference_energies is not None):
        raise ValueError("the teacher gives the labels: leave keys of labels and reference_energies out")
    if cutoffs is not None and not (warm and kind == "fcl"):
        raise ValueError("cutoffs are those for which a given flexible model (warm, kind fcl) is specialised")
    output = Path(output)
    start = None if pretrained is None else start_of(pretrained, cutoffs)
    base = {} if start is None else start.settings(settings or {}, warm)
    study = training_settings(settings or {}, base)
    of_manifest = data is not None and Path(data).suffix in (".yaml", ".yml")
    told = reference_energies is not None
    if warm and not told and not (teacher or of_manifest):
        reference_energies = start.card.get("reference_energies_ev") or "none"
    names = [name for name in KINDS[kind] if name != "pretrain" or pretrained is None]
    for name in names:  # one seed and one cutoff each
        values = getattr(study, name)
        wanted = seed if seed is not None and name == kind else values.seeds[0]
        study = study.narrowed(**{name: {"seeds": [wanted]}})
    if kind == "static" and len(study.static.cutoffs) > 1:
        raise ValueError("static.cutoffs: name the one cutoff at which to train")
    if kind == "static" and start is not None and study.static.cutoffs[0] != start.cutoff:
        raise ValueError(f"static.cutoffs: {start.file} has the cutoff {start.cutoff:g} A, and keeps it")
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output}: is a file, and the output is a folder")
    output.mkdir(parents=True, exist_ok=True)
    with log_to_file(output / "train.log"):
        options = {"val_fraction": val_fraction, "group": group, "energy_key": energy_key, "forces_key": forces_key}
        options["stress_key"] = stress_key
        options["reference_energies"] = reference_energies
        if of_manifest:
            splits = of_manifest_file(Path(data), output, {"train": train or None, "val": val or None, **options})
            told = "reference_energies" in load_data_manifest(Path(data)).model_fields_set
            if told and teacher:
                raise ValueError(f"{data}: reference_energies: the teacher gives the labels, without any to subtract")
            if warm and not told and not teacher:  # null would say: labels as they are
                references = start.card.get("reference_energies_ev")
                splits = [replace(one, frames=one.frames | {"reference_energies": references}) for one in splits]
        else:
            splits = of_files(
                paths_of(train), paths_of(val), data, with_stress=stress_weight(study.loss) > 0, **options
            )
        limits = {"max_force": max_force, "strict": not skip_bad_frames}
        if teacher:
            limits["teacher"] = start.card["weights_sha256"]
            if stress_weight(study.loss):
                limits["teacher_stress"] = True
        requests = _requests(splits, study, limits)
        identities = _identities(names, study, requests, start)
        _check_folder(output, identities)
        write_json(output / "train.json", {**_known(output), **identities})
        shown = study.settings(*TrainingSections.model_fields)
        write_text(output / "settings.yaml", yaml.safe_dump(shown, sort_keys=False))
        stores = {}
        for split in splits:
            stores[split.name] = _store(
                split, requests[split.name], study, output / "stores", workers, stores, start.file if teacher else None
            )
        _warn_of_copies(stores)
        if start is not None and not (teacher or told):
            _check_energies(start, stores["train"], study)
        trivial = trivial_errors(*map(read_store, stores.values())).metrics()
        models = []
        for name in names:
            outputs = Outputs(*(output / f"{name}.{end}" for end in ("safetensors", "history.csv", "manifest.json")))
            new = not _finished(outputs)
            if new:
                _train(name, study, stores, start, outputs)
            else:
                logger.info(f"{outputs.model}: is there, trained with these settings on these data")
            models.append(_trained(name, outputs, new, trivial))
        remove_finished(output / "checkpoints")
    return models


def _check_energies(start: Start, store: Path, study) -> None:
    """`check_energies` of a store against the model to start from; not where the store is too short for its cutoff."""
    arrays, device = read_store(store), torch_device(study.compute.device)
    model = load(start.file, dtype=torch.float32, device=device).requires_grad_(False)
    if not model.single_cutoff or model.cutoff_limit <= arrays.r_max:
        check_energies(model, GraphData(arrays, torch.float32, device), read_reference_energies(store), str(store))


def _train(name: str, study, stores: Mapping[str, Path], start: Start | None, outputs: Outputs) -> None:
    """The training ``name`` of `SECTIONS`, from the given model ``start`` if there is one."""
    settings, checkpoints = getattr(study, name), outputs.model.parent / "checkpoints"
    _check_batches(name, settings, stores["train"])
    data, seed = stores.values(), settings.seeds[0]
    try:
        if name == "pretrain":
            recipe.pretrain(study, *data, seed, outputs, checkpoints)
        elif name == "static":
            recipe.train_static(study, *data, settings.cutoffs[0], seed, outputs, checkpoints, start and start.file)
        elif start is not None and start.cutoffs is not None:
            recipe.specialise(study, *data, start.file, start.cutoffs, seed, outputs, checkpoints)
        else:
            pretrained = outputs.model.with_name("pretrain.safetensors") if start is None else start.file
            recipe.train_fcl(study, *data, pretrained, seed, outputs, checkpoints)
    except torch.OutOfMemoryError as error:
        hint = f"set compute.max_pairs, lower {name}.batch_size, or set {name}.batch_by to pairs"
        raise ValueError(f"{name}: out of GPU memory ({str(error).splitlines()[0]}): {hint}") from error


def _requests(splits: list[Split], study, limits: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All that determines the graph store of each split, as plain JSON."""
    requests: dict[str, dict[str, Any]] = {}
    for split in splits:
        requests[split.name] = {
            "files": [sha256_file(check_file(file)) for file in split.files],
            "frames": split.frames,
            "any_split": split.any_split,
            "r_max": study.cutoffs.stored,
            "num_elements": study.model.num_elements,
            **limits,
        }
    train, val = requests["train"], requests["val"]
    if not train["frames"]["sizes"] and len(train["frames"]["splits"]) < 2:
        for digest, file in zip(val["files"], splits[1].files, strict=True):
            if digest in train["files"]:
                raise ValueError(f"{file}: is among the training data too: validation needs other structures")
    if val["frames"]["reference_energies"] == "fit":
        val["fitted_to"] = settings_digest(train)
    return json.loads(json.dumps(requests))


def _store(
    split: Split, request: dict, study, folder: Path, workers: int, stores: Mapping[str, Path], teacher: Path | None
) -> Path:
    """The graph store of a split, labelled by the model ``teacher`` if there is one; built unless it is there."""
    store, manifest = folder / f"{split.name}.h5", folder / f"{split.name}.manifest.json"
    digest = settings_digest(request)
    if store.is_file() and manifest.is_file():
        if json.loads(manifest.read_text(encoding="utf-8"))["settings_digest"] == digest:
            return store
    manifest.unlink(missing_ok=True)  # of another request: a store without one is made again
    started = time.time()
    arguments = frame_arguments(split.frames, study.model.num_elements, request["max_force"])
    if split.any_split:  # the files say what is training and what is validation
        arguments["rules"] = replace(arguments["rules"], any_split=True)
    if teacher is not None:
        arguments["rules"] = replace(arguments["rules"], labels=False)
        arguments["references"] = None
    elif request["frames"]["reference_energies"] == "fit" and split.name != "train":
        arguments["references"] = read_reference_energies(stores["train"])
    summary = build_store(
        split.files, store, r_max=study.cutoffs.stored, strict=request["strict"],
        rejected=folder / f"{split.name}.rejected.csv", workers=workers, **arguments,
    )  # fmt: skip
    if teacher is not None:
        summary["content_sha256"] = label_store(
            store, teacher, torch_device(study.compute.device), stress=request.get("teacher_stress", False)
        )
    inputs = {f"source {number}" if number else "source": file for number, file in enumerate(split.files)}
    write_manifest(
        manifest, stage="build_store", study=study.name, digest=digest, inputs=inputs, settings=request,
        started=started, extra=summary,
    )  # fmt: skip
    references = summary["reference_energies_ev"]
    said = ", ".join(f"{symbol} {energy:.4f}" for symbol, energy in references.items())
    logger.info(
        f"{store}: {summary['structures']} structures, {summary['atoms']} atoms, {summary['pairs']} pairs"
        + (f"; reference energies subtracted (eV): {said}" if said and split.name == "train" else "")
    )
    return store


def _warn_of_copies(stores: Mapping[str, Path]) -> None:
    """Warn of structures in both stores: their validation errors say nothing about new ones."""
    seen = {name: set(_structures(read_store(store))) for name, store in stores.items()}
    if both := seen["train"] & seen["val"]:
        logger.warning(
            f"{len(both)} of {len(seen['val'])} structures for validation are training structures, too: errors will be"
            " too small. Leave the copies out, or keep them together (--group)"
        )


def _structures(arrays: StoreArrays) -> Iterator[bytes]:
    """Elements, positions and cell of each structure as bytes, equal for copies."""
    for k, (start, end) in enumerate(zip(arrays.ptr, arrays.ptr[1:], strict=False)):
        parts = (arrays.numbers[start:end], arrays.positions[start:end] + 0.0, arrays.cells[k] + 0.0, arrays.pbc[k])
        yield b"".join(part.tobytes() for part in parts)  # + 0.0: -0 is 0


def _identities(names: list[str], study, requests: dict, start: Start | None) -> dict[str, dict]:
    """What determines each model, as plain JSON; code and versions are left out, so that an update spoils nothing."""
    identities: dict[str, dict] = {}
    for name in names:
        identities[name] = {
            **study.settings(*SECTIONS[name]),
            "compute": {"dtype": study.compute.dtype, "tf32": study.compute.tf32},
            "data": requests,
        }
        if name == "pretrain" and study.pretrain.given is not None:
            identities[name]["given"] = sha256_file(study.pretrain.given)
        if name == "fcl" or start is not None:
            pretrained = settings_digest(identities["pretrain"]) if start is None else sha256_file(start.file)
            identities[name]["pretrained"] = pretrained
            if start is not None and start.cutoffs is not None:
                identities[name]["cutoffs_file"] = sha256_file(start.cutoffs)
    return identities


def _known(output: Path) -> dict[str, dict]:
    file = output / "train.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _check_folder(output: Path, identities: Mapping[str, dict]) -> None:
    """Raise `ValueError` if the folder holds a model, or checkpoints of one, that was made from something else."""
    known = _known(output)
    for name, identity in identities.items():
        kept = [*output.glob(f"{name}.safetensors"), *output.glob(f"checkpoints/{name}/*/epoch*.safetensors")]
        if kept and known.get(name) != identity:
            changed = ", ".join(differences(known.get(name, {}), identity))
            raise ValueError(
                f"{kept[0]}: was trained with other settings or data ({changed}): choose another output folder, or"
                f" delete {output / name}.* and {output / 'checkpoints' / name}"
            )


def _finished(outputs: Outputs) -> bool:
    """Whether a training wrote all of its files; `ValueError` if the weights are not those that it wrote."""
    if not all(file.is_file() for file in outputs):
        return False
    verified_card(outputs.model)
    return True


def _check_batches(name: str, settings, store: Path) -> None:
    """Log the number of steps, with a warning if a batch is larger than the data."""
    count = json.loads(store.with_suffix(".manifest.json").read_text(encoding="utf-8"))["extra"]["structures"]
    steps = -(-count // settings.batch_size)
    logger.info(f"{name}: {count} structures, {steps} steps per epoch, at most {settings.epochs} epochs")
    if settings.batch_size > count:
        logger.warning(
            f"{name}.batch_size: {settings.batch_size} exceeds the {count} training structures: one step per epoch,"
            " where the paper makes 1 500. Lower it"
        )


def _trained(name: str, outputs: Outputs, new: bool, trivial: Mapping[str, float]) -> TrainedModel:
    with outputs.history.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best = [row for row in rows if row["best"] == "True"][-1]
    columns = ("force_mae_ev_per_angstrom", "energy_mae_ev_per_atom")
    errors, zeros = [float(best[f"val_{column}"]) for column in columns], [trivial[column] for column in columns]
    if new and errors[0] >= zeros[0]:
        logger.warning(f"{name}: forces are no better than zero forces in validation: train for more epochs")
    stress = (float(best[STRESS_COLUMN]), trivial.get(STRESS_COLUMN[4:])) if STRESS_COLUMN in best else ()
    return TrainedModel(name, outputs.model, new, len(rows), int(best["epoch"]), *errors, *zeros, *stress)
