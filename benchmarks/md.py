"""Time per step of molecular dynamics: mace-torch, static and FCL, evaluated eagerly, compiled and from tables.

A molecular crystal of about 1000 atoms at 300 K, float32, neighbour lists and ASE included. All programs run in turn,
in blocks of steps that contain new neighbour lists; ratios are those of the fastest blocks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.data import chemical_symbols
from ase.io import read, write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from inference import crystal
from measure import LABEL, ROOT, begin, finish, interleaved, parser

from fcl import FCLCalculator, load

STATIC = ROOT / "record" / "mad-sample" / "models" / "pretrain.safetensors"
#: Of the shipped model: its force error on molecular crystals is 1.0% above that at 6 A everywhere.
CUTOFFS = ROOT / "record" / "embedded" / "calibration" / "SHIFTML-molcrys_lambda1e-06_seed1.json"
MACE = "mace-torch, 6 A"
#: Until the first forces are there, without imports.
FIRST = """
import sys, time
import torch, ase.io, fcl
from fcl.simulation.calculator import FCLCalculator
file, model, cutoffs, radial = sys.argv[1:]
atoms = ase.io.read(file)
cutoffs = float(cutoffs) if cutoffs.replace(".", "").isdigit() else cutoffs
started = time.perf_counter()
atoms.calc = FCLCalculator(model, cutoffs, dtype="float32", device="cpu", radial=radial)
atoms.get_forces()
print(time.perf_counter() - started)
"""
#: Name: model, cutoffs (None: those of the option), options of the calculator.
PROGRAMS: dict[str, tuple[str, float | None, dict]] = {
    "static, 6 A, eager": ("static", 6.0, {"radial": "network", "backend": "fast"}),
    "static, 6 A, compiled": ("static", 6.0, {"backend": "compiled"}),
    "static, 6 A, tables": ("static", 6.0, {}),
    "FCL, 6 A, tables": ("fcl", 6.0, {}),
    "FCL, 4.2 A, tables": ("fcl", 4.2, {}),
    "FCL, calibrated, eager": ("fcl", None, {"radial": "network", "backend": "fast"}),
    "FCL, calibrated, compiled": ("fcl", None, {"backend": "compiled"}),
    "FCL, calibrated, tables": ("fcl", None, {}),
}


def mace_calculator(path: Path):
    """mace-torch's own calculator with the weights of the static model of the file ``path``."""
    from mace.calculators import MACECalculator

    from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments

    model = load(path)
    mace = ScaleShiftMACE(**backbone_arguments(model.settings, model.cutoff_limit, model.avg_num_neighbors))
    state = {name: value for name, value in model.state_dict().items() if value.numel()}
    left = mace.load_state_dict(state, strict=False)
    assert not left.unexpected_keys and not any(mace.state_dict()[name].numel() for name in left.missing_keys), left
    return MACECalculator(models=[mace.float()], device="cpu", default_dtype="float32")


def block(calculator, start: Atoms, steps: int, threads: int) -> Callable[[], None]:
    """A program that goes on with the dynamics by ``steps``."""
    atoms = start.copy()
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)

    def run() -> None:
        torch.set_num_threads(threads)
        dynamics.run(steps)

    return run


def cutoffs_of_fcl(calculators: dict) -> str:
    """The calibrated cutoffs in words."""
    choice = next(calculator.cutoffs for key, calculator in calculators.items() if key.startswith("FCL, calibrated"))
    if choice.by_element is None:
        return f"{float(choice.per_atom):g} A"
    return ", ".join(f"{chemical_symbols[z]} {a:.2f} A" for z, a in enumerate(choice.by_element) if a == a)


def first_evaluation(atoms: Atoms, model: str, cutoffs: str) -> dict[str, float]:
    """Seconds until the first forces are there, in new processes: with an empty cache, with a full one, by networks."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "start.xyz", atoms)
        environment = {**os.environ, "FCL_CACHE": str(Path(folder) / "cache"), "OMP_NUM_THREADS": "1"}
        seconds = {}
        for name, radial in (("cold", "tables"), ("warm", "tables"), ("network", "network")):
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                FIRST,
                str(Path(folder) / "start.xyz"),
                model,
                cutoffs,
                radial,
            ]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds[name] = float(done.stdout)
        return seconds


def structure(options) -> Atoms:
    """The crystal, or the last structure of ``--structure`` repeated to at least ``--atoms`` atoms."""
    if options.structure is None:
        frame = crystal(options.atoms)
        return Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms = read(options.structure)
    while len(atoms) < options.atoms:
        atoms = atoms.repeat(np.where(np.arange(3) == np.argmin(atoms.cell.lengths()), 2, 1))
    return atoms


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--atoms", type=int, default=1000)
    arguments.add_argument("--structure", type=Path, help="of a file instead of the embedded set")
    arguments.add_argument("--label", default=LABEL, help="what the structure is")
    arguments.add_argument("--model", default="embedded", help="FCL model")
    arguments.add_argument("--cutoffs", default=str(CUTOFFS), help="number or cutoffs file of the FCL model")
    arguments.add_argument("--steps", type=int, default=20, help="steps of a block; of slow programs, a quarter")
    arguments.add_argument("--without", nargs="*", default=[], help="words of programs to leave out, such as compiled")
    arguments.add_argument("--loaded", action="store_true", help="say that other programs were running")
    options = arguments.parse_args()
    begin(options)
    start = structure(options)
    MaxwellBoltzmannDistribution(start, temperature_K=300, rng=np.random.RandomState(1))
    given = float(options.cutoffs) if options.cutoffs.replace(".", "").isdigit() else options.cutoffs
    models = {"static": STATIC, "fcl": options.model}
    programs, steps, calculators = {}, {}, {}
    for threads in range(1, options.threads + 1):
        for name in (MACE, *PROGRAMS):
            if any(word in name for word in options.without):
                continue
            if name == MACE:
                calculator, length = mace_calculator(STATIC), 1
            else:
                kind, cutoff, choice = PROGRAMS[name]
                chosen = given if cutoff is None else cutoff
                calculator = FCLCalculator(models[kind], chosen, dtype="float32", device="cpu", **choice)
                length = options.steps if name.endswith("tables") else max(options.steps // 4, 1)
            key = f"{name}, {threads} threads"
            programs[key], steps[key] = block(calculator, start, length, threads), length
            calculators[key] = calculator
    seconds = interleaved(programs, options.repeats, warm_up=1)
    per_step = {key: {name: value / steps[key] for name, value in values.items()} for key, values in seconds.items()}
    result = {
        "data": options.label, "atoms": len(start), "loaded": options.loaded, "cutoffs": cutoffs_of_fcl(calculators),
        "seconds_per_step": per_step, "first_evaluation_s": first_evaluation(start, options.model, options.cutoffs),
        "paths": {key: getattr(calculator, "path", "mace-torch") for key, calculator in calculators.items()},
        "pairs_per_atom": {key: getattr(calculator, "pairs_per_atom", None) for key, calculator in calculators.items()},
        "times_faster_than_mace": {
            key: per_step[f"{MACE}, {key.rsplit(', ', 1)[1]}"]["min_s"] / values["min_s"]
            for key, values in per_step.items()
        } if MACE.split(",")[0] not in options.without else {},
    }  # fmt: skip
    finish(options, f"dynamics, {options.threads} threads", result)
