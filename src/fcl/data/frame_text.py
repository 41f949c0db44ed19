"""The text of an extended XYZ frame: keys and values of the comment line, and whether the rows fit ``Properties``.

This is not left to ASE, which takes some text for something else without an error: ``pbc=FFF`` and ``pbc=no`` for
periodic, a lattice under another name for none, what follows an empty key for its value, missing positions for zeros.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

PBC = "three of T, F, True, False, 1, 0 (as T T F or TTF), or one of them for all directions"
LATTICE = "9 numbers (A), the three lattice vectors one after the other"
COLUMNS = "name, type (R, I, S or L) and number of columns of each property, as species:S:1:pos:R:3"
STRESS = "9 numbers, or the 6 numbers xx, yy, zz, yz, xz, xy"

DEFAULT_PROPERTIES = "species:S:1:pos:R:3"

# A word may have parts in quotes, braces or brackets, and a backslash before any character.
_PIECE = r"""(?:"(?:\\.|[^"\\])*+"|'(?:\\.|[^'\\])*+'|\{(?:\\.|[^}\\])*+}|\[(?:\\.|[^]\\])*+]|\\.|[^\s="'{[\\]+)"""
_ITEM = re.compile(rf"({_PIECE}++)(?:\s*=(\s*)({_PIECE}*+)((?:=|{_PIECE})*+))?(?=\s|$)\s*")
_PIECES = re.compile(rf"{_PIECE}|=")
#: What is no name of a flag, but the next word of a value that lacks its quotes, as in pbc=T T F.
_WORD_OF_SEVERAL = re.compile(r"(?:[-+]?[.\d][-+.\deE]*|[tf]|true|false),?", re.IGNORECASE)
_FLAGS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_PUNCTUATION = str.maketrans("[](){}\"',", " " * 9)

#: The keys of the structure, and what stands under them.
_STRUCTURE = {"Lattice": LATTICE, "pbc": PBC, "Properties": COLUMNS}
#: Names that may stand for the lattice where 3, 6 or 9 numbers follow, in small letters without - and _.
_LATTICE_NAMES = re.compile(
    r".*(?:cell|lattice|box)|(?:latt|h|hmatrix|abc|vectors|latticevectors|uc|dimensions?|cryst1?)$"
)
#: Ends of three keys that may be the lattice, as its vectors one by one or as its lengths, and what stands before them.
_LATTICE_PARTS = ("abc", "123", "xyz")
_LATTICE_STEMS = ("", "a", "tv", "vec", "vector", "cell", "lattice", "latticevector", "box")
#: A lattice in words, as i-PI writes it: CELL(abcABC): 5 5 5 90 90 90
_LATTICE_IN_WORDS = re.compile(
    r"\b(?:(?:unit)?cell|lattice|box|cryst1)\b[^=\d]*?[-+]?\d[^\s,]*(?:[\s,]+[-+]?\d[^\s,]*){2}", re.IGNORECASE
)
_PBC_NAMES = ("pbc", "pbcs", "pcb", "periodic", "periodicity", "periodicboundaryconditions")
#: Periodicity as other programs have it: the names of the directions, or one word; boundaries of LAMMPS.
_PBC_ELSEWHERE = re.compile(r"(?=[xyz])x?y?z?|yes|no|none|all|on|off")
_BOUNDARIES = re.compile(r"[pfsm]{1,2}(?:[\s,]+[pfsm]{1,2}){2}|[pfsm]{3}")
_BOUNDARY_NAMES = ("boundary", "boundaries", "boundaryconditions", "bc")


class TextFault(ValueError):
    """Text that cannot be read as an extended XYZ frame, and the key concerned."""

    def __init__(self, key: str, reason: str):
        super().__init__(f"{key}: {reason}")
        self.key, self.reason = key, reason


