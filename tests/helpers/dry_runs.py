"""Running Snakemake in copies of the workflow, with stages that only write files."""

import ast
import atexit
import os
import re
import shutil
import subprocess
import sys
import textwrap

from preloaded import Snakemake
from project import ROOT

PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs", "resources", "src", "tools", "benchmarks")

# What a stub does before it writes its outputs at once: the rules are tested, not the physics. It reads the settings
# that the real stage reads, so that a rule which does not declare them fails here too.
OPTIONAL = "{name for name in ('equation_of_state', 'phonons', 'nve', 'rdf') if getattr(study.observables, name)}"
COMPARED = "study.observables.subsets == (subset,) and study.observables.relaxation and 'fcl_seed2' in str(other_model)"
CHECKS = {
    "build_store": "study.data.frame_limit(frames['split']), study.data.strict, study.cutoffs.stored; "
    "from fcl.study.subsets import check_of_subsets as check; "
    "check(config, study.name, split)(('MC2D', 'MC3D', 'SHIFTML-molcrys', 'SHIFTML-molfrags'))",
    "pretrain": "study.pretrain, study.model, study.loss, study.compute",
    "train_fcl": "assert study.fcl.seeds == (seed,) and study.cutoffs and study.model and study.loss and study.compute",
    "train_static": "assert (study.static.seeds, study.static.cutoffs) == ((seed,), (cutoff,)); study.model",
    "evaluate_uniform": "assert study.evaluation.uniform_cutoffs.values() == cutoffs",
    "diatomic_curves": "study.diatomics",
    "calibrate_cutoffs": "assert study.calibration.subsets == (subset,) and study.calibration.lambdas == (lam,); "
    "study.loss",
    "choose_cutoffs": "assert study.calibration.subsets == (subset,) and study.choice.folds and study.loss",
    "measure_wall_clock": "study.calibration.subsets, study.wall_clock.atoms, study.compute",
    "table_02": "study.model, study.cutoffs, study.static",
    "observe_statics": f"assert {COMPARED} and {OPTIONAL} <= {{'equation_of_state', 'phonons'}}",
    "observe_nve": f"assert {COMPARED} and {OPTIONAL} <= {{'nve'}}",
    "observe_rdf": f"assert {COMPARED} and {OPTIONAL} <= {{'rdf'}}",
}
STUB_MODULE = """
from pathlib import Path

from fcl.runs.files import write_text

def _write(given):
    values = {name: value for name, value in given.items() if isinstance(value, (str, float, bool, dict, list))}
    values = {name: str(value) for name, value in values.items() if name != "config"}
    for name, file in given.items():
        if isinstance(file, Path) and name != "checkpoints" and not file.exists():  # an output: inputs are there
            write_text(file, f"{values}\\n")
            if file.suffix == ".safetensors":
                write_text(file.with_suffix(".json"), "")
"""
STUB_MANIFEST = """
name: embedded
title: a stub
licence: none
citation: none
version: "1"
splits:
  train: {file: train.xyz.gz, frames: 48}
  val: {file: val.xyz.gz}
  test: {file: test.xyz.gz}
"""


