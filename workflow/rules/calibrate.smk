# Per-element cutoffs with frozen weights: one job per (subset, lambda, seed); choice of lambda: one per (subset, seed).


include: "helpers/calibrate.smk"


use rule train_static as calibrate_cutoffs with:
    input:
        train=calibrated_split,
        val=stored("val"),
        test=stored("test"),
        model=fcl_file("safetensors"),
        card=fcl_file("json"),
    output:
        cutoffs="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}.json",
        history="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}_history.csv",
        metrics="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}_metrics.csv",
        errors="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}_errors.csv.gz",
        manifest="results/{study}/calibration/{subset}_lambda{lam}_seed{seed}.manifest.json",
    log:
        "results/{study}/logs/calibrate_cutoffs/{subset}_lambda{lam}_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/calibrate_cutoffs/{subset}_lambda{lam}_seed{seed}.tsv"
    resources:
        **requested("calibrate_cutoffs"),
        gpu=1,
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
        code=code_of("fcl.study.stages.calibration:calibrate_cutoffs"),
    message:
        "Optimising the cutoffs for {wildcards.subset} at lambda {wildcards.lam}, seed {wildcards.seed} [gpu={resources.gpu}]"


use rule calibrate_cutoffs as choose_cutoffs with:
    input:
        train=stored("train"),
        val=stored("val"),
        model=fcl_file("safetensors"),
        card=fcl_file("json"),
    output:
        choice="results/{study}/choice/{subset}_seed{seed}.json",
        manifest="results/{study}/choice/{subset}_seed{seed}.manifest.json",
    log:
        "results/{study}/logs/choose_cutoffs/{subset}_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/choose_cutoffs/{subset}_seed{seed}.tsv"
    resources:
        **requested("choose_cutoffs"),
        gpu=1,
    params:
        settings=lambda w: settings(
            w,
            "loss",
            "choice",
            # of the calibrations themselves it depends on the lambdas, bounds and start only
            calibration={
                "subsets": [w.subset],
                "seeds": [int(w.seed)],
                "split": "train",
                "optimiser": "lbfgs",
                "epochs": 1,
                "learning_rate": 1.0,
            },
        ),
        code=code_of("fcl.study.stages.calibration:choose_cutoffs"),
    message:
        "Choosing lambda for {wildcards.subset} by cross-validation, seed {wildcards.seed} [gpu={resources.gpu}]"


rule calibrate_all:
    input:
        calibrated(STUDY, ".json"),
        chosen(STUDY),
