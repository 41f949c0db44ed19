"""Structures of a user's own: any file that ASE reads, with labels or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fcl.data.frames import Frame, FrameError, has_volume, read_frames


def read_structures(path: str | Path, num_elements: int = 118) -> list:
    """The ASE structures of a file, without their labels.

    Raises `FileNotFoundError`, or `FrameError` that names file, frame (from 0) and key: unreadable, no atoms, values
    that are not finite, no volume along periodic directions, elements beyond ``num_elements``.
    """
    from ase.io import read

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        structures = read(path, index=":")
    except Exception as error:  # ASE raises many kinds for unreadable text; all mean the same to the reader
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise FrameError(path, 0, "frame", f"cannot be read as a structure ({reason[0]})") from error
    if not structures:
        raise FrameError(path, 0, "frame", "the file holds no frame")
    for index, atoms in enumerate(structures):
        if not len(atoms):
            raise FrameError(path, index, "positions", "the structure has no atoms")
        for key, values in (("positions", atoms.positions), ("Lattice", atoms.cell.array)):
            if not np.isfinite(values).all():
                raise FrameError(path, index, key, "holds values that are not finite")
        pbc = np.asarray(atoms.pbc)
        if not has_volume(atoms.cell.array, pbc):
            raise FrameError(path, index, "Lattice", f"no volume along the periodic directions {pbc.tolist()}")
        _check_elements(path, index, atoms.numbers, num_elements)
        atoms.calc = None
    return structures


def frames_of(
    path: str | Path, *, labels: bool = True, subset: str | None = None, num_elements: int = 118
) -> list[Frame]:
    """The frames of a file, of ``subset`` only where it is named; without ``labels`` energies and forces are zero.

    Raises `FileNotFoundError`, `FrameError` as `read_structures` and `read_frames`, or `ValueError` for a subset that
    the file does not hold.
    """
    if labels:
        frames = list(read_frames(path))
        for index, frame in enumerate(frames):
            _check_elements(Path(path), index, frame.numbers, num_elements)
    else:
        frames = [
            Frame(
                numbers=atoms.numbers.astype(np.int64),
                positions=np.asarray(atoms.positions, dtype=np.float64),
                cell=np.asarray(atoms.cell.array, dtype=np.float64),
                pbc=np.asarray(atoms.pbc, dtype=bool),
                energy=0.0,
                forces=np.zeros((len(atoms), 3)),
                subset=str(atoms.info.get("subset", "default")),
                split="",
            )
            for atoms in read_structures(path, num_elements)
        ]
    if subset is None:
        return frames
    known = sorted({frame.subset for frame in frames})
    if subset not in known:
        raise ValueError(f"{path}: no frame of subset {subset!r}; there are {', '.join(known)}")
    return [frame for frame in frames if frame.subset == subset]


def _check_elements(path: Path, index: int, numbers: np.ndarray, num_elements: int) -> None:
    outside = numbers[(numbers < 1) | (numbers > num_elements)]
    if len(outside):
        from ase.data import chemical_symbols

        names = ", ".join(sorted({chemical_symbols[z] for z in outside}))
        raise FrameError(path, index, "species", f"{names}: the model has the elements Z = 1-{num_elements}")
