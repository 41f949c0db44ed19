"""The compiled evaluation of tabulated models on CPUs (kernel.cpp), built once per machine with its C++ compiler.

The library lies in the user's cache folder under a hash of source, command and processor. Without a compiler, or where
the folder cannot be written, tables are evaluated by PyTorch.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import weakref
from pathlib import Path

import torch

from fcl.runs.files import atomic_path, cache_folder

logger = logging.getLogger(__name__)
SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread")
#: Flags that not every compiler or processor knows.
EXTRA = ("-march=native", "-mprefer-vector-width=512")
#: Channels are filled up to a multiple of this: 64 bytes of float32.
LANES = 16
#: A build that takes longer (s) has failed.
TIMEOUT = 300
#: Atoms per thread; fewer are not worth it.
ATOMS = 64

_SIZES = ("atoms", "pairs", "elements", "knots", "cells", "threads")
#: What `_packed` makes of the tables, and what belongs to a structure before and after it.
_PACKED = (
    "pair_class", "cutoffs", "interval_start", "interval_width", "cell", "first", "second", "sent", "linear", "up",
    "up_vectors", "hidden_1", "hidden_2", "up_t", "up_vectors_t", "hidden_1_t", "hidden_2_t", "last", "shift",
)  # fmt: skip
_POINTERS = ("row", "i", "j", "vectors", *_PACKED, "energies", "gradient", "forces")
_packs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class _Problem(ctypes.Structure):
    """The structure of this name in kernel.cpp."""

    _fields_ = [(name, ctypes.c_int64) for name in _SIZES] + [(name, ctypes.c_void_p) for name in _POINTERS]


def evaluate(
    tables, rows: torch.Tensor, pair_index: torch.Tensor, vectors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Site energies [n_atoms] (eV), gradient dE/dr_ij [n_pairs, 3] and forces [n_atoms, 3] (eV/A), without autograd.

    ``tables`` is a `fcl.models.mace.tabulated.TabulatedMACE` on the CPU, arguments are those of its `energies_of`;
    results do not depend on the number of threads. Raises `OSError` if there is no library (`available`), `MemoryError`
    and `ValueError` for sizes beyond memory or int32.
    """
    library = _library(*_sizes(tables))
    if tables not in _packs:
        _packs[tables] = _packed(tables)
    atoms, pairs, dtype = len(rows), pair_index.shape[1], vectors.dtype
    energies = torch.empty(atoms, dtype=dtype)
    gradient, forces = torch.empty(pairs, 3, dtype=dtype), torch.empty(atoms, 3, dtype=dtype)
    i, j = pair_index.contiguous()
    structure = (rows.contiguous(), i, j, vectors.detach().contiguous())
    tensors = (*structure, *_packs[tables], energies, gradient, forces)
    threads = max(1, min(torch.get_num_threads(), atoms // ATOMS))
    sizes = (atoms, pairs, len(tables.sent), tables.first.knots, tables.first.cells, threads)
    problem = _Problem(*sizes, *(tensor.data_ptr() for tensor in tensors))
    function = library.fcl_float64 if dtype == torch.float64 else library.fcl_float32
    status = function(ctypes.byref(problem))
    if status == 1:
        raise MemoryError(f"{atoms} atoms with {pairs} pairs do not fit into memory")
    if status:
        raise ValueError(f"{atoms} atoms with {pairs} pairs cannot be evaluated by the compiled program")
    return energies, gradient, forces


def _sizes(tables) -> tuple[int, int]:
    """Channels and width of the last readout, filled up to multiples of `LANES`."""
    return tuple(-(-size // LANES) * LANES for size in (tables.sent.shape[1], len(tables.last)))


def _packed(tables) -> tuple[torch.Tensor, ...]:
    """Tensors in the order of `_PACKED`, filled up with zeros to the sizes of the library."""
    channels, width = _sizes(tables)

    def wide(values: torch.Tensor, *sizes: int) -> torch.Tensor:
        if values.shape[-len(sizes) :] == sizes:
            return values.contiguous()
        padding = [amount for size, have in zip(sizes, values.shape[-len(sizes) :], strict=True)
                   for amount in (size - have, 0)][::-1]  # fmt: skip
        return torch.nn.functional.pad(values, padding).contiguous()

    def doubled(values: torch.Tensor) -> torch.Tensor:
        """Both halves of the last dimension filled up."""
        if values.shape[-1] == 2 * channels:
            return values.contiguous()
        return torch.cat([wide(half, channels) for half in values.chunk(2, dim=-1)], dim=-1).contiguous()

    first = tables.first
    up, up_vectors = wide(tables.up, channels, channels), wide(tables.up_vectors, channels, channels)
    hidden_1 = wide(tables.hidden_1, channels, width)
    hidden_2 = torch.cat([wide(half, channels, width) for half in tables.hidden_2.chunk(2, dim=1)], dim=1)
    maps = (up, up_vectors, hidden_1, hidden_2)
    return (
        tables.pair_class, first.cutoffs, first.start, first.width, first.cell, doubled(first.table),
        doubled(tables.second.table), wide(tables.sent, channels), wide(tables.linear, channels),
        *(matrix.contiguous() for matrix in maps), *(matrix.transpose(1, 2).contiguous() for matrix in maps),
        wide(tables.last, width), tables.shift,
    )  # fmt: skip


def available(tables) -> bool:
    """Whether the library for ``tables`` is there or can be built; says once why not."""
    try:
        _library(*_sizes(tables))
    except OSError as error:
        _say_once(f"tables are evaluated by PyTorch, which is slower: {error}")
        return False
    return True


@functools.cache
def _say_once(text: str) -> None:
    logger.info(text)


def _library(channels: int, width: int) -> ctypes.CDLL:
    found = _loaded(channels, width, os.environ.get("CXX"))
    if isinstance(found, str):
        raise OSError(found)
    return found


@functools.cache
def _loaded(channels: int, width: int, compiler: str | None) -> ctypes.CDLL | str:
    """The library for padded sizes, built if need be; or why there is none, in a sentence."""
    try:
        program = next(filter(None, map(shutil.which, [compiler] if compiler else ["c++", "g++", "clang++"])), None)
        if program is None:
            return f"there is no C++ compiler ({compiler or 'c++'})"
        sizes = (f"-DCHANNELS={channels}", f"-DWIDTH={width}")
        path = cache_folder() / "kernels" / f"{_key(program, sizes)}.so"
        if not path.is_file():
            logger.debug(f"building the program for tabulated models with {program}, once on this machine")
            with atomic_path(path) as temporary:
                _build(program, sizes, temporary)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        return f"building the compiled program failed ({error})"


def _build(program: str, sizes: tuple[str, ...], output: Path) -> None:
    for flags in ((*FLAGS, *EXTRA), FLAGS):
        command = [program, *flags, *sizes, "-o", str(output), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
        if done.returncode == 0 and output.is_file():
            return
    raise OSError((done.stderr.strip() or f"{program} gave no library").splitlines()[0][:200])


def _key(program: str, sizes: tuple[str, ...]) -> str:
    """Hash of all that the library depends on: source, compiler, flags and the processor's instructions."""
    asked = [program, "--version"]
    version = subprocess.run(asked, capture_output=True, text=True, errors="replace", check=False, timeout=60).stdout
    instructions = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        instructions += next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        pass
    parts = (SOURCE.read_text(encoding="utf-8"), version, " ".join((*FLAGS, *EXTRA, *sizes)), instructions)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
