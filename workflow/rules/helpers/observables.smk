# Helpers of ../observables.smk: inputs of the comparison of cutoffs.
def compared_cutoffs(wildcards):
    """Calibrated cutoffs of a subset used in the comparison."""
    chosen = study_of(wildcards).observables
    lam, seed = lambda_label(chosen.at_lambda), chosen.seed
    return f"results/{wildcards.study}/calibration/{wildcards.subset}_lambda{lam}_seed{seed}.json"


def compared_models(wildcards):
    """Weights and cards of the model used in the comparison and, if there is one, of another training seed."""
    chosen, files = study_of(wildcards).observables, {}
    for prefix, seed in {"": chosen.seed, "other_": chosen.null_seed}.items():
        if seed is not None:
            stem = f"results/{wildcards.study}/models/fcl_seed{seed}"
            files |= {f"{prefix}model": f"{stem}.safetensors", f"{prefix}card": f"{stem}.json"}
    return files


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
