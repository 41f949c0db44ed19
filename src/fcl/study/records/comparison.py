"""Comparison of a finished run with a committed record of the same study, number by number.

The record's CSV and JSON files are compared, except manifests; files that only the run contains are ignored. A file,
row, column or key that is missing or additional in the run is off, and so is a text that differs. Measured times and
memory, threads and devices (`fcl.study.records.rows.MEASURED`) depend on the machine and are skipped, but counted. A
job with settings other than in the record is off, whatever its numbers.

The run manifests determine which of two modes applies:

same platform   Versions (except `UNRELATED` packages), device and number of threads are known and equal for every
                computing job, and none ran on a GPU, where sums differ from run to run. Numbers as written must be
                bitwise equal.
tolerance       Otherwise. Training is chaotic: different rounding gives a different model, as a different seed does. A
                number is off if it deviates from the record by more than the scatter over seeds explains
                (`fcl.study.records.scatter`); numbers independent of training, and columns without scatter, must agree
                to a relative `fcl.study.records.scatter.EXACT`.

In tolerance mode some numbers are not compared individually; these are counted. Training histories are compared at
their best epoch, since early stopping shifts their end, and diatomic curves by their RMS values, since a shift of a
steep curve changes single points by any factor. `observables/` (relaxations and molecular dynamics of the model of one
seed) is chaotic itself and skipped. Figures, tables and claims are made from the other files: their numbers are
compared where the record gives their scatter (columns ``x_mean``, ``x_std``, ``seed``); verdicts that differ are
listed but not off.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcl.study.records.manifests import RECORD_MANIFEST, read_manifests
from fcl.study.records.rows import CURVES, MEASURED, VERDICTS, Cell, Rows, flatten, read_rows, reduced, shown
from fcl.study.records.scatter import Scatter

#: Packages whose version does not affect results; fcl itself is what is being compared.
UNRELATED = frozenset({"flexible-cutoff-learning", "snakemake", "matplotlib", "seaborn"})
#: Root folders that may differ between otherwise equal settings of a drawing job.
ROOT = re.compile(r"^(results|record)/")
#: Maximum text width of a column in printed tables.
WIDTH = 120


@dataclass(frozen=True)
class Difference:
    """A number, text or setting that differs, or a file, row or column present on one side only.

    ``difference`` and ``allowed`` are in the unit of the column, None unless both sides are numbers.
    """

    file: str
    where: str
    column: str
    run: str
    record: str
    difference: float | None = None
    allowed: float | None = None

    @property
    def share(self) -> float:
        """Difference / allowed difference; infinite if no difference is allowed."""
        return self.difference / self.allowed if self.difference is not None and self.allowed else math.inf


@dataclass
class Comparison:
    """Result of `compare`: mode and its reasons, counts of numbers, and differences."""

    same_platform: bool
    reasons: list[str]
    equal: int = 0
    measured: int = 0
    left_out: int = 0
    within: list[Difference] = field(default_factory=list)
    off: list[Difference] = field(default_factory=list)
    verdicts: list[Difference] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing is off."""
        return not self.off

    @property
    def worst(self) -> list[Difference]:
        """Differences that are off, then those within tolerance, each by decreasing ratio to the allowed difference."""
        return [item for part in (self.off, self.within) for item in sorted(part, key=lambda item: -item.share)]

    def text(self, worst: int = 10) -> str:
        """Mode and reason, a line of counts, and tables of the ``worst`` differences and of changed verdicts."""
        mode = "same platform" if self.same_platform else "tolerance mode"
        lines = [f"{mode}: {'; '.join(self.reasons)}", self._counts()]
        head = ("", "file", "row", "column", "run", "record", "difference", "allowed")
        marks = ["off"] * len(self.off) + ["within"] * len(self.within)
        table = [
            (mark, item.file, item.where, item.column, item.run, item.record)
            + tuple("" if value is None else f"{value:.3g}" for value in (item.difference, item.allowed))
            for mark, item in zip(marks, self.worst, strict=True)
        ]
        lines += _table(head, table, worst, len(self.off), "more that are off")
        table = [(item.file, item.where, item.run, item.record) for item in self.verdicts]
        head = ("verdict in", "row", "run", "record")
        return "\n".join(lines + _table(head, table, worst, len(table), "more verdicts that differ"))

    def _counts(self) -> str:
        numbers = self.equal + len(self.within) + sum(item.difference is not None for item in self.off)
        parts = [f"{_count(numbers)} numbers: "]
        if self.equal == numbers and not self.off:
            parts[0] += "all equal bit for bit"
        else:
            parts[0] += f"{_count(self.equal)} equal"
            if not self.same_platform:
                parts[0] += f", {_count(len(self.within))} within the scatter over seeds"
            parts[0] += f"; {_count(len(self.off))} off" if self.off else ", none off"
        if self.verdicts:
            parts.append(f"verdicts that differ: {_count(len(self.verdicts))}")
        if self.measured:
            parts.append(f"{_count(self.measured)} measured times left out")
        if self.left_out:
            parts.append(
                f"{_count(self.left_out)} numbers not compared singly (histories, curves, dynamics, unknown scatter)"
            )
        return "; ".join(parts)


