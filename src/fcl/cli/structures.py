"""Structures in and out of the commands: cutoffs checked frame by frame, and results in the format of the suffix."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcl.cli.common import check_output

#: Formats that keep energy, forces, stress and the values of a frame: extended XYZ and ASE's trajectory.
SUFFIXES = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz", ".traj")

#: Columns that a trajectory of ASE keeps.
COLUMNS = {"numbers", "positions", "momenta", "tags", "masses", "initial_magmoms", "initial_charges"}


def check_structures(output: Path, overwrite: bool) -> None:
    """`check_output`, and `ValueError` for a suffix of another format, before anything is computed."""
    if not output.is_dir() and not output.name.lower().endswith(SUFFIXES):
        kept = "keep energies, forces, stress and the values of a frame"
        raise ValueError(f"{output}: the suffix is the format; those that {kept} are {', '.join(SUFFIXES)}")
    check_output(output, overwrite)


@contextmanager
def about(path: Path, frame: int) -> Iterator[None]:
    """Name file and frame in what a model or a program says of a structure."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{path}: frame {frame}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: frame {frame}: {error}") from None


def check_cutoffs(choice, path: Path, frames: Iterable[tuple[int, Any]]) -> None:
    """`ValueError` naming the first of ``frames`` (number, atomic numbers) with an element without a cutoff."""
    for index, numbers in frames:
        with about(path, index):
            choice.of(numbers)


def labelled(atoms):
    """Copy with the results attached, for writing. They replace labels of the same names.

    Constraints are kept and do not change the forces. Text of several lines and empty text in ``info`` cannot be
    written: the former is joined, the latter left out.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    results = {key: value for key, value in atoms.calc.results.items() if key not in ("energies", "free_energy")}
    for key in results.keys() & copy.arrays.keys():
        del copy.arrays[key]
    info = {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in copy.info.items()}
    copy.info = {key: value for key, value in info.items() if key not in results and str(value)}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def largest_force(atoms) -> float:
    """Largest force on an atom (eV/A) as written: constraints are not applied."""
    return float((atoms.calc.results["forces"] ** 2).sum(1).max() ** 0.5)


@contextmanager
def structure_writer(path: Path, output: Path | None = None) -> Iterator[Any]:
    """A function that appends an ASE structure with its results to ``path``; each one is in the file at once.

    The format is that of the suffix of ``output`` (None: ``path``), one of `SUFFIXES`.
    """
    name = (output or path).name.lower()
    if name.endswith(".traj"):
        from ase.io.trajectory import Trajectory

        with Trajectory(path, "w") as trajectory:

            def append(atoms) -> None:
                if lost := atoms.arrays.keys() - COLUMNS:
                    warnings.warn(f"{output or path}: .traj does not keep {', '.join(sorted(lost))}", stacklevel=2)
                trajectory.write(labelled(atoms))

            yield append
        return
    from ase.io.extxyz import write_extxyz

    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8") as stream:

        def append(atoms) -> None:
            write_extxyz(stream, [labelled(atoms)])
            stream.flush()

        yield append
