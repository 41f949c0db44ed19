# Helpers of ../figures.smk: inputs of figures.
from fcl.study.paper import nearest_lambda, shown_subset, smallest_lambdas


def uniform_and_trivial_metrics(wildcards):
    """Errors of FCL and static models at uniform cutoffs, and of trivial predictions."""
    study = study_of(wildcards)
    return metrics_files(study, [*fcl_models(study), *static_models(study), "trivial"])


def diatomic_tables(wildcards):
    study = study_of(wildcards)
    return numbers(study, "diatomics/{model}.csv", model=fcl_models(study))


def calibrations_at_one_lambda(wildcards, *subsets):
    """Optimised cutoffs of the subsets (of all if none is named) at the lambda nearest to the paper's 1e-4."""
    study = study_of(wildcards)
    lam = nearest_lambda(study.calibration.lambdas)
    return calibrated(study, ".json", subsets=subsets or None, lambdas=[lam])


def calibrations_of_one_subset(wildcards):
    """Optimised cutoffs of molecular crystals (or else the first subset) at the four smallest lambdas."""
    study = study_of(wildcards)
    subsets, lambdas = [shown_subset(study.calibration.subsets)], smallest_lambdas(study.calibration.lambdas)
    return calibrated(study, ".json", subsets=subsets, lambdas=lambdas)
