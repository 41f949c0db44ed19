"""Running Snakemake in copies of the workflow, with stages that only write files."""

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

# Stages that write their outputs at once: the rules are tested, not the physics. Each one reads the settings
# that the real stage reads, so that a rule which does not declare them fails here too.
STUB_STAGES = """
from fcl.runs.files import write_text

def _write(*paths):
    for path in paths:
        write_text(path, f"{path.name}\\n")

def _train(study, section, model, history, manifest):
    getattr(study, section), study.model, study.loss, study.compute
    _write(model, model.with_suffix(".json"), history, manifest)

def build_store(study, sources, frames, num_elements, workers, references, store, rejected, manifest, check):
    study.data.frame_limit(frames["split"]), study.data.max_force, study.data.strict, study.cutoffs.stored
    check(("MC2D", "MC3D", "SHIFTML-molcrys", "SHIFTML-molfrags"))
    _write(store, rejected, manifest)

def pretrain(study, train, val, seed, model, history, manifest, checkpoints):
    _train(study, "pretrain", model, history, manifest)

def train_fcl(study, train, val, pretrained, seed, model, history, manifest, checkpoints):
    assert study.fcl.seeds == (seed,) and study.cutoffs
    _train(study, "fcl", model, history, manifest)

def train_static(study, train, val, cutoff, seed, model, history, manifest, checkpoints):
    assert study.static.seeds == (seed,) and study.static.cutoffs == (cutoff,)
    _train(study, "static", model, history, manifest)

def evaluate_trivial(train, store, output, errors):
    write_text(output, "")
    write_text(errors, "")

def evaluate_uniform(study, store, model, cutoffs, output, errors, manifest):
    assert study.evaluation.uniform_cutoffs.values() == cutoffs
    write_text(errors, "")
    write_text(output, f"{cutoffs}\\n")
    write_text(manifest, "")

def diatomic_curves(study, model, output, manifest):
    study.diatomics
    _write(output, manifest)

def calibrate_cutoffs(study, train, val, test, model, subset, lam, seed, cutoffs, history, metrics, errors, manifest):
    assert study.calibration.subsets == (subset,) and study.calibration.lambdas == (lam,) and study.loss
    _write(cutoffs, history, metrics, manifest)
    write_text(errors, "")

def choose_cutoffs(study, train, val, model, subset, seed, choice, manifest):
    assert study.calibration.subsets == (subset,) and study.choice.folds and study.loss
    _write(choice, manifest)
"""
STUB_FIGURES = """
from fcl.runs.files import write_text

def _draw(*inputs, png, pdf, csv=None, uniform=(), choices=(), **settings):
    inputs = (*inputs, [*uniform, *choices])
    files = [file for given in inputs for file in (given if isinstance(given, list) else [given])]
    assert all(file.is_file() for file in files)
    for path in (png, pdf, csv):
        if path is not None:
            write_text(path, f"{settings}: {len(files)} files\\n")

figure_01 = figure_02 = figure_03 = figure_04 = figure_05 = _draw
figure_06 = figure_07 = figure_08 = figure_09 = figure_10 = figure_training = figure_wall_clock = _draw

def figure_observables(statics, nve, rdf, png, pdf, csv, **settings):
    _draw(png=png, pdf=pdf, csv=csv, **settings)
"""
# Stages with a module of their own, and what is made of result files: module -> stub. Each file that a rule declares is
# written, and nothing else.
STUB_PRODUCTS = {
    "unlabelled": """
from fcl.runs.files import write_text

def calibrate_unlabelled(study, train, test, model, subset, lam, seed, cutoffs, metrics, manifest):
    assert study.calibration.subsets == (subset,) and study.calibration.lambdas == (lam,) and study.loss
    for path in (cutoffs, metrics, manifest):
        write_text(path, f"{path.name}\\n")
""",
    "wall_clock": """
from fcl.runs.files import write_text

def measure_wall_clock(study, test, model, cutoffs, output, manifest):
    study.calibration.subsets, study.wall_clock.atoms, study.compute
    assert all(file.is_file() for file in cutoffs)
    for path in (output, manifest):
        write_text(path, f"{path.name}\\n")
""",
    "description": """
from fcl.runs.files import write_text

def describe_data(stores, subsets, neighbors, elements, structures, example):
    for path in (neighbors, elements, structures, example):
        write_text(path, f"{sorted(stores)} {subsets}\\n")
""",
    "tables": """
from fcl.runs.files import write_text

def _write(*sources, csv, markdown, latex, html, title="", **settings):
    for path in (csv, markdown, latex, html):
        write_text(path, f"{title}\\n")

table_01 = table_03 = table_04 = table_uniform = table_forces = table_wall_clock = table_labels = _write
table_controls = table_chosen = table_convergence = _write

def table_observables(statics, nve, rdf, *, tolerances, at_lambda, uniform_cutoff, **files):
    _write(**files)

def table_02(study, source, **files):
    study.model, study.cutoffs, study.static
    _write(source, **files)
""",
    "observables": """
from fcl.runs.files import write_text

OPTIONAL = ("equation_of_state", "phonons", "nve", "rdf")

def _compare(study, model, cutoffs, other_model, subset, *outputs, only):
    settings = study.observables
    assert settings.subsets == (subset,) and settings.relaxation and settings.dynamics
    assert {name for name in OPTIONAL if getattr(settings, name)} <= set(only)
    assert model.is_file() and cutoffs.is_file() and "fcl_seed2" in str(other_model)
    for path in outputs:
        write_text(path, f"{subset}\\n")

def observe_statics(study, store, model, cutoffs, other_model, subset, structures, output, manifest):
    _compare(study, model, cutoffs, other_model, subset, structures, output, manifest, only=OPTIONAL[:2])

def observe_nve(study, structures, model, cutoffs, other_model, subset, output, manifest):
    _compare(study, model, cutoffs, other_model, subset, output, manifest, only=["nve"])

def observe_rdf(study, structures, model, cutoffs, other_model, subset, output, manifest):
    _compare(study, model, cutoffs, other_model, subset, output, manifest, only=["rdf"])
""",
    "claims": """
from fcl.runs.files import write_text

def write_claims(*, csv, markdown, html, dataset, title, whole, **files):
    for path in (csv, markdown, html):
        write_text(path, f"{dataset} {title} {whole} {sorted(files)}\\n")
""",
    "report": """
from fcl.runs.files import write_text

def write_report(claims, figures, captions, tables, page, *, folder, study, dataset, title, whole, sample):
    assert len(figures) == len(captions)
    write_text(page, f"{study}: {len(figures)} figures, {len(tables)} tables\\n")
""",
}
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


def put_stubs(folder):
    """Replace stages, figures and embedded data of a copy by stubs that take no time."""
    stubs = (STUB_STAGES, STUB_FIGURES, *STUB_PRODUCTS.values())
    for script in sorted((folder / "workflow/scripts").glob("*.py")):
        module, function = re.search(r'"(fcl[\w.]*):(\w+)"', script.read_text()).groups()
        for code in stubs:
            if re.search(rf"^(?:def )?(?:\w+ = )*{function}\b", code, flags=re.MULTILINE):
                (folder / "src" / f"{module.replace('.', '/')}.py").write_text(code)
    (folder / "src/fcl/study/pages/closing.py").write_text("print('the end')\n")  # called by a rule without a script
    shutil.rmtree(folder / "resources/embedded", ignore_errors=True)
    (folder / "resources/embedded").mkdir()
    (folder / "resources/embedded/manifest.yaml").write_text(STUB_MANIFEST)
    for split in ("train", "val", "test"):
        (folder / f"resources/embedded/{split}.xyz.gz").write_text(split)


def put_into_jobs(folder, code):
    """Let the script of every job of a copy run ``code`` first; ``library_function`` there may be replaced.

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
