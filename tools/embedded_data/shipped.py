"""Raw results of the packaged frames, shipped so that a fresh clone can continue the generation."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded_data.generate import results_file
from embedded_data.structures import SUBSETS
from fcl.runs.files import write_json, write_text

#: One JSON object: ``records`` (as `embedded_data.generate.to_record` writes them), ``failures``, ``atoms`` (eV).
FILE = "results.json.gz"


def pack_results(records: Sequence[Mapping], failures: Sequence[Mapping], atoms: Mapping[str, float]) -> bytes:
    """Compressed JSON of all results, byte for byte reproducible."""
    text = json.dumps({"records": list(records), "failures": list(failures), "atoms": dict(atoms)})
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def restore_results(shipped: Path, work: Path) -> int:
    """Write the shipped results into an empty or missing ``work`` directory; returns the number of structures.

    A directory that already contains results is not changed (returns 0), since it may be ahead of the shipped ones.
    Raises `FileNotFoundError` if nothing was shipped.
    """
    names = [results_file(work, subset) for subset in SUBSETS]
    if any(path.exists() for path in names):
        return 0
    contents = json.loads(gzip.decompress((shipped / FILE).read_bytes()))

    def lines(items: Sequence[Mapping]) -> str:
        return "".join(json.dumps(item) + "\n" for item in items)

    write_json(work / "atoms.json", contents["atoms"])
    write_text(work / "failures.jsonl", lines(contents["failures"]))
    for subset, path in zip(SUBSETS, names, strict=True):
        write_text(path, lines([record for record in contents["records"] if record["subset"] == subset]))
    return len(contents["records"])
