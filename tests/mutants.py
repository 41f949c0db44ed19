"""Mutation testing by hand: break the code as a developer might, and see the tests notice.

    python tests/mutants.py [--jobs N] [--only WORD]

Each mutation replaces one piece of text in a copy of the project (the working tree is never touched) and runs the tests
that should notice. It is caught when an assertion fails there; an error of import or collection does not count. The
same tests must pass in an unchanged copy first. The exit status is 0 when every mutation is caught.

A mutation whose text is not found exactly once is an error: the code has been rewritten, so the mutation has to be too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What the tests below need of the project.
PARTS = ("src", "tests", "resources", "config.yaml", "pyproject.toml")
SECONDS = 900
#: How pytest reports a failed assertion; any other exception in a test is not what the test was written to see.
ASSERTIONS = ("AssertionError", "assert ", "Failed: DID NOT RAISE")

MODEL, NEIGHBORS, CUTOFFS = (
    "tests/models/test_model.py",
    "tests/data/test_neighbors.py",
    "tests/cutoffs/test_cutoffs.py",
)
SYMMETRY, SAMPLING = "tests/contract/test_symmetry.py", "tests/cutoffs/test_sampling.py"
DERIVATIVES, SMOOTHNESS = "tests/contract/test_derivatives.py", "tests/contract/test_smoothness.py"
EDGES = "tests/cutoffs/test_edges.py"
FORMAT_1 = "tests/golden/test_format_1.py"
TRAINING, CALIBRATION, GOLDEN = "tests/training/test_training.py", "tests/calibration/test_optimise.py", "tests/golden"


@dataclass(frozen=True)
class Mutation:
    """Replace ``old`` (found exactly once) by ``new`` in ``file``; ``tests`` should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


#: The ten usual mistakes.
USUAL = (
    Mutation("power of the taper", "src/fcl/models/conditioning.py", "(1.0 - x) ** 3", "(1.0 - x) ** 2", (SMOOTHNESS,)),
    Mutation(
        "pairs selected by the cutoff of one atom", "src/fcl/cutoffs/edges.py",
        "return self.pair_cutoffs(candidates.i, candidates.j, cutoffs)", "return cutoffs.index_select(0, candidates.i)",
        (NEIGHBORS,),
    ),
    Mutation(
        "another mixing rule", "src/fcl/cutoffs/mixing.py",
        "return 0.5 * (a_i + a_j)", "return a_i.maximum(a_j)", (CUTOFFS,),
    ),
    Mutation(
        "receiver and sender swapped", "src/fcl/models/mace/fast.py",
        "index_add_(0, j, to_j).index_add_(0, i, to_i)", "index_add_(0, i, to_j).index_add_(0, j, to_i)", (MODEL,),
    ),
    Mutation(
        "sign of the cell shifts", "src/fcl/models/interface.py",
        "positions.index_select(0, i) + shifts", "positions.index_select(0, i) - shifts", (SYMMETRY,),
    ),
    Mutation(
        "weights of the loss swapped", "src/fcl/training/loss.py",
        "return loss.energy_weight * energy + loss.force_weight * forces",
        "return loss.force_weight * energy + loss.energy_weight * forces", (TRAINING,),
    ),
    Mutation(
        "no gradient through m_ij", "src/fcl/models/interface.py",
        "pair_cutoffs(*pair_index, cutoffs)", "pair_cutoffs(*pair_index, cutoffs).detach()",
        (DERIVATIVES,),
    ),
    Mutation(
        "normalised by the root of the neighbours", "src/fcl/models/mace/fast.py",
        "1.0 / first.avg_num_neighbors", "1.0 / first.avg_num_neighbors**0.5", (MODEL,),
    ),
    Mutation(
        "optimised cutoffs not clamped", "src/fcl/calibration/optimise.py",
        "values.clamp_(settings.lower_bound, settings.upper_bound)", "pass", (CALIBRATION,),
    ),
    Mutation(
        "seed of the order ignored", "src/fcl/training/fit.py",
        "torch.Generator().manual_seed(order_seed)", "torch.Generator().manual_seed(0)", (TRAINING, GOLDEN),
    ),
)  # fmt: skip

