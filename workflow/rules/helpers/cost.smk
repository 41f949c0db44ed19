# Helpers of ../cost.smk: the measured model.
def measured_seed(wildcards):
    """Seed of the model measured; a single one, since weights do not affect the time."""
    return study_of(wildcards).calibration.seeds[0]
