# Helpers of ../cost.smk: calibration without labels, and what is measured.
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
