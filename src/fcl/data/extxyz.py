"""Reading structure files in two steps: splitting into one source per frame (cheap), and parsing a source (expensive).

The steps may run in different processes. A source is the text of one frame of an extended XYZ file, or an ASE ``Atoms``
from any other file. Frames in the usual form of extended XYZ are parsed here, all others by ASE after a look at their
text (`fcl.data.frame_text`), with the same results (the library extxyz 0.4.6 is as fast, but rejects or reads
differently some input that is valid: NaN, braces, additional columns, periodicity of a structure without a lattice).
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fcl.data.frame_text import (
    DEFAULT_PROPERTIES,
    TextFault,
    atomic_numbers,
    check_names,
    check_rows,
    header,
    numbers_of,
    periodicity,
)
from fcl.data.frames import FrameError, FrameRules, RawFrame, raw_frame

if TYPE_CHECKING:
    from ase import Atoms

_OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".xyz", ".extxyz") for packed in ("", *_OPEN))
#: Suffixes of ASE's databases.
DATABASES = (".db", ".json", ".aselmdb")

#: What a structure is made of, by the names of ASE and of extended XYZ.
STRUCTURE = frozenset(
    "numbers positions scaled_positions symbols species pos Z cell lattice Lattice pbc Properties natoms formula "
    "momenta tags masses initial_magmoms initial_charges constraints".split()
)

# key=value or key="value" as written by ASE, without escapes, other quotes, lists or a second "="
_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_-]*)=(?:"([^"\\]+)"|([^\s"\'{}\[\]\\=,]+))(?:\s+|$)')
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*")
_SPECIAL_COLUMNS = set("species positions numbers symbols Z move_mask initial_charges masses mass charge".split())


class BrokenFile(FrameError):
    """A file whose remaining frames cannot be located: always an error, since the number of lost frames is unknown."""


def is_extxyz(path: str | Path) -> bool:
    """Whether the file name has a suffix of extended XYZ."""
    return str(path).lower().endswith(SUFFIXES)


def sources(path: str | Path) -> Iterator[tuple[int, Any]]:
    """(index, source) of every frame of a file, in order, with one frame in memory at a time.

    Raises `OSError` for a path that is no file, or `BrokenFile` for a file that is empty, truncated or not text, or
    whose numbers of atoms do not match its lines.
    """
    path = check_file(path)
    index = -1
    read = _texts if is_extxyz(path) else _rows if path.suffix.lower() in DATABASES else _structures
    try:
        for index, source in enumerate(read(path)):
            yield index, source
    except FrameError:
        raise
    except Exception as error:  # gzip, zlib and ASE's readers raise many types for damaged files
        reason = f"cannot be read ({_one_line(error)}); is the file truncated or of another format?"
        raise BrokenFile(path, index + 1, "frame", reason) from error
    if index < 0:
        raise BrokenFile(path, 0, "frame", "the file contains no frames")


def check_file(path: str | Path) -> Path:
    """``path`` if it is a file; `OSError` with a one-sentence message if not."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file of structures")
    if path.is_file():
        return path
    if path.exists():
        raise OSError(f"{path}: is no file on a disk, and it has to be read more than once")
    file, at, _ = str(path).rpartition("@")
    if at and Path(file).is_file():
        reason = "but frames are not chosen with @: write those that you want to a file of their own"
        raise FileNotFoundError(f"{path}: no such file ({file} is there, {reason})")
    raise FileNotFoundError(f"{path}: no such file")


def parse(path: str | Path, index: int, source: Any, rules: FrameRules) -> RawFrame:
    """Structure and labels of a source; `FrameError` if it cannot be read."""
    raw = _usual_frame(_text(path, index, source), rules) if isinstance(source, bytes) else None
    if raw is not None:
        return raw
    try:
        return raw_frame(atoms_of(path, index, source, _names(rules)), rules, columns=isinstance(source, bytes))
    except TextFault as error:
        raise FrameError(Path(path), index, error.key, error.reason) from error


def _names(rules: FrameRules) -> tuple[str | None, ...]:
    """Keys of what is text and no number."""
    return rules.subset, rules.split_key, rules.parent, rules.fidelity_key


