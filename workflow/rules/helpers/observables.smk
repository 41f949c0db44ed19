# Helpers of ../observables.smk: inputs of the comparison of cutoffs.
def compared_cutoffs(wildcards):
    """Calibrated cutoffs of a subset used in the comparison."""
    chosen = study_of(wildcards).observables
    lam, seed = lambda_label(chosen.at_lambda), chosen.seed
    return f"results/{wildcards.study}/calibration/{wildcards.subset}_lambda{lam}_seed{seed}.json"


def compared_model(wildcards):
    """Weights and card of the model used in the comparison."""
    stem = f"results/{wildcards.study}/models/fcl_seed{study_of(wildcards).observables.seed}"
    return {"model": f"{stem}.safetensors", "card": f"{stem}.json"}


def compared_only(wildcards, *quantities):
    """Settings that narrow the comparison to one job: its subset, and the optional quantities it computes."""
    optional = {"equation_of_state", "phonons", "nve", "rdf"}
    return {"subsets": [wildcards.subset], **dict.fromkeys(sorted(optional - set(quantities)))}


def observables(study, stage):
    """Results of one stage of the comparison, one file per subset; none if the study omits the stage."""
    wanted = stage == "statics" or getattr(study.observables, stage) is not None
    return (
        numbers(study, f"observables/{{subset}}_{stage}.json", subset=study.observables.subsets)
        if wanted
        else []
    )
