# Beyond the paper: measured time and memory, and calibration without labels compared with that with labels.


use rule calibrate_cutoffs as calibrate_unlabelled with:
    input:
        train=calibrated_split,
        test=stored("test"),
        model=fcl_file("safetensors"),
        card=fcl_file("json"),
    output:
        cutoffs="results/{study}/unlabelled/{subset}_lambda{lam}_seed{seed}.json",
        metrics="results/{study}/unlabelled/{subset}_lambda{lam}_seed{seed}_metrics.csv",
        manifest="results/{study}/unlabelled/{subset}_lambda{lam}_seed{seed}.manifest.json",
    log:
        "results/{study}/logs/calibrate_unlabelled/{subset}_lambda{lam}_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/calibrate_unlabelled/{subset}_lambda{lam}_seed{seed}.tsv"
    resources:
        **requested("calibrate_unlabelled"),
        gpu=1,
    params:
        labels="model",
    message:
        "Optimising the cutoffs for {wildcards.subset} at lambda {wildcards.lam} without labels [gpu={resources.gpu}]"


# All cores of this machine, so that no other job runs at the same time and disturbs the timings.
use rule train_static as measure_wall_clock with:
    input:
        test=stored("test"),
        model=lambda w: f"results/{w.study}/models/fcl_seed{measured_seed(w)}.safetensors",
        card=lambda w: f"results/{w.study}/models/fcl_seed{measured_seed(w)}.json",
        cutoffs=lambda w: calibrated(study_of(w), ".json", seeds=[measured_seed(w)]),
    output:
        measured="results/{study}/cost/wall_clock.csv",
        manifest="results/{study}/cost/wall_clock.manifest.json",
    log:
        "results/{study}/logs/measure_wall_clock.log",
    benchmark:
        "results/{study}/benchmarks/measure_wall_clock.tsv"
    threads: all_cores
    resources:
        **requested("measure_wall_clock"),
        gpu=1,
    params:
        settings=lambda w: settings(w, "calibration", "wall_clock"),
        code=code_of("fcl.study.stages.wall_clock:measure_wall_clock"),
    message:
        "Measuring time and memory at each set of cutoffs [gpu={resources.gpu}]"


use rule figure_03 as figure_wall_clock with:
    input:
        measured=f"{NUMBERS}/{{study}}/cost/wall_clock.csv",
    output:
        **figure_files("wall_clock", "measured time and memory"),
    log:
        "results/{study}/logs/figures/wall_clock.log",
    params:
        code=code_of("fcl.study.figures.wall_clock:figure_wall_clock"),


use rule table_03 as table_wall_clock with:
    input:
        measured=f"{NUMBERS}/{{study}}/cost/wall_clock.csv",
    output:
        **table_files("wall_clock", "measured time and memory"),
    log:
        "results/{study}/logs/tables/wall_clock.log",
    params:
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=code_of("fcl.study.tables.cost:table_wall_clock"),


use rule table_wall_clock as table_labels with:
    input:
        labelled=lambda w: calibrated(study_of(w), "_metrics.csv", lambdas=study_of(w).unlabelled.lambdas),
        unlabelled=lambda w: calibrated(
            study_of(w), "_metrics.csv", lambdas=study_of(w).unlabelled.lambdas, folder="unlabelled"
        ),
    output:
        **table_files("labels", "calibration without labels"),
    log:
        "results/{study}/logs/tables/labels.log",
    params:
        code=code_of("fcl.study.tables.cost:table_labels"),


rule cost_all:
    input:
        results(STUDY, "figures/wall_clock.{suffix}", suffix=FIGURE_SUFFIXES),
        results(STUDY, "tables/{table}.{suffix}", table=["wall_clock", "labels"], suffix=TABLE_SUFFIXES),