def compare(run: str | Path, record: str | Path) -> Comparison:
    """Compare the folder of a finished run with that of a record; see the module docstring for the rules.

    Raises FileNotFoundError and ValueError as `read_manifests` and `read_rows`.
    """
    run, record = Path(run), Path(record)
    here, there = read_manifests(run), read_manifests(record)
    reasons = _other_platform(here, there)
    result = Comparison(not reasons, reasons or ["versions, device and threads are those of the record"])
    result.off += _other_settings(here, there)
    files = {path.relative_to(record).as_posix(): path for path in sorted(record.rglob("*")) if _compared(path, record)}
    if not files:
        raise FileNotFoundError(f"{record}: no CSV or JSON file; has this study been run?")
    tables = {name: read_rows(path) for name, path in files.items()}
    scatter = None if result.same_platform else Scatter({name: reduced(name, rows) for name, rows in tables.items()})
    for name, rows in tables.items():
        if not (run / name).is_file():
            result.off.append(Difference(name, "", "", "no such file", "a file"))
        else:
            _compare_file(result, name, read_rows(run / name), rows, scatter)
    return result


def _compare_file(result: Comparison, name: str, run: Rows, record: Rows, scatter: Scatter | None) -> None:
    fewer = (reduced(name, run), reduced(name, record)) if scatter else (run, record)
    if fewer[1] is not record:
        result.left_out += sum(isinstance(value, float) for row in record.values() for value in row.values())
    # all points of a curve must exist, even if only its RMS value is compared
    whole = (run, record) if CURVES.match(name) else fewer
    partners = _partners(*whole)
    result.off += [Difference(name, where, "", "no such row", "a row") for where in whole[1] if where not in partners]
    known = set(partners.values())
    result.off += [Difference(name, where, "", "a row", "no such row") for where in whole[0] if where not in known]
    run, record = fewer
    partners = _partners(run, record)
    missing = defaultdict(list)
    for where, partner in partners.items():
        for column in [*record[where], *(run[partner].keys() - record[where].keys())]:
            if MEASURED.search(column):
                result.measured += isinstance(record[where].get(column), float)
            elif column not in record[where] or column not in run[partner]:
                missing[column, column in record[where]].append(where)
            else:
                _compare_cell(result, name, where, column, run[partner][column], record[where], scatter)
    for (column, recorded), rows in missing.items():
        where = rows[0] if len(rows) == 1 else f"{len(rows)} rows"
        words = ("no such column", "a column") if recorded else ("a column", "no such column")
        result.off.append(Difference(name, where, column, *words))


def _compare_cell(
    result: Comparison, name: str, where: str, column: str, run: Cell, row: Mapping[str, Cell], scatter: Scatter | None
) -> None:
    record = row[column]
    numbers = isinstance(run, float) and isinstance(record, float)
    allowed = scatter.allowed(name, where, row, column, numbers and run > record) if scatter else 0.0
    if numbers:
        found = Difference(name, where, column, repr(run), repr(record), abs(run - record), allowed)
    else:
        found = Difference(name, where, column, shown(run), shown(record))
    if run == record:
        result.equal += isinstance(record, float)
    elif scatter and column == "verdict":
        result.verdicts.append(found)
    elif allowed is None or (scatter and (column in VERDICTS or column.endswith("sha256"))):
        result.left_out += 1
    elif found.difference is not None and found.difference <= allowed:
        result.within.append(found)
    else:
        result.off.append(found)


