# Helpers of ../cost.smk: calibration without labels, and the measured model.
def unlabelled(study, suffix):
    """One file per calibration without labels: subset x lambda x seed."""
    return numbers(
        study,
        f"unlabelled/{{subset}}_lambda{{lam}}_seed{{seed}}{suffix}",
        subset=study.calibration.subsets,
        lam=[lambda_label(lam) for lam in study.unlabelled.lambdas],
        seed=study.calibration.seeds,
    )


def measured_seed(wildcards):
    """Seed of the model measured; a single one, since weights do not affect the time."""
    return study_of(wildcards).calibration.seeds[0]
