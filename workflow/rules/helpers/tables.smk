# Helpers of ../tables.smk: errors per structure of the models of a study.
from fcl.config.load import derived
from fcl.study.claims.verdicts import PAPER_DATA


def errors_of(study):
    """Errors per structure of FCL and static models and of trivial predictions."""
    return metrics_files(study, ["trivial", *fcl_models(study), *static_models(study)], "errors")


def structure_errors(wildcards):
    """Errors per structure at uniform cutoffs of the study of a job."""
    return errors_of(study_of(wildcards))


def nests(wildcards):
    """Seed of the pre-trained model of each FCL model."""
    return study_of(wildcards).nests


def calibration_errors(wildcards):
    """Errors per structure of the calibrations of a study."""
    return available(calibrated(study_of(wildcards), "_errors.csv.gz"))


def control_calibrations(wildcards):
    """The studies that calibrate the same models otherwise."""
    return [resolve(name) for name in derived(CONFIG.studies, wildcards.study, "calibration")]


def control_errors(wildcards):
    """Errors per structure of the calibrations of these studies."""
    return [
        file
        for study in control_calibrations(wildcards)
        for file in available(calibrated(study, "_errors.csv.gz"))
    ]


def cutoffs_of(study):
    """Cutoffs at which both FCL and static models are evaluated."""
    grid = study.evaluation.uniform_cutoffs.values()
    return [cutoff for cutoff in study.static.cutoffs if cutoff in grid]


def tables_of_structures():
    """Tables made from files with a row per structure, without those for which the record of a study holds none."""
    uniform = errors_of(STUDY)
    complete = len(available(uniform)) == len(uniform)
    found = available(calibrated(STUDY, "_errors.csv.gz"))
    optimised = complete and len(found) == len(calibrated(STUDY, ".json"))
    described = available(numbers(STUDY, "data/structures.csv.gz"))
    return [
        *(["forces"] if described else []),
        *(["uniform"] if complete else []),
        *(["controls", "chosen", "convergence"] if optimised else []),
    ]


def claims_of_sample(wildcards):
    """The list beside the data manifest of how each claim can be judged on a sample of the paper's data, if there is one."""
    file = Path(PLACES.manifest(study_of(wildcards).data.manifest)).with_name("claims.csv")
    return str(file) if file.is_file() else []
