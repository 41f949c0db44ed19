# Flexible Cutoff Learning, from data to figures.
#   snakemake --cores all                           mini study: offline, CPU
#   snakemake --cores all --config study=smoke      runs every rule in minutes
#   snakemake --cores all --config study=embedded   the paper's schedule on the same data: hours
#   snakemake --cores 1 figures --config study=embedded from_record=true      drawn from record/, no training
#   snakemake --cores all --use-conda --config study=paper
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from fcl.training.checkpoints import remove_finished
from fcl.config.errors import ConfigError
from fcl.config.load import load_config
from fcl.runs.files import remove_halves

min_version("9.0")


configfile: "config.yaml"


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
include: "workflow/rules/observables.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/tables.smk"
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
