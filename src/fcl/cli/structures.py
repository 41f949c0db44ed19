"""Structures in and out of the commands: cutoffs checked frame by frame, and results in the format of the suffix."""

from __future__ import annotations

import gzip
import io
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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


#: Labels that are no results by the names of ASE, but the same quantities.
LABELS = frozenset({"virial", "virials"})

#: Columns of extended XYZ with a meaning of their own, beside the symbols and positions that are written.
_OWN_COLUMNS = {"numbers", "positions"}
_TAKEN_COLUMNS = {"species", "symbols", "pos", "Z", "move_mask", "charge", "mass"}
_BARE = re.compile(r"[^\s\"'{}\[\]\\=]+")


@contextmanager
def about(path: Path, frame: int) -> Iterator[None]:
    """Name file and frame in what a model or a program says of a structure."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{path}: frame {frame}: {error}") from None
    except NotImplementedError as error:  # what ASE cannot do, such as some constraints
        of_constraints = _raised_in(error).startswith("ase.constraints.")
        if not (of_constraints or str(error)):
            raise
        reason = str(error) or "ASE does not support this for those of the structure"
        raise ValueError(f"{path}: frame {frame}: {'constraints: ' if of_constraints else ''}{reason}") from None
    except MemoryError as error:
        raise ValueError(f"{path}: frame {frame}: not enough memory ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: frame {frame}: {error}") from None


def _raised_in(error: Exception) -> str:
    """Name of the module that raised ``error``."""
    *_, last = traceback.walk_tb(error.__traceback__)
    return last[0].f_globals.get("__name__", "")


def check_cutoffs(choice, path: Path, frames: Iterable[tuple[int, Any]]) -> None:
    """`ValueError` naming the first of ``frames`` (number, atomic numbers) with an element without a cutoff."""
    for index, numbers in frames:
        with about(path, index):
            choice.for_candidates(numbers)


def labelled(atoms):
    """Copy with the results attached, for writing.

    Constraints are kept and do not change the forces. Labels under a name that ASE gives to a result, and the virial,
    are left out: beside the energy and forces of the model they would be taken for its results. Text of several lines
    and empty text in ``info`` cannot be written: the former is joined, the latter left out.
    """
    from ase.calculators.calculator import all_properties
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    results = {key: value for key, value in atoms.calc.results.items() if key not in ("energies", "free_energy")}
    for key in copy.arrays.keys() & LABELS.union(all_properties):
        del copy.arrays[key]
    info = copy.info | {key: _one_line(value) for key, value in copy.info.items() if isinstance(value, str)}
    left_out = LABELS.union(all_properties)
    copy.info = {key: value for key, value in info.items() if key not in left_out and not _is_empty(value)}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def _one_line(text: str) -> str:
    """``text`` as it is if it is one line; several are joined, and blanks alone are no text."""
    if text.splitlines() == [text] and not text.isspace():
        return text
    return " ".join(line.strip() for line in text.splitlines()).strip()


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict) and not value)


def largest_force(atoms) -> float:
    """Largest force on an atom (eV/A) as written: constraints are not applied."""
    return float((atoms.calc.results["forces"] ** 2).sum(1).max() ** 0.5)


@contextmanager
def structure_writer(path: Path, output: Path | None = None) -> Iterator[Any]:
    """A function that appends an ASE structure with its results to ``path``; each one is in the file at once.

    The format is that of the suffix of ``output`` (None: ``path``), one of `SUFFIXES`. The first structure makes the
    file, so that a run which fails before it leaves everything as it was.
    """
    output = output or path
    trajectory = output.name.lower().endswith(".traj")
    with ExitStack() as stack:
        opened: list[Any] = []

        def append(atoms) -> None:
            copy = labelled(atoms)
            text, lost = ("", copy.arrays.keys() - COLUMNS) if trajectory else extxyz_text(copy)
            _warn(output, lost)
            if not opened:
                opened.append(stack.enter_context(_open(path, output)))
            if trajectory:
                opened[0].write(copy)
            else:
                opened[0].write(text)
                opened[0].flush()

        yield append


def _open(path: Path, output: Path):
    name = output.name.lower()
    if name.endswith(".traj"):
        from ase.io.trajectory import Trajectory

        return Trajectory(path, "w")
    return (gzip.open if name.endswith(".gz") else open)(path, "wt", encoding="utf-8")


def _warn(output: Path, lost: Iterable[str]) -> None:
    if lost := sorted(lost):
        warnings.warn(f"{output}: {''.join(output.suffixes[-2:])} does not keep {', '.join(lost)}", stacklevel=3)


def extxyz_text(atoms) -> tuple[str, set[str]]:
    """The frame as extended XYZ that our reader takes, and what was left out because the format has no way to write it.

    Changes ``atoms``. Texts in ``info`` are written as they are; ASE's writer alone loses backslashes and tabs, and
    writes what its reader refuses (a ``cell``, columns of three dimensions, names with colons).
    """
    from ase.constraints import FixAtoms, FixCartesian
    from ase.io.extxyz import write_extxyz

    lost = {type(one).__name__ for one in atoms.constraints if not isinstance(one, FixAtoms | FixCartesian)}
    structure = 'pbc="T T T" Properties=species:S:1:pos:R:3 '
    structure += 'Lattice="1 0 0 0 1 0 0 0 1" ' if atoms.cell.any() else ""
    items = []
    for key, value in atoms.info.items():
        text = _item(key, value, structure)
        if text is None:
            lost.add(str(key))
        else:
            items.append(text + " ")
    atoms.info = {}
    several = {f"{name}{k}" for name, one in atoms.arrays.items() if one.ndim == 2 for k in range(one.shape[1])}
    for name in [name for name in atoms.arrays if name not in _OWN_COLUMNS]:
        column = _column(name, atoms.arrays.pop(name))
        if column is None or name in several:  # ASE numbers the fields of a column
            lost.add(str(name))
        else:
            atoms.arrays[name] = column
    stream = io.StringIO()
    write_extxyz(stream, [atoms])
    return re.sub(r"Properties=\S+ ", lambda found: found[0] + "".join(items), stream.getvalue(), count=1), lost


def _item(key: Any, value: Any, structure: str) -> str | None:
    """``key=value`` if our reader finds the same key and text there, after the keys of the ``structure``."""
    from ase.io.extxyz import key_val_dict_to_str

    from fcl.data.frame_text import header

    if not isinstance(key, str) or not key:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plain = _quoted(value) if isinstance(value, str) else key_val_dict_to_str({"x": value})[2:]
        if plain.startswith('"_JSON') and not isinstance(value, str):  # ASE does not escape the backslashes in it
            plain = _quoted(plain[1:-1].replace('\\"', '"'))
        text = f"{_quoted(key)}={plain}"
        found, known = header(structure + text, names=None), header(structure)
        header(structure + text)  # values converted, as other programs do
    except Exception:  # of what cannot be written or read back, ASE and JSON raise many types
        return None
    if list(found) != [*known, key] or len(text.splitlines()) != 1 or (isinstance(value, str) and found[key] != value):
        return None
    return text


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _column(name: Any, values: Any) -> Any | None:
    """Values per atom as a column, with types that can be written; None if they or the name cannot be."""
    import numpy as np

    if not isinstance(name, str) or name in _TAKEN_COLUMNS or ":" in name or not _BARE.fullmatch(name):
        return None
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
        return None
    if values.dtype.kind in "fiub":
        return values.astype(np.int64) if values.dtype.kind == "u" else values
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in values.flat]
    if not all(isinstance(word, str) and len(word.split()) == 1 and word == word.strip() for word in words):
        return None
    return np.array(words, dtype=str).reshape(values.shape)
