# Per-element cutoffs with frozen weights: one job per (subset, lambda, seed).


include: "helpers/calibrate.smk"


rule calibrate_cutoffs:
    input:
        train=calibrated_split,
        val=stored("val"),
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
