# Helpers of ../validate.smk: inputs of the comparison of cutoffs.
def validated_cutoffs(wildcards):
    """Calibrated cutoffs of a subset used in the comparison."""
    validation = study_of(wildcards).validation
    lam, seed = lambda_label(validation.at_lambda), validation.seed
    return f"results/{wildcards.study}/calibration/{wildcards.subset}_lambda{lam}_seed{seed}.json"


def validated_model(wildcards):
    """Weights and card of the model used in the comparison."""
    stem = f"results/{wildcards.study}/models/fcl_seed{study_of(wildcards).validation.seed}"
    return {"model": f"{stem}.safetensors", "card": f"{stem}.json"}


def compared_only(wildcards, *quantities):
    """Settings that narrow the comparison to one job: its subset, and the optional quantities it computes."""
    optional = {"equation_of_state", "phonons", "nve", "rdf"}
    return {"subsets": [wildcards.subset], **dict.fromkeys(sorted(optional - set(quantities)))}


def validated(study, stage):
    """Results of one stage of the comparison, one file per subset; none if the study omits the stage."""
    wanted = stage == "statics" or getattr(study.validation, stage) is not None
    return (
        numbers(study, f"validation/{{subset}}_{stage}.json", subset=study.validation.subsets)
        if wanted
        else []
    )
