# Helpers of ../tables.smk: errors per structure of the models of a study.
def errors_of(study):
    """Errors per structure of FCL and static models and of trivial predictions."""
    return metrics_files(study, ["trivial", *fcl_models(study), *static_models(study)], "errors")


def nests_of(study):
    """Seed of the pre-trained model of each FCL model."""
    return {f"fcl_seed{seed}": study.pretrain_seed(seed) for seed in study.fcl.seeds}


def cutoffs_of(study):
    """Cutoffs at which both FCL and static models are evaluated."""
    grid = study.evaluation.uniform_cutoffs.values()
    return [cutoff for cutoff in study.static.cutoffs if cutoff in grid]


def has_structure_errors():
    """Whether errors per structure are there: a record made before they were kept has none."""
    files = errors_of(STUDY)
    return not CONFIG.from_record or all(Path(file).is_file() for file in files)