def header(line: str, names: Collection[str | None] | None = ()) -> dict[str, Any]:
    """Keys and values of a comment line, as ASE's reader of extended XYZ expects them from a parser.

    The lattice is [3, 3] with the vectors as columns, ``pbc`` three flags, stress and virial [3, 3]. What stands under
    the keys ``names`` (None: all others) is text (007 is not 7); other values are converted by ASE. A line without an
    equals sign is a plain comment. Raises `TextFault`.
    """
    from ase.io.extxyz import key_val_str_to_dict

    line = line.strip()
    in_words = _LATTICE_IN_WORDS.search(line)
    if in_words and not re.search(r"Lattice\s*=", line):
        raise TextFault("Lattice", f"missing, but there is {in_words[0][:40]!r}: write Lattice=..., with {LATTICE}")
    if "=" not in line:
        alone = numbers_of(line)
        if alone is not None and (len(alone) in (6, 9) or (len(alone) == 3 and (alone > 1.0).all())):
            reason = f"missing, but the comment line is {line[:40]!r}: write Lattice=..., with {LATTICE}"
            raise TextFault("Lattice", f"{reason}; or say what these numbers are")
        return {"comment": line} if line else {}
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for key, text, source in _items(line, names or ()):
        if texts.setdefault(key, text) != text:
            raise TextFault(key, f"is given twice, as {texts[key]!r} and as {text!r}")
        if key == "pbc":
            values[key] = periodicity(text)
        elif key == "Lattice":
            values[key] = _lattice(text).T
        elif key in ("stress", "virial"):
            values[key] = _tensor(key, text)
        elif names is None or key in names:
            values[key] = "" if source == key and names else text
        elif key == "Properties" or not text:
            values[key] = text
        else:
            (values[key],) = key_val_str_to_dict(source).values()
            if "_" in text and not isinstance(values[key], str) and not text.startswith("_JSON"):
                values[key] = text  # digit separators are Python's
    check_names(texts)
    return values


def _items(line: str, names: Collection[str | None]) -> list[tuple[str, str, str]]:
    """Key, value without quotes, and text of each item. A key alone is a flag, as with the value T.

    `TextFault` for one that seems to be the next word of a value without quotes: a number or T or F, or after a name.
    """
    found: list[tuple[str, str, str]] = []
    place = 0
    bare = False  # whether the item before has a value without quotes
    while place < len(line):
        match = _ITEM.match(line, place)
        if match is None:
            shown = line[place : place + 40]
            if line[place] == "=":
                raise TextFault("frame", f"an equals sign without a key in the comment line, at {shown!r}")
            raise TextFault("frame", f"a quote, brace or bracket is not closed in the comment line, at {shown!r}")
        key, gap, value, more = match.groups()
        key = _unquoted(key)
        if gap is None and bare and (_WORD_OF_SEVERAL.fullmatch(key) or found[-1][0] in names):
            raise TextFault(found[-1][0], f"is {found[-1][1]!r}, and {key!r} follows: several words belong in quotes")
        bare = value[:1] not in ("", *"\"'{[") if gap is not None else key in _STRUCTURE
        if gap and more:
            raise TextFault(key, f"has no value, and would take {(value + more)[:40]!r}; give it one, or leave it out")
        found.append((key, "T" if gap is None else _unquoted(value + more), match[0].strip()))
        place = match.end()
    return found


def _unquoted(text: str) -> str:
    pieces = _PIECES.findall(text)
    return "".join(re.sub(r"\\(.)", r"\1", piece[1:-1] if piece[0] in "\"'{[" else piece) for piece in pieces)


@functools.lru_cache(maxsize=64)
def periodicity(text: str) -> tuple[bool, ...]:
    """The three flags of ``pbc``; `TextFault` unless they are given in a usual spelling (`PBC`)."""
    words = text.removeprefix("_JSON").translate(_PUNCTUATION).casefold().split()
    if len(words) == 1 and re.fullmatch("[tf]{3}|[01]{3}", words[0]):
        words = list(words[0])
    if len(words) not in (1, 3) or not all(word in _FLAGS for word in words):
        raise TextFault("pbc", f"is {text!r}, expected {PBC}")
    flags = tuple(_FLAGS[word] for word in words)
    return flags if len(flags) == 3 else flags * 3


