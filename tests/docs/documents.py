"""Documents whose commands are run and whose stated outputs are compared: reading, running, comparing, rewriting.

A document is Markdown. Blocks marked ``sh`` and ``python`` are run in their order in one empty folder (Python in one
namespace), by a process of their own; an unmarked block is the standard output of the block before it. A comment on a
line before a block says what is special about it:

    <!-- not run -->           a block to read only
    <!-- within 5% -->         numbers of this output may differ by so much
    <!-- varies: REGEX -->     what this matches may be anything (several such comments may follow each other)

Otherwise text is the same but for spaces and lines of tables, whole numbers are equal, and other numbers agree to the
last digit shown.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"^<!-- (not run|within (?P<percent>[\d.]+)%|varies: (?P<varies>.+)) -->$")
_NUMBER = re.compile(r"(?<![\w.])([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\w)(%?)")


@dataclass(frozen=True)
class Block:
    """A block between lines ``start`` and ``stop`` (from 0, without its fences) and what its comments say."""

    language: str
    text: str
    start: int
    stop: int
    run: bool = True
    tolerance: float = 0.0
    varies: tuple[str, ...] = ()


def blocks_of(text: str) -> list[Block]:
    """The blocks of a document, in order. Raises `ValueError` for a fence without end."""
    blocks, comments, opened = [], [], None
    for number, line in enumerate(text.splitlines()):
        if opened is not None:
            if line.strip() == "```":
                blocks.append(_block(opened, text.splitlines()[opened[1] : number], number, comments))
                opened, comments = None, []
        elif fence := _FENCE.match(line):
            opened = (fence[1], number + 1)
        elif comment := _COMMENT.match(line):
            comments.append(comment)
        elif line.strip():
            comments = []
    if opened is not None:
        raise ValueError(f"line {opened[1]}: this block has no end")
    return blocks


def _block(opened: tuple[str, int], lines: list[str], stop: int, comments: list[re.Match]) -> Block:
    language, start = opened
    percent = [float(comment["percent"]) for comment in comments if comment["percent"]]
    return Block(
        language=language,
        text="\n".join(lines) + "\n",
        start=start,
        stop=stop,
        run=not any(comment[1] == "not run" for comment in comments),
        tolerance=percent[0] / 100.0 if percent else 0.0,
        varies=tuple(comment["varies"] for comment in comments if comment["varies"]),
    )


def steps_of(blocks: list[Block]) -> list[tuple[Block, Block | None]]:
    """Each block to run with the one that states its output, if there is one."""
    following = [*blocks[1:], None]
    return [
        (block, after if after is not None and after.language == "" else None)
        for block, after in zip(blocks, following, strict=True)
        if block.run and block.language in ("sh", "python")
    ]


def execute(document: Path, folder: Path, environment: dict[str, str]) -> dict:
    """Run a document in ``folder``; ``outputs`` of its steps, CPU ``seconds`` that it took, the ``library`` it used.

    Raises `RuntimeError` with the line of a block that failed and what it said.
    """
    command = [sys.executable, str(Path(__file__).with_name("execute.py")), str(document)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{document.name}: {done.stderr[-3000:]}")
    return json.loads(done.stdout)


def differences(stated: Block, output: str) -> list[str]:
    """What a stated output and the real one do not share; empty if they agree."""
    mine, theirs = _plain(stated.text, stated.varies), _plain(output, stated.varies)
    if len(mine) != len(theirs):
        return [f"{len(mine)} lines are stated, there are {len(theirs)}:\n{output}"]
    return [
        f"stated: {a}\n   now: {b}" for a, b in zip(mine, theirs, strict=True) if not _agree(a, b, stated.tolerance)
    ]


def rewritten(text: str, outputs: list[str]) -> str:
    """The document with every stated output replaced by the real one."""
    lines = text.splitlines()
    steps = list(zip(steps_of(blocks_of(text)), outputs, strict=True))
    for (_, stated), output in reversed(steps):
        if stated is not None:
            shown = "\n".join(line.rstrip() for line in output.splitlines()).strip("\n")
            lines[stated.start : stated.stop] = shown.splitlines()
    return "\n".join(lines) + "\n"


def _plain(text: str, varies: tuple[str, ...]) -> list[str]:
    """The lines with ink on them, without what is decoration or varies."""
    for pattern in varies:
        text = re.sub(pattern, "...", text, flags=re.MULTILINE)
    lines = (" ".join(re.sub("─+", "─", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


def _agree(stated: str, real: str, tolerance: float) -> bool:
    if _NUMBER.sub("#", stated) != _NUMBER.sub("#", real):
        return False
    return all(_close(a, b, tolerance) for a, b in zip(_NUMBER.findall(stated), _NUMBER.findall(real), strict=True))


def _close(stated: tuple[str, str], real: tuple[str, str], tolerance: float) -> bool:
    (text, percent), a, b = stated, float(stated[0]), float(real[0])
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals) if decimals or percent or exponent or tolerance else 0.0
    return abs(a - b) <= max(1.001 * unit, tolerance * max(abs(a), abs(b)))
