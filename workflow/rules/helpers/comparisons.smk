# Helpers of ../comparisons.smk: studies based on another one.
from fcl.config.load import derived
from fcl.config.sharing import changes

REPEATED = derived(CONFIG.studies, STUDY.name, "repeat")


def made_for(wildcards, purpose):
    """The studies with ``purpose`` that are based on the study of a job."""
    names = derived(CONFIG.studies, wildcards.study, purpose)
    if not names:
        raise WorkflowError(f"no study of config.yaml has base: {wildcards.study} and purpose: {purpose}")
    return [resolve(name) for name in names]


def compared(wildcards):
    """Inputs of the ablation table: files of the FCL models of a study and its ablations."""
    studies = [study_of(wildcards), *made_for(wildcards, "ablation")]
    curves = [
        file for study in studies for file in numbers(study, "diatomics/{model}.csv", model=fcl_models(study))
    ]
    errors = [file for study in studies for file in metrics_files(study, fcl_models(study), "errors")]
    return curves + available(errors)


def fold_errors(wildcards):
    """Errors per structure of the models of each fold, by its study."""
    return {study.name: errors_of(study) for study in made_for(wildcards, "folds")}


def learning_cutoff(wildcards):
    """Cutoff of the static models of the learning curve."""
    return made_for(wildcards, "learning_curve")[0].static.cutoffs[0]


def learning_models(wildcards):
    """(study, static model) of each model of the learning curve."""
    return [
        (study, f"static_r{cutoff_label(learning_cutoff(wildcards))}_seed{seed}")
        for study in [*made_for(wildcards, "learning_curve"), study_of(wildcards)]
        for seed in study.static.seeds
    ]
