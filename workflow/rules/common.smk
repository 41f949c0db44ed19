# What the rules share: the study of a job, its settings, and what it asks of a scheduler. Rules are in the other files.
# `results(...)` are files that a run writes; `numbers(...)` are those that figures, tables, claims and the report are made
# of, which are read from record/ instead with --config from_record=true.
import functools

from fcl.study.adapter import export_source_path
from fcl.config.sharing import changes, owner_of_pretrained, owner_of_static, owner_of_store
from fcl.config.load import derived
from fcl.config.types import cutoff_label, lambda_label
from fcl.data.manifest import load_data_manifest
from fcl.runs.code_digest import adapter_digest
from fcl.study.records.record import check_record, numbers_root
from fcl.study.paper import nearest_lambda, shown_subset, smallest_lambdas
from snakemake.logging import logger

export_source_path(workflow.basedir)  # jobs import the library of this checkout, in a conda environment too

STUDY = CONFIG.resolve(CONFIG.study)  # the study that the targets belong to

NUMBERS = numbers_root(CONFIG.from_record)
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
    model=r"pretrain|fcl_seed\d+|static_r\d+\.\d_seed\d+",
    dataset=r"[^/]+",
    file=r"[^/]+",


@functools.cache
def source_digest(function):
    """The code that determines a result: a library function, what it reaches, and the script that calls it."""
    return adapter_digest(function, Path(workflow.basedir) / "workflow/scripts")


@functools.cache
def resolve(name):
    return CONFIG.resolve(name)


def study_of(wildcards):
    return resolve(wildcards.study)


def settings(wildcards, *sections, **narrowed):
    """The sections that determine the result of a job; those given by keyword are narrowed to its part of a sweep, so
    that one more seed, cutoff or lambda runs nothing again."""
    return study_of(wildcards).narrowed(**narrowed).dump(*sections, *narrowed)


def store_settings(wildcards):
    """What a graph store depends on: the data, and the range of its pairs, but neither where files were got from nor
    how cutoffs are sampled."""
    reach = {"r_min": study_of(wildcards).cutoffs.r_max, "sampling": "atoms"}
    return settings(wildcards, data={"local_dir": None}, cutoffs=reach)


def dtype_of(wildcards):
    compute = study_of(wildcards).compute
    return f"{compute.dtype} with TF32" if compute.tf32 else compute.dtype


def threads_of(wildcards):
    return study_of(wildcards).compute.threads


def all_cores(wildcards):
    """All cores of this machine. On a cluster a job's usual threads: Snakemake is given no number of cores there, and
    the process that runs the job is given all of the node, which may be more than was asked for."""
    given = workflow.resource_settings.cores if workflow.is_main_process else None
    return given or threads_of(wildcards)


def memory(rule_name):
    """Memory in MB, more at each further attempt."""
    base = getattr(CONFIG.resources, rule_name).mem_mb
    return lambda wildcards, attempt: attempt * base


def minutes(rule_name):
    """Wall time in minutes, more at each further attempt."""
    base = getattr(CONFIG.resources, rule_name).runtime
    return lambda wildcards, attempt: attempt * base


@functools.cache
def read_data_manifest(path):
    try:
        return load_data_manifest(path)
    except (FileNotFoundError, ValueError) as error:
        raise WorkflowError(f"data.manifest: {error}")


def data_manifest(wildcards):
    """The data manifest of a job's study: name, title and splits."""
    return read_data_manifest(study_of(wildcards).data.manifest)


def whole_data(wildcards):
    """Whether a study has all of its data set as it was published."""
    return study_of(wildcards).data.takes_every_frame and data_manifest(wildcards).as_published


def study_of_dataset(wildcards):
    """A study whose manifest describes the data set of a download; the chosen study is asked first."""
    for study in (STUDY, *map(resolve, CONFIG.studies)):
        if (
            Path(study.data.manifest).is_file()
            and read_data_manifest(study.data.manifest).name == wildcards.dataset
        ):
            return study
    raise WorkflowError(f"no study of config.yaml has a manifest of the data set {wildcards.dataset!r}")


