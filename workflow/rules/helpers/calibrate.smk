# Helpers of ../calibrate.smk: calibration files.
from snakemake.logging import logger


def calibrated(study, suffix, subsets=None, lambdas=None, seeds=None, folder="calibration"):
    """One file per calibration (subset x lambda x seed), optionally of some subsets, lambdas and seeds; ``folder``
    "unlabelled": of calibrations without labels."""
    calibration = study.calibration
    return numbers(
        study,
        f"{folder}/{{subset}}_lambda{{lam}}_seed{{seed}}{suffix}",
        subset=calibration.subsets if subsets is None else subsets,
        lam=[lambda_label(lam) for lam in (calibration.lambdas if lambdas is None else lambdas)],
        seed=calibration.seeds if seeds is None else seeds,
    )


def chosen(study):
    """One file per choice of lambda: subset x seed."""
    calibration = study.calibration
    pattern = "choice/{subset}_seed{seed}.json"
    return available(numbers(study, pattern, subset=calibration.subsets, seed=calibration.seeds))


def calibration_bounds(wildcards):
    calibration = study_of(wildcards).calibration
    return [calibration.lower_bound, calibration.upper_bound]


def warn_of_short_calibration(study):
    """Warn about a calibration with too few steps to cross the allowed interval, at its maximum number of structures."""
    split = study.calibration.split
    entry = read_data_manifest(study.data.manifest).splits.get(split)
    bounds = [study.data.frame_limit(split), entry.frames if entry else None]
    known = [bound for bound in bounds if bound is not None]
    fault = known and study.calibration.fault_of_reach(min(known), ", ".join(study.calibration.subsets))
    if fault:
        logger.warning(f"WARNING: {fault}")


def calibrated_split(wildcards):
    """The structures of a calibration; an error for models that have a single cutoff."""
    study = study_of(wildcards)
    if study.cutoffs.fixed:
        raise WorkflowError(
            f"studies.{study.name}: cutoffs.r_min = cutoffs.r_max = {study.cutoffs.r_max:g} A: its FCL models have a single "
            "cutoff, there is nothing to calibrate; targets for it are evaluate_all and diatomics_all"
        )
    return store_file(study.name, study.calibration.split)


def measured_seed(wildcards):
    """Seed of the model measured; a single one, since weights do not affect the time."""
    return study_of(wildcards).calibration.seeds[0]


warn_of_short_calibration(STUDY)
