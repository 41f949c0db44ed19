"""Golden numbers: how they are made, and the command that makes them anew.

    python tests/golden/regenerate.py [folder]

A static and an FCL model are trained by the stages of the study on a slice of the embedded set, in float64, with the
paper's protocol at the smallest size; then both predict a few structures and the FCL model is calibrated. README.md
says when to run it. `test_golden.py` uses the same functions.
"""

from __future__ import annotations

import csv
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from fcl.config.load import load_config
from fcl.data.batch import GraphData
from fcl.data.manifest import load_data_manifest
from fcl.data.store import read_store
from fcl.models.files import load
from fcl.runs.files import write_json
from fcl.study.stages import training as stages
from fcl.study.stages.calibration import calibrate_cutoffs
from fcl.study.stages.data import build_store

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = "python tests/golden/regenerate.py"
DATA = "embedded PBEsol set (not MAD), resources/embedded"
MODELS = ("static", "fcl")
#: Structures of a subset: enough for every element of the predictions to have been trained.
FRAMES = {"train": 6, "val": 2, "test": 1}
#: Changes of the paper's protocol: a model of 65 kB that trains in a second, on the CPU and in float64.
CHANGES = {
    "data": {"manifest": "resources/embedded/manifest.yaml", "max_frames_per_subset": FRAMES},
    "model": {
        "num_elements": 20, "hidden_irreps": "8x0e + 8x1o", "mlp_irreps": "4x0e", "radial_mlp": (16, 16),
        "radial_embedding_hidden": 32, "cutoff_embedding_hidden": 16,
    },
    "pretrain": {"cutoff": 5.0, "epochs": 6, "batch_size": 4, "milestones": (3, 5)},
    "fcl": {"epochs": 6, "batch_size": 4, "learning_rate": 0.0075, "plateau_patience": 1},
    "calibration": {"epochs": 4, "batch_size": 2, "learning_rate": 0.3},
    "compute": {"device": "cpu", "dtype": "float64", "threads": 1},
}  # fmt: skip
CALIBRATIONS = (("MC3D", 1e-3), ("SHIFTML-molfrags", 2e-3))
UNIFORM_CUTOFFS = (4.0, 5.5, 7.0)