def copy_workflow(target):
    """The parts of the repository that the workflow needs, in ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, target / part)
    return target


def functions_of_rules(folder=ROOT):
    """The library functions, as ``module:function``, that rules call."""
    rules = "".join(path.read_text() for path in sorted((folder / "workflow/rules").glob("*.smk")))
    return sorted(set(re.findall(r'code=(?:code_of\()?"(fcl[\w.]*:\w+)"', rules)))


#: Output files that the decorators of figures and tables add.
ADDED = {"drawn": ("png", "pdf", "csv"), "written": ("csv", "markdown", "latex", "html", "title")}


def stub_of(source, name):
    """A function with the signature of that of this ``name`` in ``source``; of a stage, it returns no facts."""
    node = next(part for part in ast.parse(source).body if isinstance(part, ast.FunctionDef) and part.name == name)
    signature, nothing = node.args, ast.Constant(None)
    for decorator in node.decorator_list:
        added = [ast.arg(word) for word in ADDED[ast.unparse(decorator).partition("(")[0]]]
        signature.kwonlyargs += added
        signature.kw_defaults += [nothing] * len(added)
    signature.defaults = [nothing for _ in signature.defaults]
    signature.kw_defaults = [default and nothing for default in signature.kw_defaults]
    for argument in (*signature.args, *signature.kwonlyargs):
        argument.annotation = None
    facts = "{}" if node.returns is not None and ast.unparse(node.returns) == "dict" else "None"
    check = CHECKS.get(name, "pass")
    return f"\ndef {name}({ast.unparse(signature)}):\n    {check}\n    _write(locals())\n    return {facts}\n"


def put_stubs(folder):
    """Replace stages, figures and embedded data of a copy by stubs that take no time."""
    stubs = {}
    for entry in functions_of_rules(folder):
        module, name = entry.split(":")
        path = folder / "src" / f"{module.replace('.', '/')}.py"
        if "study" in path.parts:
            stubs.setdefault(path, STUB_MODULE)
            stubs[path] += stub_of(path.read_text(), name)
    for path, code in stubs.items():
        path.write_text(code)
    (folder / "src/fcl/study/pages/closing.py").write_text("print('the end')\n")  # called by a rule without a script
    shutil.rmtree(folder / "resources/embedded", ignore_errors=True)
    (folder / "resources/embedded").mkdir()
    (folder / "resources/embedded/manifest.yaml").write_text(STUB_MANIFEST)
    for split in ("train", "val", "test"):
        (folder / f"resources/embedded/{split}.xyz.gz").write_text(split)


def put_into_jobs(folder, code):
    """Let the script of every job of a copy run ``code`` first; ``library_function`` of the adapter may be replaced.

    Jobs find ``sitecustomize`` in src/, which the Snakefile exports; the product knows nothing of it.
    """
    guard = "import sys\nif '/.snakemake/scripts/' in sys.orig_argv[-1]:\n"
    (folder / "src/sitecustomize.py").write_text(guard + textwrap.indent(textwrap.dedent(code), "    "))


def environment(folder, **variables):
    """That of this process, without the library's place and any Slurm job's, and with a cache of the copy's own."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("SLURM")}
    return {**kept, **variables, "XDG_CACHE_HOME": str(folder / ".cache")}


PRELOADED = Snakemake()
atexit.register(PRELOADED.close)


def snakemake(folder, *arguments, cores=2, timeout=300, **variables):
    """Run Snakemake in ``folder`` as a user would; stdout and stderr come back together in ``stdout``.

    ``cores=None`` leaves that to the profile; further keywords are environment variables. A run that plans only is a
    fork of a process that has imported Snakemake.
    """
    arguments = (*(() if cores is None else ("--cores", str(cores))), *arguments)
    if not {"-n", "--dry-run", "--lint"}.isdisjoint(arguments):
        status, said = PRELOADED.run(arguments, folder, environment(folder, **variables))
        return subprocess.CompletedProcess(arguments, status, said)
    return process(folder, *arguments, timeout=timeout, **variables)


def process(folder, *arguments, timeout=300, **variables):
    """``python -m snakemake`` in ``folder``, from nothing."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def planned(folder, *arguments):
    """Jobs that a dry run plans, by rule; an empty dictionary if there is nothing to do."""
    done = snakemake(folder, "--quiet", "rules", "--dry-run", *arguments)
    assert done.returncode == 0, done.stdout
    return job_counts(done.stdout)


def job_counts(text):
    """The first table of job counts in Snakemake's output."""
    lines = text.splitlines()
    if "Job stats:" not in lines:
        assert "Nothing to be done" in text, text
        return {}
    counts = {}
    for line in lines[lines.index("Job stats:") + 3 :]:
        if not line.strip():
            break
        rule, count = line.split()
        counts[rule] = int(count)
    counts.pop("total")
    return counts
