# Helpers of ../tables.smk: errors per structure of the models of a study.
def structure_errors(wildcards):
    """Errors per structure of FCL and static models and of trivial predictions."""
    study = study_of(wildcards)
    return metrics_files(study, ["trivial", *fcl_models(study), *static_models(study)], "errors")


def nests(wildcards):
    """Seed of the pre-trained model of each FCL model."""
    return study_of(wildcards).nests


def common_cutoffs(wildcards):
    """Cutoffs at which both FCL and static models are evaluated."""
    study = study_of(wildcards)
    grid = study.evaluation.uniform_cutoffs.values()
    return [cutoff for cutoff in study.static.cutoffs if cutoff in grid]


def has_structure_errors():
    """Whether errors per structure are there: a record made before they were kept has none."""
    files = structure_errors(SimpleNamespace(study=STUDY.name))
    return not CONFIG.from_record or all(Path(file).is_file() for file in files)


def claims_of_sample(wildcards):
    """The list beside the data manifest of how each claim can be judged on a sample of the paper's data, if there is one."""
    file = Path(study_of(wildcards).data.manifest).with_name("claims.csv")
    return [str(file)] if file.is_file() else []
