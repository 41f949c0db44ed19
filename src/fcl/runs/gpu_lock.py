"""One GPU per job on a machine with several: lock files mark the devices in use.

Snakemake limits how many jobs with the tag ``gpu`` run at a time (``--resources gpu=N``) but does not assign devices to
them; all would use the first. This module does not import torch: CUDA reads ``CUDA_VISIBLE_DEVICES`` only once.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

VARIABLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 1.0
#: The lock of this process, until it exits, for whatever reason.
_held: list[FileLock] = []


def visible_devices() -> tuple[str, ...]:
    """Names (indices or UUIDs) of the NVIDIA GPUs that this process may use; ``CUDA_VISIBLE_DEVICES`` takes precedence.

    UUIDs if the variable is not set, as nvidia-smi and CUDA order devices differently. Empty without GPU or driver.
    """
    listed = os.environ.get(VARIABLE)
    if listed is None:
        return _installed_devices()
    names = [name.strip() for name in listed.split(",")]
    end = next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return tuple(dict.fromkeys(names[:end]))  # as in CUDA: the first invalid name ends the list


def _installed_devices() -> tuple[str, ...]:
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_device_list(done.stdout) if done.returncode == 0 else ()


def parse_device_list(text: str) -> tuple[str, ...]:
    """UUIDs in the output of ``nvidia-smi -L``; for a GPU partitioned by MIG, those of its instances."""
    devices: list[str] = []
    for line in text.splitlines():
        found = re.search(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", line)
        if found is None:
            continue
        if found[1].startswith("MIG-") and devices and devices[-1].startswith("GPU-"):
            devices.pop()  # the parent GPU: CUDA can use its instances only
        devices.append(found[1])
    return tuple(devices)


def lock_folder() -> Path:
    """Directory of the lock files: local to the machine, shared by all workflows of one user."""
    return Path(tempfile.gettempdir()) / f"fcl-devices-{os.getuid()}"


def claim_device(devices: Sequence[str] | None = None, folder: Path | None = None) -> str | None:
    """Claim a free GPU for the lifetime of this process and make it the only visible one; waits while none is free.

    Args:
        devices: names to choose from; default :func:`visible_devices`.
        folder: directory of the lock files; default :func:`lock_folder`.

    Returns:
        The name, also set as ``CUDA_VISIBLE_DEVICES``; None, with nothing done, if there is nothing to choose: no GPU
        or just one, as in a job whose GPU was assigned by a scheduler.
    """
    devices = visible_devices() if devices is None else tuple(devices)
    if len(devices) < 2:
        return None
    folder = lock_folder() if folder is None else folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = False
    while True:
        for name in devices:
            lock = FileLock(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock", blocking=False)
            with suppress(Timeout):
                lock.acquire()
                _held.append(lock)
                os.environ[VARIABLE] = name
                logger.info(f"GPU {name}, one of {len(devices)}")
                return name
        if not waiting:
            logger.info(
                f"all {len(devices)} GPUs are taken: waiting (--resources gpu={len(devices)} starts no more jobs)"
            )
            waiting = True
        time.sleep(POLL_SECONDS)
