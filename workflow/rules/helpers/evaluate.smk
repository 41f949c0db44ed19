# Helpers of ../evaluate.smk: cutoff sweep of a model.
def evaluated_cutoffs(wildcards):
    """Uniform cutoffs at which a model is evaluated: all for FCL, its own for a static model."""
    study = study_of(wildcards)
    if wildcards.model.startswith("pretrain"):
        return [study.pretrain.cutoff]
    if wildcards.model.startswith("static_r"):
        return [float(wildcards.model.removeprefix("static_r").split("_")[0])]
    return study.evaluation.uniform_cutoffs.values()


def evaluated_grid(wildcards):
    """The evaluation sweep, narrowed to the cutoffs of the job's model."""
    cutoffs = evaluated_cutoffs(wildcards)
    return {"uniform_cutoffs": {"start": cutoffs[0], "stop": cutoffs[-1]}}
