# Helpers of ../validate.smk: what the comparison of cutoffs uses.
def validated_cutoffs(wildcards):
    """The calibrated cutoffs of a subset that the comparison uses."""
    validation = study_of(wildcards).validation
    lam, seed = lambda_label(validation.at_lambda), validation.seed
    return f"results/{wildcards.study}/calibration/{wildcards.subset}_lambda{lam}_seed{seed}.json"


def validated_model(wildcards):
    """The model that the comparison uses: weights and card."""
    stem = f"results/{wildcards.study}/models/fcl_seed{study_of(wildcards).validation.seed}"
    return {"model": f"{stem}.safetensors", "card": f"{stem}.json"}


def compared_only(wildcards, *quantities):
    """What narrows the comparison to one job: its subset, and of the optional quantities those that it computes."""
    optional = {"equation_of_state", "phonons", "nve", "rdf"}
    return {"subsets": [wildcards.subset], **dict.fromkeys(sorted(optional - set(quantities)))}


def validated(study, stage):
    """The results of one stage of the comparison, a file a subset; none where the study leaves the stage out."""
    wanted = stage == "statics" or getattr(study.validation, stage) is not None
    return (
        numbers(study, f"validation/{{subset}}_{stage}.json", subset=study.validation.subsets)
        if wanted
        else []
    )
