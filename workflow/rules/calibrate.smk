# Per-element cutoffs for a subset at one trade-off between error and cost, weights frozen: a job a subset, lambda and seed.
from snakemake.logging import logger


def calibrated(study, suffix, subsets=None, lambdas=None, seeds=None):
    """A file of each calibration, or of those of some subsets, lambdas and seeds: subset x lambda x seed."""
    calibration = study.calibration
    return numbers(
        study,
        f"calibration/{{subset}}_lambda{{lam}}_seed{{seed}}{suffix}",
        subset=calibration.subsets if subsets is None else subsets,
        lam=[lambda_label(lam) for lam in (calibration.lambdas if lambdas is None else lambdas)],
        seed=calibration.seeds if seeds is None else seeds,
    )


def calibration_bounds(wildcards):
    calibration = study_of(wildcards).calibration
    return [calibration.lower_bound, calibration.upper_bound]


def warn_of_short_calibration(study):
    """A calibration whose steps cannot cross the allowed interval, judged by the most structures that it can have."""
    split = study.calibration.split
    entry = read_data_manifest(study.data.manifest).splits.get(split)
    bounds = [study.data.frame_limit(split), entry.frames if entry else None]
    known = [bound for bound in bounds if bound is not None]
    fault = known and study.calibration.fault_of_reach(min(known), ", ".join(study.calibration.subsets))
    if fault:
        logger.warning(f"WARNING: {fault}")


rule calibrate_cutoffs:
    input:
        train=lambda w: store_file(w.study, study_of(w).calibration.split),
        test=stored("test"),
        model="results/{study}/models/fcl_seed{seed}.safetensors",
        card="results/{study}/models/fcl_seed{seed}.json",
    output:
        cutoffs="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}.json",
        history="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}_history.csv",
        metrics="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}_metrics.csv",
        manifest="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}.manifest.json",
    log:
        "results/{study}/logs/calibrate_cutoffs/{subset}_lambda{lam}_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/calibrate_cutoffs/{subset}_lambda{lam}_seed{seed}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("calibrate_cutoffs"),
        runtime=minutes("calibrate_cutoffs"),
    params:
        settings=lambda w: settings(
            w,
            "loss",
            calibration={
                "subsets": [w.subset],
                "lambdas": [float(w.lam)],
                "seeds": [int(w.seed)],
            },
        ),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.calibration:calibrate_cutoffs"),
    message:
        "Optimising the cutoffs for {wildcards.subset} at lambda {wildcards.lam}, seed {wildcards.seed} [gpu={resources.gpu}]"
    script:
        "../scripts/calibrate_cutoffs.py"


rule calibrate_all:
    input:
        calibrated(STUDY, ".json"),


warn_of_short_calibration(STUDY)
