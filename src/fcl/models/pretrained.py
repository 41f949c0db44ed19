"""Small models and the structures of the embedded set, shipped with the package for trying it out.

This module must not import torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

FOLDER = Path(__file__).parent / "shipped_files"

#: Shipped models: name and description. Their files are NAME.safetensors and NAME.json in `FOLDER`.
MODELS = {
    "embedded": "FCL model of seed 1 of the record of the study embedded: the paper's schedule, shortened, on 384 "
    "structures of the embedded PBEsol set (not MAD); not for science",
    "mini": "FCL model of seed 1 of the mini study as it was before November 2026, with 16 + 40 epochs on the embedded "
    "PBEsol set (not MAD), to try things with; not for science",
}
SPLITS = ("train", "val", "test")


def model_file(model: str | os.PathLike[str]) -> Path:
    """The file of a model, given as a path or, if there is no such file, as the name of a shipped model.

    Raises `FileNotFoundError` if it is neither.
    """
    path = Path(model)
    if path.is_file():
        return path
    if os.fspath(model) in MODELS:
        return FOLDER / f"{model}.safetensors"
    raise FileNotFoundError(f"{path}: no such model file, nor a shipped model ({', '.join(MODELS)})")


def structures(split: str = "test", subset: str | None = None) -> list[Atoms]:
    """Structures of a split of the embedded PBEsol set (not MAD) with their energies (eV) and forces (eV/A).

    ``subset`` selects one subset, such as ``"SHIFTML-molcrys"``. Raises `ValueError` for an unknown split or subset.
    """
    from ase.io import read

    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; there are {', '.join(SPLITS)}")
    frames = read(FOLDER / f"{split}.xyz.gz", ":", format="extxyz")
    known = sorted({atoms.info["subset"] for atoms in frames})
    if subset is not None and subset not in known:
        raise ValueError(f"subset {subset!r} is unknown; there are {', '.join(known)}")
    return [atoms for atoms in frames if subset in (None, atoms.info["subset"])]