def _partners(run: Rows, record: Rows) -> dict[str, str]:
    """Row of the record -> row of the run: matched by name; unmatched rows in order, if equally many."""
    partners = {where: where for where in record if where in run}
    left, right = [row for row in record if row not in run], [row for row in run if row not in record]
    if len(left) == len(right):
        partners |= dict(zip(left, right, strict=True))
    return partners


def _compared(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    if path.name.endswith(".manifest.json") or parts == (RECORD_MANIFEST,) or parts[0] == "models":
        return False
    return (
        path.name.endswith((".csv", ".csv.gz", ".json"))
        and path.is_file()
        and not any(part.startswith(".") for part in parts)
    )


def _other_platform(here: Mapping[str, dict], there: Mapping[str, dict]) -> list[str]:
    """Reasons why numbers cannot be bitwise equal, each listed once; empty on the same platform."""
    # Figures and tables are made from files that are compared anyway.
    computed = {path: record for path, record in there.items() if "code_sha256" not in (record.get("extra") or {})}
    found = {} if computed else {"job": "no job that computes in the record"}
    for path, record in computed.items():
        if path not in here:
            found.setdefault("job", f"{path} is not in the run")
            continue
        run, recorded = _facts(here[path]), _facts(record)
        for name in sorted(run.keys() | recorded.keys()):
            ours, theirs = run.get(name, "unknown"), recorded.get(name, "unknown")
            if ours != theirs or ours == "unknown":
                both = f"{name} {ours} here, {theirs} in the record" if ours != theirs else f"{name} unknown"
                found.setdefault(name, both)
        if any(side.get("peak_gpu_memory_bytes") is not None for side in (here[path], record)):
            found.setdefault("gpu", "computed on a GPU, where sums are not equal bit for bit from run to run")
    return list(found.values())


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Versions, device and threads of a job; ``unknown`` if not in its manifest."""
    versions = manifest.get("versions", {})
    facts = {name: str(version) for name, version in versions.items() if name not in UNRELATED}
    facts["python"] = ".".join(facts.get("python", "unknown").split(".")[:2])
    return facts | {name: str(manifest.get(name, "unknown")) for name in ("device", "threads")}


def _other_settings(here: Mapping[str, dict], there: Mapping[str, dict]) -> Iterator[Difference]:
    """The first differing setting of each job whose settings digest differs from the record."""
    for path in sorted(here.keys() & there.keys()):
        digests = [side[path].get("settings_digest") for side in (here, there)]
        if digests[0] == digests[1]:
            continue
        run, record = _settings(here[path]), _settings(there[path])
        names = [name for name in [*record, *run] if run.get(name, "none") != record.get(name, "none")]
        if names:
            values = [shown(side.get(names[0], "none")) for side in (run, record)]
            yield Difference(path, "settings", names[0], *values)
        elif not any(isinstance(value, str) and value.startswith("*/") for value in record.values()):
            yield Difference(path, "", "settings_digest", *(str(digest)[:12] for digest in digests))


def _settings(manifest: Mapping[str, Any]) -> dict[str, Cell]:
    """Settings of a job by path (``fcl.max_epochs``), without the root folder of a run or record."""
    rows: Rows = {}
    flatten(manifest.get("settings", {}), "", "", rows)
    cells = {f"{where}.{key}".strip("."): cell for where, row in rows.items() for key, cell in row.items()}
    return {key: ROOT.sub("*/", cell) if isinstance(cell, str) else cell for key, cell in cells.items()}


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], most: int, count: int, more: str) -> list[str]:
    """Lines of a table of ``most`` of the ``rows``, with aligned columns; long texts are truncated.

    ``count`` of the rows are counted as ``more`` if they are not shown.
    """
    if not most or not rows:
        return []
    cells = [tuple(t if len(t) <= WIDTH else f"{t[: WIDTH - 3]}..." for t in row) for row in (head, *rows[:most])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return ["", *lines, *([f"... and {_count(count - most)} {more}"] if count > most else [])]


def main(run: str, record: str) -> None:
    """Print the comparison, with exit code 1 if something is off; called by the workflow."""
    result = compare(run, record)
    print(result.text())
    sys.exit(not result.passed)


if __name__ == "__main__":
    main(*sys.argv[1:3])