def _are_flags(text: str) -> bool:
    try:
        return bool(periodicity(text))
    except TextFault:
        return False


def numbers_of(text: str) -> np.ndarray | None:
    """Numbers separated by blanks or commas; None for anything else."""
    try:
        return np.array([float(word) for word in text.replace(",", " ").split()]) if "_" not in text else None
    except ValueError:
        return None


def _lattice(text: str) -> np.ndarray:
    found = numbers_of(text)
    if found is None or len(found) != 9:
        raise TextFault("Lattice", f"is {text!r}, expected {LATTICE}")
    return found.reshape(3, 3)


def _tensor(key: str, text: str) -> np.ndarray:
    found = numbers_of(text)
    if found is None or len(found) not in (6, 9):
        raise TextFault(key, f"is {text!r}, expected {STRESS}")
    return found[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] if len(found) == 6 else found.reshape(3, 3).T


def check_names(texts: Mapping[str, str]) -> None:
    """Raise `TextFault` if lattice, periodicity or columns are given under another key, or inside another value."""
    plain = {key: re.sub(r"[-_.\s]", "", key).casefold() for key in texts}
    for right, contents in _STRUCTURE.items():
        for key, text in texts.items() if right not in texts else ():
            if ":" in key and re.match(rf"{right}\s*:", key, re.IGNORECASE):
                raise TextFault(right, f"missing, but there is {key[:40]!r}: write {right}=..., with {contents}")
            if _stands_for(right, plain[key], text):
                raise TextFault(right, f"missing, but there is {key}={text[:40]!r}: write {right}=..., with {contents}")
            if "=" in key + text and re.search(rf"{right}\s*=", f"{key} {text}", re.IGNORECASE):
                reason = "missing, but it stands within quotes, braces or brackets: is one missing, or too many?"
                raise TextFault(right, f"{reason} ({key[:40]}...)")

    if "Lattice" not in texts and (parts := _lattice_parts({plain[key]: text for key, text in texts.items()})):
        raise TextFault("Lattice", f"missing, but there are {', '.join(parts)}: write Lattice=..., with {LATTICE}")


def _lattice_parts(texts: Mapping[str, str]) -> list[str]:
    """Three of the keys (in small letters, without punctuation) if they seem to be lattice vectors or lengths."""
    for stem in _LATTICE_STEMS:
        for ends in _LATTICE_PARTS:
            keys = [stem + end for end in ends]
            if not all(key in texts for key in keys):
                continue
            values = [numbers_of(texts[key].translate(_PUNCTUATION)) for key in keys]
            lengths = (3,) if ends != "abc" or stem == "a" else (1, 3)
            if all(one is not None and len(one) in lengths for one in values):
                return keys
    return []


def _stands_for(right: str, name: str, text: str) -> bool:
    """Whether ``text`` under ``name``, in small letters without punctuation, may be what belongs under ``right``."""
    if right == "Properties":
        return name == "properties" or (text.count(":") > 4 and bool(get_close_matches(name, ("properties",))))
    if right == "pbc":
        likeness = 0.8 if text.casefold() in _FLAGS else 0.6  # pbe=T may be anything, abc=TTF not
        if _are_flags(text):
            return name == "pbc" or bool(get_close_matches(name, _PBC_NAMES, cutoff=likeness))
        directions, boundaries = _PBC_ELSEWHERE.fullmatch(text.casefold()), _BOUNDARIES.fullmatch(text.casefold())
        known = (_PBC_NAMES if directions or boundaries else ()) + (_BOUNDARY_NAMES if boundaries else ())
        return name == "pbc" or bool(known and get_close_matches(name, known, cutoff=0.85))
    several = text.count(" ") + text.count(",") > 1 and not text[0].isalpha()  # few values are, and the search is slow
    if not _LATTICE_NAMES.match(name) and not (several and get_close_matches(name, ("lattice",))):
        return False
    found = numbers_of(text.removeprefix("_JSON").translate(_PUNCTUATION))
    return found is not None and (len(found) in (3, 6, 9) or (len(found) == 1 and name == "lattice"))