def atoms_of(path: str | Path, index: int, source: Any, names: Collection[str | None] | None = ()) -> Atoms:
    """A source as read by ASE, with the values of ``names`` as text (None: all); `FrameError` if it cannot be read.

    Results of the structure (energy, stress) are those of the comment line: a column of that name is an array.
    """
    if not isinstance(source, bytes):
        return source
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import per_config_properties, read_xyz

    text = _text(path, index, source)
    first, line, *rows = text.split("\n")
    try:
        values = header(line, names)
        check_rows(values.get("Properties"), rows[: int(first)])
        labels = {key: values.pop(key) for key in per_config_properties if key in values}
        atoms = next(read_xyz(io.StringIO(text), index=0, properties_parser=lambda _: values))
    except TextFault as error:
        raise FrameError(Path(path), index, error.key, error.reason) from error
    except Exception as error:  # ASE raises many types for unreadable text
        raise FrameError(Path(path), index, "frame", f"cannot be read ({_one_line(error)})") from error
    results = {} if atoms.calc is None else atoms.calc.results
    for key in results.keys() & set(per_config_properties):
        atoms.arrays[key] = results.pop(key)
    if labels or results:
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.calc.results |= labels  # as they are: checked where they are used
    return atoms


def _text(path: str | Path, index: int, source: bytes) -> str:
    try:
        return source.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise FrameError(Path(path), index, "frame", f"cannot be read: not UTF-8 text ({error})") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _structures(path: Path) -> Iterator[Any]:
    """What ASE reads; extended XYZ under another name is not left to it."""
    from ase.io import iread
    from ase.io.formats import filetype

    if filetype(str(path)) in ("xyz", "extxyz"):
        yield from _texts(path)
        return
    yield from iread(path, index=":", do_not_split_by_at_sign=True)


