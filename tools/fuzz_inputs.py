"""Fuzz what users write: data manifests, cutoffs files, cards, configurations, settings and command lines.

python tools/fuzz_inputs.py --seconds 60 --seed 1

Valid inputs are changed at random, in their text or in their values. Each one has to be accepted, or refused in words:
an exception that the command line would show as a traceback is a fault, and so is an input that takes too long. Faults
are printed with the input; the exit code is 1 if there are any. Frames have a test of their own (tests/data).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

#: What the command line shows as one sentence (fcl.cli.main).
REFUSED = ("ValueError", "OSError", "FloatingPointError", "ConfigError")
#: Longest CPU time of one input (s), and memory of the process (bytes).
LIMIT, MEMORY = 20.0, 12 << 30

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 1e308, -1e-308, float("nan"), float("inf"), 10**20, "", " ", "a", "H", "all",
    "\u00e9", "\x00", "1e3", "null", "../x", "~", "-", "[", "{", "H-O", [], {}, [None], [[]], {"a": 1}, {1: 2}, [1, 2],
    ["H"], {"H": 4.0}, {"H": "4"}, "32x0e + 32x1o", "0x0e", "x", "1x0e", "float16", "cuda", "9" * 30, "2024-01-01",
]  # fmt: skip


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """Every place below the top of a nest of mappings and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]


def changed(tree: Any, rng: random.Random) -> Any:
    """A copy with one to three values replaced, removed, renamed or moved."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        if not (known := places(tree)):
            return rng.choice(ODD)
        *above, last = rng.choice(known)
        parent = tree
        for key in above:
            parent = parent[key]
        kind = rng.random()
        if kind < 0.15:
            del parent[last]
        elif kind < 0.25 and isinstance(parent, dict):
            parent[rng.choice([f"{last}s", "", 1, None, last])] = parent.pop(last)
        elif kind < 0.35:
            *others, other = rng.choice(known)
            parent[last] = copy.deepcopy(parent.get(other)) if isinstance(parent, dict) else len(others)
        else:
            parent[last] = copy.deepcopy(rng.choice(ODD))
    return tree


def scrambled(text: str, rng: random.Random) -> bytes:
    """Bytes of the text with some replaced, removed or repeated, or cut off."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice([1, 1, 1, 5, 40])
        part = bytes(rng.choices(b"\x00\xff\t\n :-{}[]'\"#&*!|>%@`,0123456789.eE+aNf", k=size))
        data[at : at + size] = rng.choice([b"", part, part, bytes(data[at : at + size]) * 3, b"\n"])
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 and data else data)


def written(tree: Any, dump: Callable[[Any], str], rng: random.Random) -> bytes:
    """A changed input as the bytes of a file."""
    if rng.random() < 0.4:
        return scrambled(dump(tree), rng)
    try:
        return dump(changed(tree, rng)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):  # keys that JSON has not
        return scrambled(dump(tree), rng)


def command_lines(folder: Path) -> Callable[[random.Random], list[str]]:
    """Command lines from the options of each command, with values that fit and values that do not."""
    import typer.main

    from fcl.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    files = [
        "mini",
        "data.xyz",
        "one.xyz",
        "cutoffs.json",
        "none.xyz",
        "folder",
        "config.yaml",
        "manifest.yaml",
        "",
        "x",
    ]
    values = [
        "1", "0", "-1", "nan", "inf", "1e-3", "1%", "nan%", "6.0", "H=4,O=4", "H=", "=", "H", "9" * 25, "out.xyz",
        "out.traj", "out.db", "cpu", "gpu", "float64", "fit", "H=1", "all", "\u00e9", "cutoffs.json", "static",
    ]  # fmt: skip
    short = {
        "md": ["--steps", "2"],
        "relax": ["--steps", "2"],
        "calibrate": ["--epochs", "1"],
        "train": ["--epochs", "1"],
    }

    def line(rng: random.Random) -> list[str]:
        name = rng.choice([name for name in commands if name not in ("record", "compare")])
        words = [name]
        for parameter in commands[name].params:
            if parameter.param_type_name == "argument":
                good = "mini" if parameter.name == "model" else "data.xyz"
                words.append(good if rng.random() < 0.8 else rng.choice(files))
            elif parameter.name == "output" and rng.random() < 0.95:
                words += ["-o", rng.choice(["out.xyz", "out.json", "out.traj", "folder", "out", "out.pt", *values])]
            elif rng.random() < 0.12 and parameter.name not in ("help", "epochs", "workers", "repeat"):
                words.append(parameter.opts[0])
                if not parameter.is_flag:
                    words.append(rng.choice([*values, *files]))
        if name == "train" and "--config" not in words:
            words += ["--config", "small.yaml"]
        return [*words, *short.get(name, ())]

    return line


