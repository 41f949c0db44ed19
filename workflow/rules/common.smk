# Study, settings and resources of a job, shared by all rules. Helpers needed in one file only are in helpers/
# (Snakemake's linter requires functions and rules in separate files).
# `results(...)` are files written by a run; `numbers(...)` are the inputs of figures, tables, claims and the report,
# which are read from record/ with --config from_record=true.
import functools
from shlex import quote
from types import SimpleNamespace

from fcl.config.sharing import owner_of_fcl, owner_of_pretrained, owner_of_static, owner_of_store
from fcl.config.types import cutoff_label, lambda_label
from fcl.data.manifest import load_data_manifest
from fcl.runs.code_digest import source_digest
from fcl.study.adapter import export_source_path
from fcl.study.records.record import check_record

export_source_path(ROOT)  # jobs import the library of this checkout, also in a conda environment

STUDY = CONFIG.resolve(CONFIG.study)  # the study of the targets

PLACES = Places(ROOT, workflow.configfiles)
NUMBERS = PLACES.numbers(CONFIG.from_record)
if CONFIG.from_record:
    try:
        check_record(Path(NUMBERS), STUDY.name)
    except FileNotFoundError as error:
        raise WorkflowError(str(error))


wildcard_constraints:
    study="|".join(CONFIG.studies),
    split="train|val|test",
    seed=r"\d+",
    cutoff=r"\d+\.\d",
    subset=r"[A-Za-z0-9_-]+",
    lam=r"\de[+-]\d\d",
    pretrained=r"pretrain(_seed\d+)?",
    model=r"pretrain(_seed\d+)?|fcl_seed\d+|static_r\d+\.\d_seed\d+",
    dataset=r"[^/]+",
    file=r"[^/]+",


@functools.cache
def code_of(function):
    """The library function that a job calls, as ``module:function@digest``; the digest is that of the function and all
    that it uses. scripts/run.py gives it, by name, the files and parameters of the job."""
    return f"{function}@{source_digest(function)}"


@functools.cache
def resolve(name):
    return CONFIG.resolve(name)


def study_of(wildcards):
    return resolve(wildcards.study)


def settings(wildcards, *sections, **narrowed):
    """The sections that determine the result of a job. Keyword arguments narrow a section to the job's part of a sweep,
    so that adding a seed, cutoff or lambda reruns nothing."""
    return study_of(wildcards).narrowed(**narrowed).dump(*sections, *narrowed)


def dtype_of(wildcards):
    compute = study_of(wildcards).compute
    return f"{compute.dtype} with TF32" if compute.tf32 else compute.dtype


def threads_of(wildcards):
    return study_of(wildcards).compute.threads


def all_cores(wildcards):
    """All cores of this machine; on a cluster the usual threads of a job, since Snakemake has no core count there and the
    job process may see more cores of the node than were requested."""
    given = workflow.resource_settings.cores if workflow.is_main_process else None
    return given or threads_of(wildcards)


def requested(rule_name):
    """Memory (MB) and wall time (minutes) of a rule in ``resources`` of the configuration, multiplied by the attempt."""
    entry = getattr(CONFIG.resources, rule_name)
    return {
        "mem_mb": lambda wildcards, attempt: attempt * entry.mem_mb,
        "runtime": lambda wildcards, attempt: attempt * entry.runtime,
    }


@functools.cache
def read_data_manifest(path):
    try:
        return load_data_manifest(PLACES.manifest(path))
    except (FileNotFoundError, ValueError) as error:
        raise WorkflowError(f"data.manifest: {error}")


def data_manifest(wildcards):
    """Data manifest of a job's study: name, title and splits."""
    return read_data_manifest(study_of(wildcards).data.manifest)


def title(wildcards):
    return data_manifest(wildcards).title


def whole_data(wildcards):
    """Whether a study uses its complete data set as published."""
    return study_of(wildcards).data.takes_every_frame and data_manifest(wildcards).as_published


@functools.cache
def store_file(study, split):
    """Graph store of a split: that of the base study if it is identical."""
    return f"results/{owner_of_store(CONFIG, study)}/stores/{split}.h5"


def stored(split):
    """Input function for the graph store of ``split``."""
    return lambda wildcards: store_file(wildcards.study, split)


@functools.cache
def owner_of_model(study, model):
    """The study that trains (and evaluates) a model of ``study``: its base if the training is identical."""
    if model == "trivial":
        return owner_of_store(CONFIG, study)
    if model.startswith("pretrain"):
        return owner_of_pretrained(CONFIG, study, model)
    if model.startswith("fcl_"):
        return owner_of_fcl(CONFIG, study)
    cutoff, seed = model.removeprefix("static_r").split("_seed")
    return owner_of_static(CONFIG, study, float(cutoff), int(seed))


def model_file(suffix, model=None):
    """Input function for weights or card of ``model``, by default that of the wildcards."""

    def path(wildcards):
        name = model or wildcards.model
        return f"results/{owner_of_model(wildcards.study, name)}/models/{name}.{suffix}"

    return path


def fcl_file(suffix):
    """Input function for weights or card of the FCL model with the seed of a job."""
    return lambda w: f"results/{owner_of_fcl(CONFIG, w.study)}/models/fcl_seed{w.seed}.{suffix}"


def metrics_files(study, models, folder="metrics"):
    """Errors of models at uniform cutoffs (or another table); for models shared with the base, those of the base."""
    suffix = "csv.gz" if folder == "errors" else "csv"
    return [f"{NUMBERS}/{owner_of_model(study.name, model)}/{folder}/{model}.{suffix}" for model in models]


def fcl_models(study):
    return [f"fcl_seed{seed}" for seed in study.fcl.seeds]


def static_models(study):
    return [
        f"static_r{cutoff_label(cutoff)}_seed{seed}"
        for cutoff in study.static.cutoffs
        for seed in study.static.seeds
    ]


def models(study):
    """All models trained for a study."""
    return [*study.pretrained_models(), *fcl_models(study), *static_models(study)]


def results(study, pattern, **values):
    """Files written by a run of a study, e.g. ``results(STUDY, "figures/{name}.png", name=[...])``."""
    return expand(f"results/{study.name}/{pattern}", **values)


def available(files):
    """The files; of a record those that it holds: one made before they were kept has none."""
    return [file for file in files if not CONFIG.from_record or Path(file).is_file()]


def numbers(study, pattern, **values):
    """Numeric files used by figures, tables, claims and the report."""
    return expand(f"{NUMBERS}/{study.name}/{pattern}", **values)
