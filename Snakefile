# Flexible Cutoff Learning, from data to figures.
#   snakemake --cores all                           mini study: offline, CPU
#   snakemake --cores all --config study=smoke      runs every rule in minutes
#   snakemake --cores all --config study=embedded   the paper's schedule on the same data: hours
#   snakemake --cores 1 figures --config study=mini from_record=true          drawn from record/, no training
#   snakemake --cores all --use-conda --config study=paper
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

# The folder of this file, also where it is a module of another workflow.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
if not (ROOT / "src").is_dir():
    raise WorkflowError("The workflow needs its whole folder: clone it, and give the path of its Snakefile")
sys.path.insert(0, str(ROOT / "src"))
from fcl.training.checkpoints import remove_finished
from fcl.config.errors import ConfigError, deep_merge
from fcl.config.load import load_config, read_settings
from fcl.runs.files import remove_halves
from fcl.study.places import Places

min_version("9.0")


configfile: Places(ROOT).own("config.yaml")


# A module with settings of its own: the others are those of config.yaml.
if workflow.modifier.skip_configfile:
    config = deep_merge(read_settings(ROOT / "config.yaml"), config)
try:  # first, so that configuration errors stop the run within a second
    CONFIG = load_config(config)
except ConfigError as error:
    raise WorkflowError(f"The configuration (config.yaml, --configfile, --config) cannot be used: {error}")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/helpers/outputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/diatomics.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/observables.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/comparisons.smk"
include: "workflow/rules/plan.smk"


rule all:
    default_target: True
    input:
        # every model is evaluated; weights are not requested themselves, since a clone may lack them
        rules.evaluate_all.input,
        rules.external.input,
        rules.diatomics_all.input,
        rules.calibrate_all.input,
        rules.observables_all.input,
        rules.cost_all.input,
        rules.figures.input,
        rules.tables.input,
        rules.claims.input,
        rules.report.input,
        # summary of a run; omitted when drawing from the record
        [] if CONFIG.from_record else results(STUDY, "summary.txt"),


include: "workflow/rules/compare.smk"


onsuccess:
    # Not at the end of a training: until all outputs are accepted, a job may have to write its results again.
    for study in CONFIG.studies:  # targets such as `ablations` train several studies
        remove_finished(f"results/{study}/checkpoints")
        remove_halves(f"results/{study}")
