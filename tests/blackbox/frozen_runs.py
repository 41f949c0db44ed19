"""What the black-box tests share: running ``fcl`` and Snakemake as a user would, and comparing with what is stored.

Nothing of the library is imported here or in the tests: see README.md.
"""

import csv
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXPECTED = HERE / "expected"
REGENERATE = "python tests/blackbox/regenerate.py"

#: Results in float64 on another processor: the order of sums, relative to the largest value of an array.
SAME_RESULT = 1e-8
#: Energies in float32, relative.
SAME_FLOAT32 = 1e-5
#: One epoch of training or calibration in float64 on another processor or with other versions, relative. Adam lends a
#: small gradient's rounding to the weights in full, and the tables hold ten digits.
SAME_TRAINING = 1e-6
#: An exported file beside the calculator in one process (eV, eV/A): the same mathematics in another order.
SAME_EXPORTED = 1e-9

#: Left out of every comparison: what is measured by a clock.
TIMES = {"microseconds_per_atom", "microseconds_per_atom_step", "seconds"}


def environment(**variables):
    """That of this process with this checkout's library first, one thread, and pages of a fixed width."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "COLUMNS": "160", "NO_COLOR": "1"}
    return {**os.environ, **fixed, **variables}


def stored(name):
    """The content of expected/NAME.json."""
    return json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))


def store(name, content):
    """Write expected/NAME.json."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)
    EXPECTED.mkdir(exist_ok=True)
    (EXPECTED / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def assert_same(found, expected, rtol=SAME_RESULT, where=""):
    """The same structure and words; numbers within ``rtol`` of the expected ones, arrays of their largest value."""
    numbers = _array(expected)
    if numbers is not None:
        ours = _array(found)
        assert ours is not None and ours.shape == numbers.shape, f"{where}: {found!r} is not {expected!r}"
        deviation = np.abs(ours - numbers).max() / max(np.abs(numbers).max(), 1e-3)
        assert deviation <= rtol, f"{where}: {deviation:.1e} relative, {rtol:.0e} is allowed"
    elif isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), f"{where}: {found} is not {expected}"
        for key, value in expected.items():
            assert_same(found[key], value, rtol, f"{where}, {key}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), f"{where}: {found} is not {expected}"
        for number, (item, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(item, other, rtol, f"{where}, {number}")
    elif isinstance(expected, str):
        assert isinstance(found, str) and same_text(found, expected), f"{where}: {found!r} is not {expected!r}"
    else:
        assert found == expected, f"{where}: {found!r} is not {expected!r}"


def _array(value):
    """A float, or a list of numbers or of such lists, as an array; None for anything else."""
    if isinstance(value, float):
        return np.array([value])
    if not isinstance(value, list) or not value or not all(isinstance(item, float | int | list) for item in value):
        return None
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return None
    return array.astype(float) if array.dtype.kind in "if" else None


def same_text(found, expected):
    """Word for word, however far apart; a number may differ by one in its last digit."""
    ours, theirs = found.split(), expected.split()
    return len(ours) == len(theirs) and all(a == b or _within_a_digit(a, b) for a, b in zip(ours, theirs, strict=True))


def _within_a_digit(found, expected):
    if not re.fullmatch(r"[+-]?\d+\.\d+", found) or not re.fullmatch(r"[+-]?\d+\.\d+", expected):
        return False
    digits = len(expected.split(".")[1])
    return len(found.split(".")[1]) == digits and abs(float(found) - float(expected)) <= 1.01 * 10.0**-digits


# -- the command ------------------------------------------------------------------------------------------------------

_CUTOFFS = "H=4.2,C=4.9,N=5.3,O=5.1,S=6.4,Ca=6.7"
_FRAMES = "structures.xyz"
#: Command lines by what they show. Later ones read what earlier ones wrote.
COMMANDS = {
    "info of an FCL model": ("info", "embedded"),
    "info as JSON": ("info", "mini", "--json"),
    "calibrate at a lambda": (
        "calibrate", "embedded", _FRAMES, "-o", "calibrated.json", "--lambda", "1e-2", "--epochs", "10",
        "--dtype", "float64",
    ),
    "calibrate within a tolerance": (
        "calibrate", "embedded", _FRAMES, "-o", "tolerance.json", "--max-error-increase", "40%", "--epochs", "1",
        "--subset", "SHIFTML-molfrags", "--parent-key", "none", "--dtype", "float64", "--json",
    ),
    "calibrate without labels": (
        "calibrate", "embedded", _FRAMES, "-o", "unlabelled.json", "--max-added-error", "400", "--no-labels",
        "--epochs", "1", "--subset", "SHIFTML-molfrags", "--parent-key", "none", "--dtype", "float64",
    ),
    "evaluate": ("evaluate", "embedded", _FRAMES, "--dtype", "float64"),
    "evaluate at two choices": (
        "evaluate", "embedded", _FRAMES, "--cutoffs", "calibrated.json", "--cutoffs", "5.0", "--dtype", "float64",
        "--json",
    ),
    "predict": ("predict", "embedded", _FRAMES, "-o", "predicted.xyz", "--cutoffs", _CUTOFFS),
    "predict as JSON": ("predict", "mini", _FRAMES, "-o", "mini.xyz", "--json"),
    "relax": ("relax", "embedded", _FRAMES, "-o", "relaxed.xyz", "--fmax", "1.0", "--cutoffs", _CUTOFFS),
    "relax that does not end": ("relax", "embedded", _FRAMES, "-o", "stopped.xyz", "--steps", "2", "--json"),
    "md, NVE": ("md", "embedded", _FRAMES, "-o", "nve.xyz", "--steps", "12", "--json"),
    "md, NVT": (
        "md", "embedded", _FRAMES, "-o", "nvt.xyz", "--steps", "8", "--interval", "4", "--nvt", "--seed", "3",
    ),
    "export": ("export", "embedded", "-o", "exported.pt", "--cutoffs", _CUTOFFS),
    "export at one cutoff": ("export", "embedded", "-o", "uniform.pt", "--cutoffs", "5.5", "--json"),
    "error: no such file": ("predict", "mini", "nothing.xyz", "-o", "nothing_predicted.xyz"),
    "error: the output is there": ("predict", "mini", _FRAMES, "-o", "predicted.xyz"),
    "error: a cutoff that is too large": ("evaluate", "mini", _FRAMES, "--cutoffs", "7.5"),
    "error: an argument is missing": ("relax", "mini"),
    "error: two goals": (
        "calibrate", "mini", _FRAMES, "-o", "two.json", "--lambda", "1", "--max-error-increase", "1%",
    ),
}  # fmt: skip
HELP = ("info", "evaluate", "calibrate", "predict", "relax", "md", "export")
STRUCTURES = ("predicted.xyz", "mini.xyz", "relaxed.xyz", "stopped.xyz", "nve.xyz", "nvt.xyz")
CUTOFF_FILES = ("calibrated.json", "tolerance.json", "unlabelled.json")


def fcl(*arguments, folder=ROOT):
    """Run the command in a process of its own: the console script where there is one."""
    script = Path(sys.executable).with_name("fcl")
    program = [str(script)] if script.is_file() else [sys.executable, "-m", "fcl.cli"]
    return subprocess.run(
        [*program, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def run_session(folder):
    """All `COMMANDS`, their help and the Python API in one process in ``folder``; what session.py wrote, and files."""
    shutil.copy(HERE / _FRAMES, folder)
    lines = [*COMMANDS.values(), *((name, "--help") for name in HELP)]
    (folder / "commands.json").write_text(json.dumps(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(HERE / "session.py"), "commands.json", "found.json"],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert Path(found["library"]).is_relative_to(ROOT / "src"), f"not this checkout's library: {found['library']}"
    ran = found["commands"]
    return {
        "commands": {name: what_it_said(ran[number]) for number, name in enumerate(COMMANDS)},
        "options": {
            name: sorted(set(re.findall(r"(?<!\S)--[a-z][a-z-]+", run["out"])))
            for name, run in zip(HELP, ran[len(COMMANDS) :], strict=True)
        },
        "structures": {name: structures_in(folder / name) for name in STRUCTURES},
        "cutoffs": {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in CUTOFF_FILES},
        "calculators": found["calculators"],
        "exported": found["exported"],
    }


def what_it_said(run):
    """Exit code, output without times, and the sentence of an error. Of a usage error (2) the code alone."""
    if run["code"] == 2:
        return {"code": 2}
    try:
        out = without_times(json.loads(run["out"]))
    except ValueError:
        lines = [line.rstrip() for line in run["out"].splitlines() if not re.match(r"\s+time\s", line)]
        if any("us/atom" in line for line in lines):  # the last column of a table
            lines = [re.sub(r"( us/atom| {3}\d+)$", "", line) for line in lines]
        out = [line for line in lines if re.search(r"\w", line)]
    errors = [line for line in run["err"].splitlines() if line.startswith("error:")]
    return {"code": run["code"], "out": out, "error": errors}


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def structures_in(file):
    """Frames of an extended XYZ file: how many, and of the last one symbols, positions, energy and forces."""
    from ase.io import read

    frames = read(file, ":")
    last = frames[-1]
    return {
        "frames": len(frames),
        "symbols": str(last.symbols),
        "positions": last.positions.tolist(),
        "energies": [atoms.get_potential_energy() for atoms in frames],
        "forces": last.get_forces().tolist(),
    }


# -- the workflow -----------------------------------------------------------------------------------------------------

#: What a copy of the workflow lacks: results, downloads, environments, tests.
_LEFT_OUT = {"results", "data", "tests", "build", "dist", "docs", "shared"}
STUDIES = ("smoke", "mini", "embedded", "paper")
MODELS = ("pretrain", "static_r6.0_seed1", "fcl_seed1")
CALIBRATION = "MC3D_lambda1e-02_seed1"
FCL = "results/smoke/models/fcl_seed1.safetensors"
#: The smoke study at one epoch, in float64 so that its numbers can be compared with those of other processors; with a
#: checkpoint after each step.
TINY = """
studies:
  smoke:
    data: {max_frames_per_subset: {train: 4, val: 1, test: 1}}
    pretrain: {epochs: 1, batch_size: 4, milestones: []}
    fcl: {epochs: 1, batch_size: 2, seeds: [1]}
    static: {epochs: 1, batch_size: 4, milestones: [], cutoffs: [6.0], seeds: [1]}
    calibration: {epochs: 1, batch_size: 2, subsets: [MC3D, SHIFTML-molfrags], lambdas: [1.0e-2], seeds: [1]}
    observables: {null_seed: null}
    compute: {dtype: float64, checkpoint_seconds: 0}
"""
_TINY = ("--configfile", "tiny.yaml", "--config", "study=smoke")


def copy_workflow(target):
    """The repository as the workflow sees it in a fresh clone, without any results."""

    def left_out(folder, names):
        top = {name for name in names if name.startswith(".") or name in _LEFT_OUT} if Path(folder) == ROOT else set()
        return top | {name for name in names if name == "__pycache__" or name.endswith(".egg-info")}

    shutil.copytree(ROOT, target, ignore=left_out, symlinks=True)
    return target


def snakemake(folder, *arguments, **variables):
    """Run Snakemake in ``folder`` on one core; stdout and stderr come back together."""
    kept = environment(XDG_CACHE_HOME=str(folder / ".cache"), **variables)
    extra = variables.get("PYTHONPATH")
    kept["PYTHONPATH"] = os.pathsep.join([*filter(None, [extra]), str(folder / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def planned(folder, study):
    """Jobs by rule that a dry run of a study plans."""
    lines = snakemake(folder, "--dry-run", "--quiet", "rules", "--config", f"study={study}").splitlines()
    table = lines[lines.index("Job stats:") + 3 :]
    jobs = dict(line.split() for line in table[: table.index("")])
    return {rule: int(count) for rule, count in sorted(jobs.items())}


def train(folder):
    """One epoch of pre-training, static and FCL training, and one of calibration, in a copy of the workflow."""
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    targets = [f"results/smoke/models/{model}.safetensors" for model in MODELS]
    snakemake(folder, *targets, f"results/smoke/calibration/{CALIBRATION}.json", *_TINY)
    return folder


#: Runs at the start of a training's process. The first time it kills it by SIGKILL after its second checkpoint; the
#: second time it notes the checkpoints that are written.
WATCHER = """
import json, os, signal, sys, threading, time
from pathlib import Path

def checkpoints():
    return {path.name for path in Path("results/smoke/checkpoints").rglob("[!.]*.safetensors")}

def watch():
    killed, before, seen = Path("killed.json"), checkpoints(), set()
    again = killed.exists()
    while True:
        new = checkpoints() - before - seen
        seen |= new
        if again and new:
            Path("again.json").write_text(json.dumps(sorted(seen)))
        if not again and len(seen) >= 2:
            killed.write_text(json.dumps(sorted(seen)))
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.002)

if "/.snakemake/scripts/" in sys.orig_argv[-1]:
    threading.Thread(target=watch, daemon=True).start()
"""


def kill_and_resume(trained, folder):
    """The FCL training again in a copy of a finished run, killed once; checkpoints before and after that."""
    shutil.copytree(trained, folder)
    for path in folder.glob("results/smoke/**/fcl_seed1*"):
        path.unlink()
    (folder / "watcher").mkdir()
    (folder / "watcher/sitecustomize.py").write_text(WATCHER, encoding="utf-8")
    output = snakemake(folder, FCL, "--retries", "1", *_TINY, PYTHONPATH=str(folder / "watcher"))
    assert "Trying to restart job" in output, output
    return tuple(json.loads((folder / name).read_text()) for name in ("killed.json", "again.json"))


def weights_digest(file):
    """SHA-256 of the names, types, shapes and bytes of all tensors, by name; not of the file's header."""
    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, values in sorted(load_file(file).items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def table_of(file):
    """The rows of a CSV file without times: numbers as numbers."""

    def value(text):
        try:
            return float(text)
        except ValueError:
            return text

    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value(text) for key, text in row.items() if key not in TIMES} for row in rows]


def table_digest(file):
    """SHA-256 of the text of a CSV file without times."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [{key: text for key, text in row.items() if key not in TIMES} for row in csv.DictReader(stream)]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return hashlib.sha256(text.getvalue().encode()).hexdigest()


def trained_numbers(folder):
    """Digests and numbers of what `train` made in ``folder``."""
    results = folder / "results/smoke"
    histories = {model: results / f"metrics/history/{model}.csv" for model in MODELS}
    calibrated = json.loads((results / f"calibration/{CALIBRATION}.json").read_text(encoding="utf-8"))
    cutoffs = calibrated["cutoffs"]
    return {
        "digests": {
            "weights": {model: weights_digest(results / f"models/{model}.safetensors") for model in MODELS},
            "histories": {model: table_digest(file) for model, file in histories.items()},
            "cutoffs": hashlib.sha256(json.dumps(cutoffs, sort_keys=True).encode()).hexdigest(),
        },
        "numbers": {"histories": {model: table_of(file) for model, file in histories.items()}, "cutoffs": cutoffs},
    }


def machine():
    """What the bits of a result depend on: the kind of processor, and the versions of what computes."""
    import torch

    found = {}
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    names = ("vendor_id", "cpu family", "model", "model name")
    processor = ", ".join(found[name] for name in names if name in found) or platform.processor()
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    return {"processor": processor, "instructions": torch.backends.cpu.get_cpu_capability(), **versions}
