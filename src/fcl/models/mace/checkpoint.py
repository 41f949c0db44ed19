"""Reading a checkpoint of mace-torch as data: nothing that the file names is imported, built or called.

A checkpoint (``torch.save(model)``) is a pickle, a list of instructions that name classes and functions and call them;
unpickled as usual it can run any program. Here each name becomes a `Record` of what it was called with, whatever it
means; only tensors and the plain containers are made. Names outside `ROOTS` are refused before that, since no
model needs them: they show that the file is something else.
"""

from __future__ import annotations

import collections
import functools
import pickle
import types
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Packages whose classes and functions a checkpoint may name.
ROOTS = ("torch", "mace", "e3nn", "numpy", "collections", "opt_einsum_fx", "functools", "copyreg", "_codecs")
#: What is made as it is named: containers and numbers, and tensors from the numbers in the file.
PLAIN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{
        ("builtins", kind.__name__): kind
        for kind in (bool, bytearray, complex, dict, float, frozenset, int, list, set, slice, str, tuple)
    },
    **{
        ("torch._utils", name): getattr(torch._utils, name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    },
}


class CheckpointError(ValueError):
    """A file that is not a checkpoint of a supported MACE; the message names the file and what is wrong."""


class Record:
    """What the file says of an object: ``path`` (module and name), ``args`` of the call, ``state``."""

    path = ""

    def __new__(cls, *args, **_):
        record = super().__new__(cls)
        record.args, record.state, record.items = args, {}, []
        return record

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state) -> None:
        self.state = state

    def append(self, item) -> None:
        self.items.append(item)

    def extend(self, items) -> None:
        self.items += items

    def __setitem__(self, key, value) -> None:
        self.items.append((key, value))

    def __hash__(self) -> int:
        return id(self)

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def get(self, name: str, default: Any = None) -> Any:
        """Attribute ``name`` of a recorded object; parameters, buffers and submodules of a module are among them."""
        for part in (self.state, *(self.state.get(kind) or {} for kind in ("_parameters", "_buffers", "_modules"))):
            if name in part:
                return part[name]
        return default

    def at(self, path: str) -> Any:
        """The attribute at the dotted ``path``, None if there is none."""
        found: Any = self
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Record) else None
        return found

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters and buffers of a module and its submodules by the names of its state dict."""
        for kind in ("_parameters", "_buffers"):
            for name, value in (self.state.get(kind) or {}).items():
                if isinstance(value, torch.Tensor):
                    yield prefix + name, value.detach()
        for name, module in (self.state.get("_modules") or {}).items():
            if isinstance(module, Record) and isinstance(module.state, dict):
                yield from module.tensors(f"{prefix}{name}.")


@functools.cache
def _record(path: str) -> type[Record]:
    return type(path.rpartition(".")[2], (Record,), {"path": path})


def _attribute(owner, name: str, *_) -> type[Record]:
    """``getattr`` of recorded things, as in ``torch._C._VariableFunctionsClass.tanh``."""
    return _record(f"{getattr(owner, 'path', '')}.{name}")


class _Reader(pickle.Unpickler):
    """Unpickler that records instead of importing."""

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if (module, name) == ("builtins", "getattr"):
            return _attribute
        if module.partition(".")[0] not in ROOTS:
            raise CheckpointError(f"names {module}.{name}, which no model needs: refused, and nothing of it was run")
        return _record(f"{module}.{name}")


def read_checkpoint(path: str | Path) -> Record:
    """The object that was saved in ``path``, recorded.

    Raises `FileNotFoundError`, or `CheckpointError` for a file that is not a zip archive of ``torch.save``, is damaged,
    or names anything outside of `ROOTS`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        reason = "damaged, or from torch before 1.6: load and save it again with a newer one"
        raise CheckpointError(f"{path}: not an archive as torch.save writes it ({reason})") from None
    if "constants.pkl" in names:
        raise CheckpointError(f"{path}: a TorchScript program, from which no weights are taken: give the .model file")
    if "data.pkl" not in names:
        raise CheckpointError(f"{path}: an archive without data.pkl, not as torch.save writes it")
    reader = types.SimpleNamespace(Unpickler=_Reader, load=None, __name__="fcl")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about pickles
            found = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # whatever a damaged pickle leads to
        reason = str(error).strip().partition("\n")[0][:200]
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {reason})") from None
    if not isinstance(found, Record):
        hint = ": the weights alone; give the .model file" if isinstance(found, dict) else ""
        raise CheckpointError(f"{path}: holds a {type(found).__name__}, not a model{hint}")
    return found


def number(value: Any) -> float:
    """A recorded number: of Python, NumPy or a tensor. Raises `ValueError` for anything else."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, Record) and value.path.endswith("multiarray.scalar"):
        kind, data = value.args
        if kind.args[0] in ("f4", "f8", "i4", "i8") and data.path == "_codecs.encode":
            return float(np.frombuffer(data.args[0].encode("latin1"), f"<{kind.args[0]}")[0])
    if isinstance(value, bool | int | float):
        return float(value)
    raise ValueError(f"{getattr(value, 'path', value)!r} is not a number")


def irreps(value: Any) -> str | None:
    """Recorded irreps of e3nn, or their text, as ``8x0e + 8x1o``; None for None."""
    if value is None or isinstance(value, str):
        return value
    parts = []
    for part in value.args[0]:
        multiplicity, irrep = part.args[0]
        degree, parity = irrep.args[0]
        parts.append(f"{int(multiplicity)}x{int(degree)}{'e' if parity > 0 else 'o'}")
    return " + ".join(parts)
