"""Training checkpoints, from which a killed training can resume.

They are stored in ``<root>/<key>``, where the key is a hash of everything that determines the result
(`training_identity`): a training with different settings, data or code never resumes from them. Each is a single
safetensors file (no pickle): tensors, and in its header the rest of the state as JSON and a SHA-256 of both. Writes are
atomic and flushed to disk; the last two checkpoints are kept. Results are not checkpoints: see `Checkpoints.finish`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcl.runs.code_digest import source_digest
from fcl.runs.files import FilePath, atomic_path, locked, remove_halves, sha256_file, write_json
from fcl.runs.manifest import settings_digest

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

FORMAT = "fcl-checkpoint-1"
#: Checkpoints to keep: if the last one is unreadable, the previous one is used.
KEPT = 2
KEY_DIGITS = 16
#: Packages whose versions may affect the state, or the numbers that follow from it.
VERSIONED = ("torch", "mace-torch", "e3nn")
#: Time (s) that a process being stopped may take to save.
PATIENCE = 60.0


class CheckpointError(ValueError):
    """An unusable checkpoint; the message gives the reason."""


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint: ``tensors`` in host memory and ``facts``, plain JSON."""

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


def training_identity(study, stage: str, sections: tuple[str, ...], inputs: Mapping[str, Path], device) -> dict:
    """Everything that determines the final weights of a training; ``stage`` is a function of `fcl.training.recipe`.

    ``study`` is narrowed to the seed and cutoff of the job, ``sections`` are the relevant sections of its settings, and
    the files ``inputs`` (stores, pre-trained weights) enter by their contents. Backend, threads and GPU model are
    excluded: they change the last digits only, so a training may resume with others. The device type is included, as
    random generators differ between GPU and CPU.
    """
    return {
        "stage": stage,
        "settings": study.settings(*sections),
        "dtype": study.compute.dtype,
        "tf32": study.compute.tf32,
        "device": device.type,
        "inputs": {name: sha256_file(path) for name, path in inputs.items()},
        "code": source_digest(f"fcl.training.recipe:{stage}"),
        "versions": {package: importlib.metadata.version(package) for package in VERSIONED},
    }


class Checkpoints:
    """The checkpoints of one training, in ``root / key``; a context manager that locks them against other processes.

    ``seconds`` is the time between checkpoints.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], seconds: float = 300.0):
        self.identity = json.loads(json.dumps(identity))
        self.key = settings_digest(identity)[:KEY_DIGITS]
        self.root, self.folder, self.seconds = root, root / self.key, seconds

    def __enter__(self) -> Checkpoints:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self.folder / "lock", f"{self.folder}: another process trains this", PATIENCE)
        remove_halves(self.folder)
        write_json(self.folder / "identity.json", self.identity)
        return self

    def __exit__(self, *_) -> None:
        self._lock.release()

    def save(self, epoch: int, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Write the checkpoint after ``step`` steps of ``epoch`` and remove old ones.

        A failed write (full disk) is logged and does not stop the training.
        """
        from safetensors import SafetensorError

        path = self.folder / f"epoch{epoch:05d}_step{step:07d}.safetensors"
        try:
            write_checkpoint(path, self.key, tensors, facts)
        except (OSError, SafetensorError) as error:
            logger.info(f"{path}: this checkpoint could not be written: {error}")
            return
        for old in self.files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """The checkpoints, in order."""
        return sorted(self.folder.glob("epoch*_step*.safetensors"))

    def resume(self, restore: Callable[[Checkpoint], None]) -> Path | None:
        """Pass the last valid checkpoint to ``restore`` and return its path; None if there is none.

        A checkpoint that is unreadable, or that ``restore`` rejects with `CheckpointError`, is renamed and logged, and
        the previous one is tried.
        """
        for path in reversed(self.files()):
            try:
                restore(read_checkpoint(path, self.key))
                return path
            except CheckpointError as error:
                aside = path.with_name(f"{path.name}.refused")
                path.replace(aside)
                logger.info(f"{path}: refused, {error}; kept as {aside.name}")
        self._say_what_else_is_there()
        return None

    def _say_what_else_is_there(self) -> None:
        others = [path for path in self.root.glob("*/identity.json") if path.parent != self.folder]
        if not others:
            return
        latest = max(others, key=lambda path: path.stat().st_mtime)
        try:
            changed = ", ".join(differences(json.loads(latest.read_text(encoding="utf-8")), self.identity))
        except ValueError:
            changed = "unknown"
        logger.info(f"{latest.parent}: checkpoints of a training that differs in: {changed}. Starting anew")

    def finish(self, model: Path) -> None:
        """Mark the training as finished, with the present contents (SHA-256) of ``model``.

        The checkpoints are kept: the workflow may still treat the job as failed and remove its results (for example
        because of file system latency). `remove_finished` deletes them once that can no longer happen.
        """
        write_json(self.folder / "done.json", {"model": str(model), "sha256": sha256_file(model)})


def remove_finished(root: FilePath) -> None:
    """Remove the checkpoints below ``root`` (of a study: ``root/<training>/<key>``) whose results exist."""
    for done in Path(root).glob("*/*/done.json"):
        with suppress(OSError, ValueError, KeyError):
            result = json.loads(done.read_text(encoding="utf-8"))
            if sha256_file(result["model"]) == result["sha256"]:
                shutil.rmtree(done.parent)
                done.parent.parent.rmdir()
                Path(root).rmdir()  # once it is empty; before that the error is suppressed


def write_checkpoint(path: Path, key: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write ``tensors`` and ``facts`` with the ``key`` of the training, atomically and flushed to disk."""
    from safetensors.torch import save_file

    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, "key": key, "facts": facts})
    with atomic_path(path, durable=True) as temporary:
        save_file(copies, temporary, metadata={"checkpoint": text, "sha256": _digest(text, copies)})


def read_checkpoint(path: Path, key: str) -> Checkpoint:
    """Read the checkpoint ``path``; `CheckpointError` if it is damaged or belongs to another training than ``key``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        text, digest = header["checkpoint"], header["sha256"]
    except KeyError as error:
        raise CheckpointError(f"its header has no {error}") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"it cannot be read ({error})") from None
    if _digest(text, tensors) != digest:
        raise CheckpointError("its contents are not those that were written (SHA-256 differs)")
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise CheckpointError(f"its format is {content['format']}, not {FORMAT}")
    if content["key"] != key:
        raise CheckpointError(f"it is of another training ({content['key']}, not {key})")
    return Checkpoint(tensors, content["facts"])


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the values that differ between two identities."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield name


def _digest(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    import torch

    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