def split_entry(wildcards):
    entry = data_manifest(wildcards).splits.get(wildcards.split)
    if entry is None:
        raise WorkflowError(f"{study_of(wildcards).data.manifest}: splits.{wildcards.split} is missing")
    return entry


def source_file(wildcards):
    """The frames of a split: downloaded where the manifest gives an address, beside the manifest otherwise."""
    entry = split_entry(wildcards)
    if entry.url is None:
        return str(Path(study_of(wildcards).data.manifest).parent / entry.file)
    return f"data/{data_manifest(wildcards).name}/{wildcards.split}/{entry.file}"


def frame_settings(wildcards):
    """What the data manifest says of the frames of a job's split."""
    split_entry(wildcards)  # an error of its own where the manifest lacks the split
    return data_manifest(wildcards).frame_settings(wildcards.split)


def fitted_references(wildcards):
    """The store whose fitted reference energies hold for the other splits too: that of the training split."""
    if wildcards.split == "train" or not data_manifest(wildcards).fits_references():
        return []
    return store_file(wildcards.study, "train")


@functools.cache
def store_file(study, split):
    """The graph store of a split: that of the study's base where it is the same."""
    return f"results/{owner_of_store(CONFIG, study)}/stores/{split}.h5"


def described_store(study, split):
    """A file that says what a graph store holds: its run manifest, or the run manifests of the record."""
    folder = f"{NUMBERS}/{owner_of_store(CONFIG, study)}"
    return f"{folder}/manifest.json" if CONFIG.from_record else f"{folder}/stores/{split}.manifest.json"


def stored(split):
    """Input function of a rule that needs the graph store of ``split``."""
    return lambda wildcards: store_file(wildcards.study, split)


@functools.cache
def owner_of_model(study, model):
    """The study that trains (and evaluates) a model of ``study``: its base, where the training is the same."""
    if model == "pretrain":
        return owner_of_pretrained(CONFIG, study)
    if not model.startswith("static_r"):
        return study
    cutoff, seed = model.removeprefix("static_r").split("_seed")
    return owner_of_static(CONFIG, study, float(cutoff), int(seed))


def model_file(suffix, model=None):
    """Input function of a rule that needs weights or card of ``model``, by default of that of its wildcards."""

    def path(wildcards):
        name = model or wildcards.model
        return f"results/{owner_of_model(wildcards.study, name)}/models/{name}.{suffix}"

    return path


def metrics_files(study, models, folder="metrics"):
    """Errors of models at uniform cutoffs (or another table of each); a model that is the base's has the base's."""
    return [f"{NUMBERS}/{owner_of_model(study.name, model)}/{folder}/{model}.csv" for model in models]


def evaluated_cutoffs(wildcards):
    """Uniform cutoffs at which a model is evaluated: FCL sweeps them, a static model has its own only."""
    study = study_of(wildcards)
    if wildcards.model == "pretrain":
        return [study.pretrain.cutoff]
    if wildcards.model.startswith("static_r"):
        return [float(wildcards.model.removeprefix("static_r").split("_")[0])]
    return study.evaluation.uniform_cutoffs.values()


def evaluated_grid(wildcards):
    """The sweep of the evaluation, narrowed to the cutoffs of the job's model."""
    cutoffs = evaluated_cutoffs(wildcards)
    return {"uniform_cutoffs": {"start": cutoffs[0], "stop": cutoffs[-1]}}


def fcl_models(study):
    return [f"fcl_seed{seed}" for seed in study.fcl.seeds]


def static_models(study):
    return [
        f"static_r{cutoff_label(cutoff)}_seed{seed}"
        for cutoff in study.static.cutoffs
        for seed in study.static.seeds
    ]


