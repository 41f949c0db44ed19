"""What the benchmarks share: interleaved timing, peak memory, the machine, records, and the structures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

from fcl.evaluation.timing import interleaved as interleaved  # of the library, offered to the benchmarks from here
from fcl.evaluation.timing import peak_memory_mb as peak_memory_mb
from fcl.evaluation.timing import synchronise as synchronise
from fcl.runs.files import write_json

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "resources" / "embedded"
#: What the embedded structures have to be called wherever a number comes from them.
LABEL = "embedded PBEsol set (not MAD)"


def device_name() -> str:
    """The GPU, or else the processor, without anything that names the host."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        return re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].strip()
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def record_path() -> Path:
    """``benchmarks/records/<device>.json`` of this machine."""
    cores = "" if torch.cuda.is_available() else f" {os.cpu_count()} cores"
    return ROOT / "benchmarks" / "records" / (re.sub(r"[^a-z0-9]+", "-", (device_name() + cores).lower()) + ".json")


def environment() -> dict:
    """Device and versions behind a measurement."""
    return {
        "device": device_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "mace-torch", "e3nn", "vesin")},
    }


def parser(text: str) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=text.splitlines()[0])
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--repeats", type=int, default=15, help="interleaved repeats")
    made.add_argument(
        "--json", type=Path, metavar="OUT", help="merge the result into this record ('device': by device)"
    )
    return made


def begin(options: argparse.Namespace) -> None:
    """Set the threads and silence what mace-torch says when it is imported."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)


def finish(options: argparse.Namespace, name: str, result: dict) -> None:
    """Print ``result`` and, with ``--json``, put it into the record under ``name`` (one entry a thread count)."""
    entry = {"environment": environment(), "result": result}
    print(json.dumps({name: entry}, indent=2))
    if options.json is None:
        return
    path = record_path() if str(options.json) == "device" else options.json
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    record[name] = entry
    write_json(path, dict(sorted(record.items())))
    print(f"written: {path}")


def study():
    """The protocol of the paper."""
    from fcl.config.load import load_config

    return load_config(ROOT / "config.yaml").resolve("paper")


def embedded_arrays(split: str = "train"):
    """Stores' arrays of the embedded set at 7 A."""
    from fcl.data.read import read_frames
    from fcl.data.store import arrays_from_frames

    return arrays_from_frames(list(read_frames(EMBEDDED / f"{split}.xyz.gz")), 7.0)