def _rows(path: Path) -> Iterator[Atoms]:
    """The structures of an ASE database; key-value pairs and data become ``info``, or ``arrays`` if one value per atom.

    ASE leaves them out. Those named as a part of the structure (`STRUCTURE`) are not read: it has these already.
    """
    from ase.db import connect

    with connect(path, path.suffix.lower()[1:], use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            for key, value in {**row.data, **row.key_value_pairs}.items():
                if key in STRUCTURE:
                    continue
                per_atom = isinstance(value, np.ndarray) and value.ndim in (1, 2) and len(value) == len(atoms)
                (atoms.arrays if per_atom else atoms.info)[key] = value
            yield atoms


def _texts(path: Path) -> Iterator[bytes]:
    """The text of each frame of an extended XYZ file."""
    unpacked = _OPEN.get(path.suffix.lower())
    damaged = (EOFError, zlib.error, lzma.LZMAError, OSError) if unpacked else ()
    with unpacked(path, "rb") if unpacked else path.open("rb") as stream:
        index = 0
        try:
            while (text := _next_text(path, index, stream)) is not None:
                yield text
                index += 1
        except damaged as error:
            kind = unpacked.__module__  # gzip, bz2 or lzma
            raise BrokenFile(path, index, "frame", f"cannot be read: damaged or truncated {kind} ({error})") from error


def _next_text(path: Path, index: int, stream: IO[bytes]) -> bytes | None:
    first = stream.readline()
    if not index:
        first = first.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of programs for Windows
    if not first.strip():
        if rest := next((line for line in stream if line.strip()), None):
            shown = rest.decode("utf-8", "replace").strip()[:40]
            raise BrokenFile(path, index, "frame", f"blank line instead of the number of atoms, followed by {shown!r}")
        return None
    try:
        atoms = int(first) if b"_" not in first else -1
    except ValueError:
        atoms = -1
    if not 0 <= atoms < 2**31:
        shown = first.decode("utf-8", "replace").strip()[:40]
        reason = f"expected the number of atoms, found {shown!r}; are those of the previous frames right?"
        raise BrokenFile(path, index, "frame", reason)
    lines = list(islice(stream, atoms + 1))
    if len(lines) < atoms + 1:
        reason = f"cannot be read: {max(len(lines) - 1, 0)} of {atoms} atoms; is the file truncated?"
        raise BrokenFile(path, index, "frame", reason)
    return first + b"".join(lines)


def _usual_frame(text: str, rules: FrameRules) -> RawFrame | None:
    """The frame if it has the form written by ASE and in the data sets; None: it has to be read by ASE."""
    first, header, *rows = text.split("\n")
    values = _header(header.strip())
    if values is None or "\r" in text:
        return None
    layout = _layout(values.get("Properties", DEFAULT_PROPERTIES))
    if layout is None:
        return None
    width, columns = layout
    keys = _names(rules)
    named = [key for key in (rules.energy, rules.stress, rules.virial, *keys) if key is not None]
    if columns.keys() & named or rules.forces in values or len({*named, rules.forces}) <= len(named):
        return None
    cell, pbc = _cell(values)
    energy, stress = _number(values.get(rules.energy)), _stress(values, rules.virial or rules.stress)
    if cell is None or pbc is None or energy is ... or stress is ...:
        return None
    subset, split, parent, fidelity = (values.get(str(key)) for key in keys)
    table = _table(rows, int(first), width)
    if table is None:
        return None
    numbers, reals = table
    forces = columns.get(rules.forces)
    names = (*values, *columns)
    return RawFrame(
        numbers, _column(reals, columns["pos"]), cell, pbc, energy, _column(reals, forces), subset, split,
        tuple(name for name in names if name not in ("Lattice", "pbc", "Properties", "species", "pos")),
        stress, parent, fidelity,
    )  # fmt: skip


def _table(rows: list[str], n: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Atomic numbers [n] and real columns [n, width - 1] of rows that begin with a symbol; None if any row is unusual.

    All fields are split at once. Each row has ``width`` fields if the total is right and every row begins with a
    capital letter, since only symbols do (infinities and NaN are left to ASE).
    """
    initials = "".join([row[:1] for row in rows[:n]])
    fields = " ".join(rows[:n]).split()
    if not (len(initials) == n and initials.isalpha() and initials.isupper() and len(fields) == n * width):
        return None
    known = atomic_numbers()
    try:
        numbers = np.array([known[symbol] for symbol in fields[::width]], dtype=np.int64)
        del fields[::width]
        reals = np.array(list(map(float, fields))).reshape(n, width - 1)
    except (KeyError, ValueError):
        return None
    if any("_" in row for row in rows[:n]):  # no digit separators, as in Python
        return None
    return (numbers, reals) if np.isfinite(np.vdot(reals, reals)) else None


def _column(reals: np.ndarray, place: tuple[int, int] | None) -> np.ndarray | None:
    """One property of all atoms: [n] or [n, count]; None if absent."""
    if place is None:
        return None
    first, count = place
    return reals[:, first] if count == 1 else reals[:, first : first + count]


def _header(line: str) -> dict[str, str] | None:
    """Keys and values of the comment line as text, or None if any part is unusual or wrong."""
    values: dict[str, str] = {}
    place = 0
    while place < len(line):
        match = _PAIR.match(line, place)
        if match is None:
            return None
        key, quoted, bare = match.groups()
        if key in values:
            return None
        values[key] = bare if quoted is None else quoted
        place = match.end()
        if key == "virial" or values[key].startswith("_JSON"):
            return None
    try:
        check_names(values)
    except TextFault:
        return None
    return values


@functools.lru_cache(maxsize=64)
def _layout(properties: str) -> tuple[int, dict[str, tuple[int, int]]] | None:
    """Fields per row, and (first, count) of each property among the real fields; None unless symbols, then reals."""
    if not properties.startswith("species:S:1:"):
        return None
    fields = properties.split(":")[3:]
    columns: dict[str, tuple[int, int]] = {}
    width = 0
    if len(fields) % 3:
        return None
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if kind != "R" or not count.isascii() or not count.isdigit() or int(count) < 1:
            return None
        if not _NAME.fullmatch(name) or name in columns or name in _SPECIAL_COLUMNS:
            return None
        columns[name] = (width, int(count))
        width += int(count)
    return (width + 1, columns) if columns.get("pos", (0, 0))[1] == 3 else None


def _cell(values: dict[str, str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(cell [3, 3], pbc [3]): with a lattice, periodic by default; None if invalid."""
    cell, pbc = np.zeros((3, 3)), np.full(3, "Lattice" in values)
    if "Lattice" in values:
        cell = numbers_of(values["Lattice"])
        cell = cell.reshape(3, 3) if cell is not None and len(cell) == 9 else None
    if "pbc" in values:
        try:
            pbc = np.array(periodicity(values["pbc"]))
        except TextFault:
            pbc = None
    return cell, pbc


def _number(text: str | None) -> Any:
    """A float; None if absent, an ellipsis if ASE has to read it."""
    if text is None:
        return None
    try:
        return float(text) if "_" not in text else ...
    except ValueError:
        return ...


def _stress(values: dict[str, str], key: str | None) -> Any:
    """[6] (xx, yy, zz, yz, xz, xy) or [9]; None if absent, an ellipsis if `header` has to judge it."""
    special = numbers_of(values.get("stress", ""))
    if "stress" in values and (special is None or len(special) != 9):
        return ...
    if key is None or key not in values:
        return None
    own = numbers_of(values[key])
    return ... if own is None or len(own) not in (6, 9) else own