#: Others that would be as silent.
FURTHER = (
    Mutation(
        "sampling from the global generator", "src/fcl/cutoffs/sampling.py",
        "torch.rand(n_atoms, generator=generator,", "torch.rand(n_atoms,", (SAMPLING,),
    ),
    Mutation(
        "a shared cutoff with the derivative of its first element", "src/fcl/calibration/whole.py",
        "np.bincount(self.column, slope[self.elements], len(self))",
        "slope[self.elements][np.unique(self.column, return_index=True)[1]]", ("tests/calibration/test_lbfgs.py",),
    ),
    Mutation(
        "seed of the calibration ignored", "src/fcl/calibration/optimise.py",
        "torch.Generator().manual_seed(seed)", "torch.Generator().manual_seed(0)", (CALIBRATION,),
    ),
    Mutation(
        # (All directed edges backwards would be an inversion of space, which energies rightly do not notice.)
        "one direction of each pair twice, reference path", "src/fcl/models/mace/wrapper.py",
        "torch.cat([pair_index, pair_index.flip(0)]", "torch.cat([pair_index, pair_index]", (MODEL,),
    ),
    Mutation(
        "sign of the forces", "src/fcl/models/interface.py",
        "index_add(0, i, gradient).index_add(0, j, -gradient)", "index_add(0, i, -gradient).index_add(0, j, gradient)",
        (DERIVATIVES,),
    ),
    Mutation(
        "node features without the cutoff", "src/fcl/models/interface.py",
        " + self.cutoff_embedding(cutoffs[:, None])", " + 0.0 * self.cutoff_embedding(cutoffs[:, None])", (GOLDEN,),
    ),
    Mutation(
        "element off by one", "src/fcl/models/mace/model.py",
        "weight.index_select(0, numbers - 1)", "weight.index_select(0, numbers)", (MODEL,),
    ),
    Mutation(
        "last weights instead of the best", "src/fcl/training/fit.py",
        "model.load_state_dict(state.best)", "pass", (TRAINING, GOLDEN),
    ),
    Mutation(
        "cost as a mean over atoms", "src/fcl/cutoffs/cost.py",
        "return (total / _count(structure, n_structures).to(cutoffs.dtype)).mean()", "return (cutoffs**3).mean()",
        (CUTOFFS,),
    ),
    Mutation(
        "pairs counted once", "src/fcl/cutoffs/cost.py",
        "return 2.0 * _count(", "return 1.0 * _count(", (CUTOFFS,),
    ),
    Mutation(
        "no gradient of the objective", "src/fcl/calibration/optimise.py",
        "values if column is None", "values.detach() + 0 * values if column is None", (CALIBRATION,),
    ),
    Mutation(
        "a pair beyond m kept by the selector", "src/fcl/cutoffs/plain.py",
        "return distances <= pair_cutoffs", "return distances <= pair_cutoffs + 0.01", (EDGES,),
    ),
    Mutation(
        "one mixing rule in all exported models", "src/fcl/models/mace/frozen.py",
        "m = self.mixing(a_i, a_j)", "m = 0.5 * (a_i + a_j)", ("tests/contract/test_mixing.py",),
    ),
    Mutation(
        "a mixing rule beyond the reach of the lists", "src/fcl/cutoffs/mixing.py",
        "    _check_mixing_rule(name, rule)\n", "", ("tests/contract/test_mixing.py",),
    ),
    Mutation(
        "validation by a loss of its own", "src/fcl/training/loss.py",
        "found = terms(energy.double(), forces.double(), atoms)",
        "found = (energy.double().abs() / atoms, forces.double().abs())",
        ("tests/training/test_loss.py",),
    ),
    Mutation(
        "released embedding without its last SiLU", "src/fcl/models/conditioning.py",
        'torch.nn.SiLU() if kind == "released"', 'torch.nn.Identity() if kind == "released"', (MODEL,),
    ),
    Mutation(
        "cards of the old format read as new ones", "src/fcl/models/files.py",
        'update={"cutoff_embedding": "released_no_silu"}', "update={}", (FORMAT_1,),
    ),
    Mutation(
        "vectors of the two directions alike", "src/fcl/models/mace/fast.py",
        "sent_j = torch.cat([up.index_select(0, j), -along_j]", "sent_j = torch.cat([up.index_select(0, j), along_j]",
        (MODEL,),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the tests made of a mutation: whether it was ``caught``, by what, and the seconds that it took."""

    mutation: Mutation
    caught: bool
    detail: str
    seconds: float


def mutate(folder: Path, mutation: Mutation) -> None:
    """Apply ``mutation`` below ``folder``. Raises `ValueError` when its text is not there exactly once."""
    path = folder / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file}: {mutation.old!r} is there {text.count(mutation.old)} times, not once")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def copy_project(source: Path, target: Path) -> None:
    """Copy the `PARTS` that are in ``source``."""
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif (source / part).exists():
            shutil.copy2(source / part, target / part)


def environment(folder: Path) -> dict[str, str]:
    """The process environment in which ``folder``'s own library and test helpers are imported."""
    paths = os.pathsep.join([str(folder / "src"), str(folder / "tests/helpers")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit status in ``folder`` (-1: out of time), and the first failure as "test: message" or the output."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no result within {SECONDS} s"
    return done.returncode, (first_failure(report) if report.is_file() else "") or done.stdout[-2000:] + done.stderr


def first_failure(report: Path) -> str:
    """ "test: message" of the first failed test (not an error of a fixture or of collection) of a JUnit report."""
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            return f"{case.get('name')}: {failure.get('message', '')}"
    return ""


def judge(status: int, text: str) -> bool:
    """Whether an assertion of a test failed: exit status 1, and the first failure is an assertion."""
    return status == 1 and any(f": {words}" in text.split("\n")[0] for words in ASSERTIONS)


def attempt(mutation: Mutation, source: Path = ROOT) -> Outcome:
    """Copy, mutate, test."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_project(source, folder)
        mutate(folder, mutation)
        status, text = run_tests(folder, mutation.tests)
    if status == 0:
        text = "all tests passed"
    return Outcome(mutation, judge(status, text), text, time.monotonic() - started)


def check_unchanged(mutations: Sequence[Mutation], source: Path = ROOT) -> str:
    """Run all the tests in an unchanged copy; what is wrong with them, or nothing."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    with tempfile.TemporaryDirectory(prefix="unchanged-") as name:
        folder = Path(name)
        copy_project(source, folder)
        where = "import fcl; print(fcl.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", where],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            check=True,
        )
        if not Path(done.stdout.strip()).resolve().is_relative_to(folder.resolve()):
            return f"fcl is imported from {done.stdout.strip()}, not from the copy"
        status, text = run_tests(folder, tests)
    return f"the tests fail without any mutation: {text}" if status else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutations and print one line each; 0 when all are caught."""
    parser = argparse.ArgumentParser(description="Break the code and see the tests notice.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutations tried side by side")
    parser.add_argument("--only", default="", help="only mutations whose name contains this")
    options = parser.parse_args(arguments)
    groups = {
        title: [mutation for mutation in group if options.only in mutation.name]
        for title, group in (("usual mistakes", USUAL), ("further ones", FURTHER))
    }
    chosen = [mutation for group in groups.values() for mutation in group]
    print(f"{len(chosen)} mutations; first the same tests on the code as it is", flush=True)
    fault = check_unchanged(chosen)
    if fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for title, group in groups.items():
            outcomes = []
            for outcome in pool.map(attempt, group):
                outcomes.append(outcome)
                word, detail = "caught" if outcome.caught else "MISSED", " ".join(outcome.detail.split())
                print(f"{word}  {outcome.seconds:4.0f} s  {outcome.mutation.name:<48} {detail[:110]}", flush=True)
            caught = sum(outcome.caught for outcome in outcomes)
            missed += len(outcomes) - caught
            if outcomes:
                print(f"{title}: {caught} of {len(outcomes)} caught", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
