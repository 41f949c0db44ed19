"""Random frames of extended XYZ for the tests and `tools/fuzz.py`: in any valid spelling, spoiled, or mistyped.

What is made here follows the rules of the format, not our parser: a frame is drawn first and then written down in one
of the many ways that mean the same, so that the reader's answer is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fcl.data.extxyz import parse
from fcl.data.frames import FrameError, FrameRules, validated

RULES, VIRIAL_RULES = FrameRules(), FrameRules(virial="virial")
NUMBERS = st.integers(-400, 400).map(lambda n: n / 16)  # exact in every format below
SYMBOLS = {1: "H", 2: "He", 6: "C", 8: "O", 27: "Co", 79: "Au"}
FLAGS = {True: ("T", "t", "True", "true", "TRUE", "1"), False: ("F", "f", "False", "false", "FALSE", "0")}
QUOTES = ('"{}"', "'{}'", "{{{}}}", "[{}]")
WRONG_PBC = (
    "no",
    "yes",
    "2",
    "-1",
    "T T",
    "T F T F",
    "TT",
    "FFFF",
    "T T x",
    "none",
    "0.5",
    ".true.",
    "xy",
    "TxF",
    "[]",
)
WRONG_LATTICE_KEYS = ("lattice", "LATTICE", "Latice", "lattices", "Cell", "cell", "unit_cell", "box", "cell_vectors")
#: A flag after a name that has no quotes.
TWO_WORDS = re.compile(r"""subset["']?\s*=\s*[^\s"'{\[]\S*\s+["']?relaxed""")
EXTRAS = ("relaxed", 'note=""', "name='a=b c'", 'x="_JSON [1, 2]"', "uid=7", 'say="a \\" b"', "list=[1 2 3]", "n={4}")
UNKNOWN = ("D", "T", "Si1", "14", "X", "Qq", "H+", "C_2")


@dataclass(frozen=True)
class Drawn:
    """A frame: what it means, and its items (key, text or None if it stands for itself) and columns."""

    numbers: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    cell: np.ndarray
    pbc: tuple[bool, bool, bool]
    energy: float
    subset: str | None
    tensor: np.ndarray | None
    items: list[tuple[str, str | None]]
    columns: dict[str, list[str]] = field(default_factory=dict)


@st.composite
def number(draw, value: float) -> str:
    """A number in one of the formats that programs write."""
    forms = [repr(value), f"{value:.4f}", f"{value:.6e}", f"{value:+.4f}", f"{value:.8E}"]
    return draw(st.sampled_from([*forms, str(int(value))] if value == int(value) else forms))


@st.composite
def numbers(draw, values) -> str:
    separator = draw(st.sampled_from([" ", "  ", ",", ", "]))
    return separator.join(draw(number(float(value))) for value in np.ravel(values))


@st.composite
def flags(draw, pbc: tuple[bool, bool, bool]) -> str:
    """Periodicity in any usual spelling."""
    if len(set(pbc)) == 1 and draw(st.booleans()):
        return draw(st.sampled_from(FLAGS[pbc[0]]))
    if draw(st.integers(0, 3)) == 0:
        letters = draw(st.sampled_from(["FT", "ft", "01"]))
        return "".join(letters[flag] for flag in pbc)
    text = draw(st.sampled_from([" ", ", ", ",", "  "])).join(draw(st.sampled_from(FLAGS[flag])) for flag in pbc)
    return draw(st.sampled_from(["{}", "[{}]", "({})", " {} "])).format(text)


@st.composite
def drawn_frames(draw, virial: bool = False) -> Drawn:
    """A frame with labels; with ``virial`` that instead of the stress."""
    n = draw(st.integers(1, 3))
    z = np.array(draw(st.lists(st.sampled_from(sorted(SYMBOLS)), min_size=n, max_size=n)))
    vectors = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=n, max_size=n).map(np.array)
    positions, forces = draw(vectors) + 30.0 * np.arange(n)[:, None], draw(vectors)
    periodic = draw(st.booleans())
    cell, pbc = np.zeros((3, 3)), (False, False, False)
    items: list[tuple[str, str | None]] = []
    if periodic:
        off = [draw(st.integers(-16, 16)) / 16 for _ in range(6)]
        cell = np.array([[5, off[0], off[1]], [off[2], 6, off[3]], [off[4], off[5], 7.25]])
        items.append(("Lattice", draw(numbers(cell))))
        pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    if pbc != (periodic,) * 3 or draw(st.booleans()):
        items.append(("pbc", draw(flags(pbc))))
    energy = draw(NUMBERS)
    items.append(("energy", draw(number(energy))))
    subset = draw(st.sampled_from([None, "bulk", "gas phase", "α-Fe", "a/b:c"]))
    if subset is not None:
        items.append(("subset", subset))
    tensor = None
    if draw(st.booleans()):
        a, b, c, d, e, f = (draw(NUMBERS) for _ in range(6))
        tensor = np.array([[a, f, e], [f, b, d], [e, d, c]])
        items.append(
            ("virial" if virial else "stress", draw(numbers(draw(st.sampled_from([tensor, [a, b, c, d, e, f]])))))
        )
    items += [(extra, None) for extra in draw(st.lists(st.sampled_from(EXTRAS), unique=True, max_size=2))]
    kinds = draw(st.sampled_from([("species",), ("Z",), ("species", "Z")]))
    columns = {"pos:R:3": positions, "forces:R:3": forces}
    texts = {name: [" ".join(draw(number(float(x))) for x in row) for row in rows] for name, rows in columns.items()}
    case = draw(st.sampled_from([str, str.lower, str.upper]))
    texts |= {"species:S:1": [case(SYMBOLS[k]) for k in z]} if "species" in kinds else {}
    texts |= {"Z:I:1": [str(k) for k in z]} if "Z" in kinds else {}
    texts |= draw(st.sampled_from([{}, {"tag:I:1": ["3"] * n}, {"ok:L:1": ["T"] * n}, {"site:S:2": ["a b"] * n}]))
    return Drawn(z, positions, forces, cell, pbc, energy, subset, tensor, items, texts)


@st.composite
def written(draw, frame: Drawn) -> str:
    """The text of a frame: items and columns in any order, with any quotes and blanks."""
    columns = draw(st.permutations(list(frame.columns)))
    items = [*frame.items]
    if columns != ["species:S:1", "pos:R:3"]:
        items.append(("Properties", ":".join(columns)))
    parts = []
    for key, text in draw(st.permutations(items)):
        if text is None:
            parts.append(key)
            continue
        bare = re.fullmatch(r"[^\s\"'{}\[\]\\=]+", text)
        quotes = [q for q in QUOTES if not set(q.format("")) & set(text)] if key != "Properties" else ['"{}"']
        quoted = draw(st.sampled_from([*(["{}"] if bare else []), *quotes])).format(text)
        parts.append(key + draw(st.sampled_from(["=", "=", " = ", "= ", " ="])) + quoted)
    line = draw(st.sampled_from([" ", "  ", "\t"])).join(parts)
    assume(not TWO_WORDS.search(line))  # refused, as it may be a name without its quotes
    gap = draw(st.sampled_from([" ", "   ", "\t"]))
    rows = [gap.join(cells) for cells in zip(*(frame.columns[name] for name in columns), strict=True)]
    return "\n".join([str(len(rows)), line, *rows, ""])


@st.composite
def spoiled(draw) -> tuple[str, set[str]]:
    """The text of a frame with one fault, and the keys that its error may name."""
    frame = draw(drawn_frames())
    texts = dict(frame.items)
    faults = ["pbc", "empty", "energy", "symbol", "row", "quote", "twice"]
    faults += ["lattice key", "lattice numbers"] if "Lattice" in texts else []
    faults += ["stress"] if "stress" in texts else []
    fault = draw(st.sampled_from(faults))
    items, columns, keys = [*frame.items], dict(frame.columns), {fault}
    if fault == "pbc":
        items = [item for item in items if item[0] != "pbc"] + [("pbc", draw(st.sampled_from(WRONG_PBC)))]
    elif fault == "lattice key":
        key = draw(st.sampled_from(WRONG_LATTICE_KEYS))
        items, keys = [(key if name == "Lattice" else name, text) for name, text in items], {"Lattice"}
    elif fault == "lattice numbers":
        wrong = draw(st.sampled_from(["5 5 5", "1 2 3 4 5 6 7 8", "fcc", "5 0 0 0 5 0 0 0 x", "5"]))
        items, keys = [(name, wrong if name == "Lattice" else text) for name, text in items], {"Lattice"}
    elif fault == "stress":
        wrong = draw(st.sampled_from(["1 2 3", "high", "1 2 3 4 5 x", "1"]))
        items = [(name, wrong if name == "stress" else text) for name, text in items]
    elif fault == "twice":
        items, keys = [*items, ("energy", "1000.5")], {"energy"}
    elif fault == "empty":  # takes the next key for its value
        place = draw(st.sampled_from([place for place, (_, text) in enumerate(items) if text is not None]))
        items[place], keys = (f"empty= {items[place][0]}", items[place][1]), {"empty", "frame"}
    elif fault == "energy":
        items = [(name, text) for name, text in items if name != "energy"]
    elif fault == "symbol":
        columns = {name: cells for name, cells in columns.items() if not name.startswith(("Z", "species"))}
        columns["species:S:1"] = [draw(st.sampled_from(UNKNOWN))] * len(frame.numbers)
        keys = {"species"}
    text = draw(written(replace(frame, items=items, columns=columns)))
    count, line, *rows = text.split("\n")
    if fault == "quote":
        line, keys = line + ' end="x', {"frame"}
    elif fault == "row":
        rows[0] += " 1"
        keys = {"frame"}
    return "\n".join([count, line, *rows]), keys


@st.composite
def mistyped(draw) -> tuple[Drawn, str]:
    """A frame and its text with one character of the comment line typed wrong, outside of lattice and flags."""
    frame = draw(drawn_frames())
    count, line, *rows = draw(written(frame)).split("\n")
    place = draw(st.integers(0, len(line) - 1))
    letters = "aeLPTF1"
    pattern = r"(Lattice|pbc|Properties)\s*=\s*(\"[^\"]*\"|'[^']*'|{[^}]*}|\[[^]]*]|\S+)"
    keys = list(re.finditer(pattern, line))
    if any(match.start() <= place < match.end(1) for match in keys):
        new = draw(st.sampled_from(["", *letters]))  # a blank in the name of a key makes two names of it
    else:
        assume(not any(match.start() <= place <= match.end() for match in keys))
        new = draw(st.sampled_from(["", *letters, " ", "=", '"', "'", "{", "]", "\\", ",", "\t", ":"]))
    after = place + draw(st.integers(0, 1))
    one_flag = re.compile(r"pbc\W+(?:[TF01]|true|false)\W?$", re.IGNORECASE)
    if any(match.start() <= place < match.end(1) and one_flag.match(match[0]) for match in keys):
        assume(not new or after == place)  # another letter in pbc=F makes a flag that may be anything
    return frame, "\n".join([count, line[:place] + new + line[after:], *rows])


def read(text: str, rules: FrameRules = RULES) -> Any:
    """The frame of ``text``, or the `FrameError` that says why there is none."""
    try:
        raw = parse("fuzz.xyz", 0, text.encode(), rules)
        return raw if validated("fuzz.xyz", 0, raw, rules) is not None else None
    except FrameError as error:
        return error


def same_structure(frame: Drawn, raw: Any) -> None:
    assert list(raw.pbc) == list(frame.pbc)
    for name in ("numbers", "positions", "cell"):
        np.testing.assert_array_equal(getattr(raw, name), getattr(frame, name))


def check_written(frame: Drawn, text: str, virial: bool) -> None:
    """What a frame means does not depend on how it is written."""
    raw = read(text, VIRIAL_RULES if virial else RULES)
    assert not isinstance(raw, FrameError), (text, raw)
    same_structure(frame, raw)
    np.testing.assert_array_equal(raw.forces, frame.forces)
    assert float(raw.energy) == frame.energy and raw.subset == frame.subset
    if frame.tensor is None:
        assert raw.stress is None
    elif np.size(raw.stress) == 6:
        np.testing.assert_array_equal(raw.stress, frame.tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    else:
        np.testing.assert_array_equal(np.reshape(raw.stress, (3, 3)), frame.tensor)


def check_spoiled(text: str, keys: set[str]) -> None:
    """A fault is an error that names its key."""
    error = read(text)
    assert isinstance(error, FrameError) and error.key in keys, (text, keys, error)


def check_mistyped(frame: Drawn, text: str) -> None:
    """A wrong character is an error, or leaves the structure as it is."""
    raw = read(text)
    if not isinstance(raw, FrameError):
        same_structure(frame, raw)


#: What `tools/fuzz.py` runs: strategies of the arguments, and the check.
CHECKS = {
    "frames, written in any way": (
        st.booleans().flatmap(
            lambda v: drawn_frames(v).flatmap(lambda f: st.tuples(st.just(f), written(f), st.just(v)))
        ),
        check_written,
    ),
    "frames, spoiled": (spoiled(), check_spoiled),
    "frames, mistyped": (mistyped(), check_mistyped),
}