def prepare(folder: Path) -> None:
    """Files to which the command lines refer."""
    from ase.io import read, write

    frames = read(ROOT / "resources/embedded/val.xyz.gz", ":")
    small = sorted(frames, key=len)[:6]
    write(folder / "data.xyz", small, format="extxyz")
    write(folder / "one.xyz", small[0], format="extxyz")
    (folder / "cutoffs.json").write_text(json.dumps({"cutoffs": {"H": 4.0, "C": 4.5, "O": 5.0}}))
    (folder / "folder").mkdir()
    for name in ("config.yaml", "examples/own-data/manifest.yaml"):
        shutil.copy(ROOT / name, folder)
    settings = {"model": {"hidden_irreps": "4x0e + 4x1o", "mlp_irreps": "4x0e", "radial_mlp": [8]}}
    settings |= {stage: {"batch_size": 4} for stage in ("pretrain", "fcl", "static")}
    (folder / "small.yaml").write_text(yaml.safe_dump(settings))


def targets(folder: Path) -> dict[str, Callable[[random.Random], tuple[Any, Callable[[], Any]]]]:
    """By kind: a function that makes an input, and what reads it."""
    from fcl.config.load import load_config, read_settings, training_settings
    from fcl.cutoffs.choice import CutoffChoice
    from fcl.cutoffs.file import read_cutoffs
    from fcl.data.manifest import load_data_manifest
    from fcl.models.files import load, read_card
    from fcl.models.pretrained import FOLDER as shipped

    card, model = json.loads((shipped / "mini.json").read_text()), load("mini")
    cutoffs = {"cutoffs": {"H": 4.0, "C": 4.5}, "provenance": {"weights_sha256": "0" * 64, "pairs_per_atom": 1.5}}
    manifests = [yaml.safe_load(file.read_text()) for file in ROOT.glob("*/*/manifest.yaml")]
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    shutil.copy(shipped / "mini.safetensors", folder / "card.safetensors")
    line = command_lines(folder)

    def of_file(name: str, trees: list[Any], dump: Callable[[Any], str], read: Callable[[Path], Any]):
        def make(rng: random.Random):
            content = written(rng.choice(trees), dump, rng)
            (folder / name).write_bytes(content)
            return content, lambda: read(folder / name)

        return make

    def command(rng: random.Random):
        words = line(rng)
        return words, lambda: run_command(words)

    def read_and_choose(path: Path) -> None:
        read_cutoffs(path)
        CutoffChoice(model, path)

    def read_and_load(path: Path) -> None:
        read_card(path)
        load(path.with_suffix(".safetensors"))

    own = {"pretrain": {"epochs": 3}, "fcl": {"epochs": 2}, "model": {"num_bessel": 8}, "compute": {"threads": 1}}
    return {
        "manifest": of_file("m.yaml", manifests, yaml.safe_dump, load_data_manifest),
        "cutoffs": of_file("c.json", [cutoffs], json.dumps, read_and_choose),
        "card": of_file("card.json", [card], json.dumps, read_and_load),
        "config": of_file("fuzzed.yaml", [config], yaml.safe_dump, load_config),
        "settings": of_file("s.yaml", [own], yaml.safe_dump, lambda path: training_settings(read_settings(path))),
        "command line": command,
    }


def run_command(words: list[str]) -> None:
    """Run a command in this process; raises what it would show as a traceback, or for exit codes without words."""
    from typer.testing import CliRunner

    from fcl.cli.main import app

    for left in Path.cwd().glob("out*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    shutil.rmtree("model", ignore_errors=True)
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = [row for row in done.stderr.splitlines() if row.startswith(("error: ", "Usage: "))]
    if done.exit_code not in (0, 1, 2) or (done.exit_code and not said):
        raise AssertionError(f"exit code {done.exit_code} without words: {done.output}")


class TooLong(BaseException):
    """An input took longer than `LIMIT`."""


def _stop(*_) -> None:
    raise TooLong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", help="only this kind (may be given several times)")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, _stop)
    rng, tried, faults = random.Random(options.seed), Counter(), set()

    def fault(kind: str, text: str, content: Any) -> None:
        if (kind, text) not in faults:
            faults.add((kind, text))
            print(f"{kind}: {text}\n  {content!r}", flush=True)

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(scratch)
        os.chdir(folder)
        prepare(folder)
        made = {kind: make for kind, make in targets(folder).items() if kind in (options.kind or [kind])}
        spent = dict.fromkeys(made, 0.0)
        end = time.process_time() + options.seconds
        while (began := time.process_time()) < end:
            kind = min(spent, key=spent.__getitem__)  # the same time for each
            content, read = made[kind](rng)
            tried[kind] += 1
            signal.setitimer(signal.ITIMER_PROF, LIMIT)
            try:
                read()
            except TooLong:
                fault(kind, "too long", content)
            except BaseException as error:
                names = {base.__name__ for base in type(error).__mro__}
                if not names & set(REFUSED) or not str(error).strip():
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    text = f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
                    fault(kind, text, content)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0.0)
            spent[kind] += time.process_time() - began
        os.chdir(ROOT)
    print(", ".join(f"{count} of {kind}" for kind, count in tried.items()), f"inputs: {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
