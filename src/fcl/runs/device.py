"""Device and floating-point precision, by name or by settings."""

from __future__ import annotations

import functools
import logging
import os

import torch

logger = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The torch dtype for ``"float32"`` or ``"float64"``, given by name or as a dtype; `ValueError` for any other."""
    if dtype in DTYPES.values():
        return dtype
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is unknown; known are {', '.join(DTYPES)}")
    return DTYPES[dtype]


def torch_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; None or "auto" uses a GPU if there is one.

    `ValueError` if it is not available, or holds no values (``meta``).
    """
    if device is None or device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    reason = ""
    try:
        found = torch.empty(0, device=device).device  # with its index: "cuda" is then "cuda:0"
        if found.type != "meta":
            return found
    except Exception as error:  # an unknown name, a build without it, no driver: torch raises many types
        if str(device).startswith("cuda") and str(error):
            reason = f" ({str(error).splitlines()[0][:200]})"
    known = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
    known += ", mps" if torch.backends.mps.is_available() else ""
    raise ValueError(f"device {str(device)!r} cannot be used here{reason}; there are {known}")


def set_up(compute) -> tuple[torch.dtype, torch.device]:
    """Precision and device of `fcl.config.sections.ComputeSettings`.

    Also sets the number of threads and the precision of float32 matrix products.
    """
    if forked() and compute.threads > 1:
        logger.warning(f"compute.threads: 1 instead of {compute.threads}, as this process is a fork of a threaded one")
    torch.set_num_threads(1 if forked() else compute.threads)
    torch.set_float32_matmul_precision("high" if compute.tf32 else "highest")
    return torch_dtype(compute.dtype), torch_device(compute.device)


_forked = False


def forked() -> bool:
    """Whether this process is a fork of one that loaded a model and computed with several threads."""
    return _forked


def _one_thread() -> None:
    global _forked
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        _forked = True


@functools.cache
def survive_forks() -> None:
    """From now on, forks of this process compute with one thread.

    OpenMP's other threads do not exist in a fork, which would wait for them forever: use one process per core.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_one_thread)