def models(study):
    """Every model that a study trains."""
    return ["pretrain", *fcl_models(study), *static_models(study)]


def results(study, pattern, **values):
    """Files that a run of a study writes, e.g. ``results(STUDY, "figures/{name}.png", name=[...])``."""
    return expand(f"results/{study.name}/{pattern}", **values)


def numbers(study, pattern, **values):
    """Files of numbers that figures, tables, claims and the report are made of."""
    return expand(f"{NUMBERS}/{study.name}/{pattern}", **values)


def calibrated(study, suffix, subsets=None, lambdas=None, seeds=None):
    """A file of each calibration, or of those of some subsets, lambdas and seeds: subset x lambda x seed."""
    calibration = study.calibration
    return numbers(
        study,
        f"calibration/{{subset}}_lambda{{lam}}_seed{{seed}}{suffix}",
        subset=calibration.subsets if subsets is None else subsets,
        lam=[lambda_label(lam) for lam in (calibration.lambdas if lambdas is None else lambdas)],
        seed=calibration.seeds if seeds is None else seeds,
    )


def validated_cutoffs(wildcards):
    """The calibrated cutoffs of a subset that the comparison uses."""
    validation = study_of(wildcards).validation
    lam, seed = lambda_label(validation.at_lambda), validation.seed
    return f"results/{wildcards.study}/calibration/{wildcards.subset}_lambda{lam}_seed{seed}.json"


def validated_model(wildcards):
    """The model that the comparison uses: weights and card."""
    stem = f"results/{wildcards.study}/models/fcl_seed{study_of(wildcards).validation.seed}"
    return {"model": f"{stem}.safetensors", "card": f"{stem}.json"}


def compared_only(wildcards, *quantities):
    """What narrows the comparison to one job: its subset, and of the optional quantities those that it computes."""
    optional = {"equation_of_state", "phonons", "nve", "rdf"}
    return {"subsets": [wildcards.subset], **dict.fromkeys(sorted(optional - set(quantities)))}


def validated(study, stage):
    """The results of one stage of the comparison, a file a subset; none where the study leaves the stage out."""
    wanted = stage == "statics" or getattr(study.validation, stage) is not None
    return (
        numbers(study, f"validation/{{subset}}_{stage}.json", subset=study.validation.subsets)
        if wanted
        else []
    )


def unlabelled(study, suffix):
    """A file of each calibration without labels: subset x lambda x seed."""
    return numbers(
        study,
        f"unlabelled/{{subset}}_lambda{{lam}}_seed{{seed}}{suffix}",
        subset=study.calibration.subsets,
        lam=[lambda_label(lam) for lam in study.unlabelled.lambdas],
        seed=study.calibration.seeds,
    )


def measured_seed(wildcards):
    """One model is measured: weights do not change the time."""
    return study_of(wildcards).calibration.seeds[0]


def table_files(number, title):
    """Outputs of one of the paper's tables."""
    return named_table_files(f"table{number}", title, caption="../report/table.rst")


def named_table_files(name, title, caption):
    """Outputs of a table: the four formats, of which the report shows the HTML, and the run manifest."""
    path = f"results/{{study}}/tables/{name}"
    page = report(
        f"{path}.html",
        caption=caption,
        category="Tables",
        labels={"study": "{study}", "table": title},
    )
    files = {"csv": f"{path}.csv", "markdown": f"{path}.md", "latex": f"{path}.tex", "html": page}
    return {**files, "manifest": f"{path}.manifest.json"}


def figure_files(number, title, numbers=True):
    """Outputs of one of the paper's figures."""
    return named_figure_files(f"fig{number}", title, numbers)


def named_figure_files(name, title, numbers=True):
    """Outputs of a figure: as of any picture, and the numbers drawn if there are any."""
    path = f"results/{{study}}/figures/{name}"
    files = picture_files(path, name, title)
    return {**files, "numbers": f"{path}.csv"} if numbers else files