def golden_study(**compute):
    """The paper's protocol with `CHANGES`; ``compute`` changes how it is computed (backend)."""
    changes = {**CHANGES, "compute": {**CHANGES["compute"], **compute}}
    return load_config(ROOT / "config.yaml").resolve("paper").narrowed(**changes)


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV file: numbers, True or False where they are."""
    words = {"True": True, "False": False}
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: words[v] if v in words else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def build_stores(folder: Path, splits=tuple(FRAMES)) -> None:
    """``folder/{split}.h5`` from the shipped frames."""
    study, embedded = golden_study(), ROOT / "resources" / "embedded"
    manifest = load_data_manifest(embedded / "manifest.yaml")
    for split in splits:
        outputs = (folder / f"{split}{ending}" for ending in (".h5", ".rejected.csv", ".manifest.json"))
        source, frames = embedded / manifest.splits[split].file, manifest.frame_settings(split)
        build_store(study, [source], frames, study.model.num_elements, 1, *outputs)


def train(folder: Path, backend: str = "auto") -> dict[str, list[dict]]:
    """Train both models from nothing into ``folder``; returns their histories without the times."""
    study = golden_study(backend=backend)
    inputs = folder / "train.h5", folder / "val.h5"
    histories = {}
    for name in MODELS:
        outputs = folder / f"{name}.safetensors", folder / f"{name}.csv", folder / f"{name}.manifest.json"
        if name == "static":
            stages.pretrain(study, *inputs, study.pretrain.seeds[0], *outputs)
        else:
            stages.train_fcl(study, *inputs, folder / "static.safetensors", 1, *outputs)
        histories[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(outputs[1])]
    return histories


def calibrate(folder: Path, model: Path, backend: str = "auto") -> dict[str, dict]:
    """Optimised cutoffs (A) of ``model`` for each of `CALIBRATIONS`, and the objective at each step."""
    results = {}
    study = golden_study(backend=backend)
    for subset, lam in CALIBRATIONS:
        train, val, test = (folder / f"{split}.h5" for split in ("train", "val", "test"))
        outputs = file, _, history = [folder / f"{subset}{end}" for end in (".json", "_metrics.csv", ".csv")]
        calibrate_cutoffs(study, train, test, model, subset, lam, 1, *outputs[:2], val=val, history=history)
        cutoffs = json.loads(file.read_text(encoding="utf-8"))["cutoffs"]
        results[subset] = {"objective": [row["objective"] for row in read_rows(history)], "cutoffs_angstrom": cutoffs}
    return results


def golden_cutoffs(batch) -> dict[str, torch.Tensor]:
    """Cutoffs [n_atoms] (A) of the predictions by name: uniform ones, and one that differs from atom to atom."""
    golden_ratio = 0.5 * (5.0**0.5 - 1.0)
    spread = torch.remainder(golden_ratio * torch.arange(1, batch.n_atoms + 1, dtype=torch.float64), 1.0)
    uniform = {f"{cutoff:.1f}": torch.full((batch.n_atoms,), cutoff, dtype=torch.float64) for cutoff in UNIFORM_CUTOFFS}
    return {**uniform, "per_atom": 3.5 + 3.5 * spread}


def predict(store: Path, path: Path, backend: str = "auto") -> dict[str, dict]:
    """What a model says of every structure of ``store``: energy, forces, stress (periodic ones), and dE/da (FCL).

    One entry a kind of cutoffs; within it lists over structures and atoms. `ValueError` when the backend does not
    cover the model.
    """
    data = GraphData(read_store(store), torch.float64)
    model = load(path, dtype=torch.float64, backend=backend)
    batch = data.batch(torch.arange(len(data)))
    cases = golden_cutoffs(batch)
    if not model.flexible:
        own = torch.full((batch.n_atoms,), model.cutoff_limit, dtype=torch.float64)
        cases = {f"{model.cutoff_limit:.1f}": own}
    periodic = data.batch(torch.nonzero(torch.linalg.det(data.cells).abs() > 1e-6).flatten())
    results = {}
    for name, cutoffs in cases.items():
        output = model(data.select_pairs(batch, cutoffs, model.selector), cutoffs)
        own = cutoffs[torch.isin(batch.structure, periodic.indices)]
        stress = model(data.select_pairs(periodic, own, model.selector), own, stress=True)["stress"]
        results[name] = {"energy_ev": output["energy"], "forces_ev_per_angstrom": output["forces"]}
        results[name]["stress_ev_per_cubic_angstrom"] = stress
        if model.flexible:
            leaf = cutoffs.clone().requires_grad_(True)
            selected = data.select_pairs(batch, leaf, model.selector)
            energy = model(selected, leaf, forces=False, training=True)["energy"].sum()
            (results[name]["de_dcutoff_ev_per_angstrom"],) = torch.autograd.grad(energy, leaf)
    return {name: {key: value.tolist() for key, value in result.items()} for name, result in results.items()}


def main(target: Path) -> None:
    """Train in a temporary folder; write models, cards and ``golden.json`` into ``target``."""
    torch.set_num_threads(1)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_stores(folder)
        histories = train(folder)
        for model in MODELS:
            for suffix in (".safetensors", ".json"):
                (target / f"{model}{suffix}").write_bytes((folder / f"{model}{suffix}").read_bytes())
        numbers = {
            "regenerate": COMMAND,
            "data": DATA,
            "made_with": {package: version(package) for package in ("torch", "e3nn", "mace-torch", "numpy")}
            | {"machine": platform.machine()},
            "histories": histories,
            "predictions": {model: predict(folder / "test.h5", target / f"{model}.safetensors") for model in MODELS},
            "calibration": calibrate(folder, target / "fcl.safetensors"),
        }
    write_json(target / "golden.json", numbers)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
