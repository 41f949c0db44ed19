"""Run manifests: a small JSON file beside every result with its inputs, settings, software versions and hardware.

Versions are read from package metadata, without importing torch or e3nn. The CUDA fields are filled if the stage itself
has imported torch. Paths are relative to the working directory, or bare names if they are outside it, so that a
manifest reveals neither the machine's directories nor its name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fcl.runs.files import FilePath, sha256_file, write_json

FORMAT = 1
PACKAGES = (
    "torch",
    "numpy",
    "mace-torch",
    "e3nn",
    "ase",
    "phonopy",
    "vesin",
    "h5py",
    "safetensors",
    "pandas",
    "matplotlib",
    "seaborn",
    "snakemake",
)


def write_manifest(
    path: FilePath,
    *,
    stage: str,
    study: str,
    digest: str,
    inputs: Mapping[str, FilePath],
    settings: Mapping[str, Any],
    seed: int | None = None,
    started: float,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the run manifest of one result, atomically, and return its contents.

    Args:
        path: file of the manifest (``*.manifest.json``).
        stage: name of the stage (``build_store``, ``train_fcl``, ...).
        study: name of the study.
        digest: hash of the settings that determine the result (``study.digest(...)``).
        inputs: name -> file; each file's SHA-256 and size in bytes are stored.
        settings: the settings themselves.
        seed: the seed of the run, if it draws random numbers.
        started: ``time.time()`` at the start of the stage, in seconds.
        extra: further metadata (counts of frames, best epoch, the device used under ``device``, ...).

    Raises:
        FileNotFoundError: an input does not exist; the message names it.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "stage": stage,
        "study": study,
        "seed": seed,
        "settings_digest": digest,
        "settings": dict(settings),
        "inputs": {name: describe_input(name, file) for name, file in inputs.items()},
        "versions": versions(),
        "commit": git_commit(),
        "device": device_name(),
        "threads": threads(),
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_gpu_memory_bytes": peak_gpu_memory_bytes(),
        "started_utc": _utc(started),
        "finished_utc": _utc(time.time()),
        "seconds": round(max(time.time() - started, 0.0), 3),
        "extra": dict(extra or {}),
    }
    write_json(path, record)
    return record


def write_run_manifest(
    path: FilePath, stage: str, study, sections: tuple[str, ...], inputs: Mapping[str, FilePath], started: float,
    *, seed: int | None = None, extra: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """`write_manifest` with the ``sections`` of ``study`` (`fcl.config.study.Study`) that determine the result."""
    dumped = study.dump(*sections)
    settings = {section: dumped[section] for section in sections}
    write_manifest(
        path, stage=stage, study=study.name, digest=study.digest(*sections), inputs=inputs, settings=settings,
        seed=seed, started=started, extra=extra,
    )  # fmt: skip


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON of ``settings``."""
    text = json.dumps(dict(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_input(name: str, file: FilePath) -> dict[str, Any]:
    """Path (relative or bare name), size in bytes and SHA-256 of an input file.

    Raises:
        FileNotFoundError: ``file`` is not a file; the message includes ``name``.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"run manifest: input {name!r} is not a file: {file}")
    return {"file": portable_path(file), "bytes": file.stat().st_size, "sha256": sha256_file(file)}


def portable_path(file: FilePath) -> str:
    """``file`` relative to the working directory, with forward slashes; its bare name if it is elsewhere."""
    file = Path(file)
    try:
        return file.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return file.name


def versions() -> dict[str, str | None]:
    """Versions of Python, fcl and the packages that determine a result; ``None`` for missing packages."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("flexible-cutoff-learning", *PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def git_commit() -> dict[str, Any] | None:
    """``{"sha": 40 hex digits, "modified": bool}`` when fcl is imported from a git checkout, else ``None``.

    ``modified``: whether tracked files of the library or the workflow differ from the commit.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    sha = _git(root, "rev-parse", "HEAD")
    if not sha:
        return None
    watched = ("src", "workflow", "config.yaml")
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *watched)
    return {"sha": sha, "modified": None if status is None else bool(status)}


def device_name() -> str:
    """Name of the GPU if torch is loaded and finds one, else the CPU model (never a host name)."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return processor_name()


def threads() -> int | None:
    """CPU threads used by torch in this process; ``None`` if the stage has not imported torch."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB on Linux, bytes on macOS


def peak_gpu_memory_bytes() -> int | None:
    """Peak memory allocated by torch on the current GPU in bytes; ``None`` without torch or without a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


def processor_name() -> str:
    """The CPU model as reported by the operating system."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