def picture_files(path, caption, title):
    """Outputs of a picture: PNG (for the report) and PDF, and the run manifest."""
    picture = report(
        f"{path}.png",
        caption=f"../report/{caption}.rst",
        category="Figures",
        labels={"study": "{study}", "figure": title},
    )
    return {"png": picture, "pdf": f"{path}.pdf", "manifest": f"{path}.manifest.json"}


def uniform_metrics(wildcards):
    """Errors of the FCL models and of the static ones at uniform cutoffs."""
    study = study_of(wildcards)
    return metrics_files(study, [*fcl_models(study), *static_models(study)])


def diatomic_tables(wildcards):
    study = study_of(wildcards)
    return numbers(study, "diatomics/{model}.csv", model=fcl_models(study))


def calibrations_at_one_lambda(wildcards, *subsets):
    """Optimised cutoffs of the subsets (of all if none is named) at the lambda nearest to the paper's 1e-4."""
    study = study_of(wildcards)
    lam = nearest_lambda(study.calibration.lambdas)
    return calibrated(study, ".json", subsets=subsets or None, lambdas=[lam])


def calibrations_of_one_subset(wildcards):
    """Optimised cutoffs of molecular crystals, or else of the first subset, at the four smallest lambdas."""
    calibration = study_of(wildcards).calibration
    return calibrated(
        study_of(wildcards),
        ".json",
        subsets=[shown_subset(calibration.subsets)],
        lambdas=smallest_lambdas(calibration.lambdas),
    )


def calibration_bounds(wildcards):
    calibration = study_of(wildcards).calibration
    return [calibration.lower_bound, calibration.upper_bound]


def warn_of_short_calibration(study):
    """A calibration whose steps cannot cross the allowed interval, judged by the most structures that it can have."""
    split = study.calibration.split
    entry = read_data_manifest(study.data.manifest).splits.get(split)
    bounds = [study.data.frame_limit(split), entry.frames if entry else None]
    known = [bound for bound in bounds if bound is not None]
    fault = known and study.calibration.fault_of_reach(min(known), ", ".join(study.calibration.subsets))
    if fault:
        logger.warning(f"WARNING: {fault}")


def check_subsets(study):
    """Subsets that the data do not have are an error before anything runs, where that is known."""
    for section in ("calibration", "validation"):
        for split in (study.calibration.split, "test"):
            subsets = getattr(study, section).subsets
            fault = read_data_manifest(study.data.manifest).fault_of_subsets(split, subsets)
            if fault:
                raise WorkflowError(f"studies.{study.name}.{section}.subsets: {fault}")


check_subsets(STUDY)
warn_of_short_calibration(STUDY)


def made_for(wildcards, purpose):
    """The studies that are based on that of a job for ``purpose``."""
    names = derived(CONFIG.studies, wildcards.study, purpose)
    if not names:
        raise WorkflowError(f"no study of config.yaml has base: {wildcards.study} and purpose: {purpose}")
    return [resolve(name) for name in names]


def compared(wildcards):
    """What the ablation table reads of the FCL models of a study and of its ablations."""
    studies = [study_of(wildcards), *made_for(wildcards, "ablation")]
    return [
        file
        for study in studies
        for folder in ("metrics", "diatomics")
        for file in numbers(study, f"{folder}/{{model}}.csv", model=fcl_models(study))
    ]


def learning_cutoff(wildcards):
    """The cutoff of the static models of the learning curve."""
    return made_for(wildcards, "learning_curve")[0].static.cutoffs[0]


def learning_models(wildcards):
    """(study, static model) of each model of the learning curve."""
    return [
        (study, f"static_r{cutoff_label(learning_cutoff(wildcards))}_seed{seed}")
        for study in [*made_for(wildcards, "learning_curve"), study_of(wildcards)]
        for seed in study.static.seeds
    ]