def check_rows(properties: str | None, rows: Sequence[str]) -> None:
    """Raise `TextFault` unless the rows of the atoms are those of ``Properties`` (None: symbol and position).

    Rows may have further fields only where ``Properties`` is not given. Symbols are ignored where there are atomic
    numbers, unless both are given and differ.
    """
    columns, width = _columns(properties or DEFAULT_PROPERTIES)
    symbols, atomic = columns.get("species"), columns.get("Z")
    reals = [place for kind, first, count in columns.values() if kind in "RI" for place in range(first, first + count)]
    flags = [place for kind, first, count in columns.values() if kind == "L" for place in range(first, first + count)]
    known = atomic_numbers()
    for number, row in enumerate(rows):
        words = row.split()
        if len(words) < width or (len(words) > width and properties is not None):
            raise TextFault("frame", f"row {number} has {len(words)} fields, but Properties names {width}")
        if symbols is not None:
            symbol = words[symbols[1]]
            z = known.get(symbol.capitalize())
            if atomic is None and z is None:
                raise TextFault("species", _unknown(symbol, number))
            if atomic is not None and z is not None and words[atomic[1]] != str(z):
                raise TextFault("species", f"{symbol!r} in row {number}, where Z is {words[atomic[1]]}")
        if numbers_of(" ".join(words[place] for place in reals)) is None:
            wrong = next(words[place] for place in reals if numbers_of(words[place]) is None)
            raise TextFault("frame", f"{wrong!r} in row {number} is not a number")
        for place in flags:
            if words[place] not in ("T", "F", "True", "False"):
                raise TextFault("frame", f"{words[place]!r} in row {number} is not T or F")


def _columns(properties: str) -> tuple[dict[str, tuple[str, int, int]], int]:
    """(type, first field, number of fields) by property, and the number of fields in a row."""
    fields = properties.split(":")
    columns: dict[str, tuple[str, int, int]] = {}
    width = 0
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        name = {"symbols": "species", "numbers": "Z", "positions": "pos"}.get(name, name)
        if name in columns or kind not in ("R", "I", "S", "L") or not re.fullmatch("[1-9][0-9]*", count):
            break
        columns[name] = (kind, width, int(count))
        width += int(count)
    if 3 * len(columns) != len(fields):
        raise TextFault("Properties", f"is {properties!r}, expected {COLUMNS}")
    if columns.get("pos", ("", 0, 0))[2] != 3:
        raise TextFault("positions", f"Properties does not name three columns pos: {properties!r}")
    found = [columns[name][::2] == (kind, 1) for name, kind in (("species", "S"), ("Z", "I")) if name in columns]
    if not found or not all(found):
        raise TextFault("species", f"expected species:S:1 or Z:I:1 in Properties: {properties!r}")
    return columns, width


def _unknown(symbol: str, row: int) -> str:
    hints = {"d": "; write H for deuterium", "t": "; write H for tritium", "x": "; dummy atoms are not read"}
    hint = "; atomic numbers belong in a column Z:I:1" if symbol.isdigit() else hints.get(symbol.lower(), "")
    return f"{symbol!r} in row {row} is not the symbol of an element{hint}"


@functools.cache
def atomic_numbers() -> dict[str, int]:
    """Z by symbol; dummy atoms (X, Z = 0) are not elements."""
    from ase.data import atomic_numbers

    return {symbol: z for symbol, z in atomic_numbers.items() if z > 0}
