# Beyond the paper: measured time and memory, and calibration without labels compared with that with labels.


include: "helpers/cost.smk"


rule calibrate_unlabelled:
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
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("calibrate_unlabelled"),
        runtime=minutes("calibrate_unlabelled"),
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
        code=source_digest("fcl.study.stages.unlabelled:calibrate_unlabelled"),
    message:
        "Optimising the cutoffs for {wildcards.subset} at lambda {wildcards.lam} without labels [gpu={resources.gpu}]"
    script:
        "../scripts/calibrate_unlabelled.py"


# All cores of this machine, so that no other job runs at the same time and disturbs the timings.
rule measure_wall_clock:
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
    conda:
        "../../envs/fcl.yaml"
    threads: all_cores
    resources:
        gpu=1,
        mem_mb=memory("measure_wall_clock"),
        runtime=minutes("measure_wall_clock"),
    params:
        settings=lambda w: settings(w, "calibration", "wall_clock"),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.wall_clock:measure_wall_clock"),
    message:
        "Measuring time and memory at each set of cutoffs [gpu={resources.gpu}]"
    script:
        "../scripts/measure_wall_clock.py"


rule figure_wall_clock:
    input:
        measured=f"{NUMBERS}/{{study}}/cost/wall_clock.csv",
    output:
        **named_figure_files("wall_clock", "measured time and memory"),
    log:
        "results/{study}/logs/figures/wall_clock.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.wall_clock:figure_wall_clock"),
    message:
        "Drawing measured time and memory"
    script:
        "../scripts/figure_wall_clock.py"


rule table_wall_clock:
    input:
        measured=f"{NUMBERS}/{{study}}/cost/wall_clock.csv",
    output:
        **named_table_files("wall_clock", "measured time and memory", "../report/wall_clock.rst"),
    log:
        "results/{study}/logs/tables/wall_clock.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=source_digest("fcl.study.tables.cost:table_wall_clock"),
    message:
        "Writing the table of measured time and memory"
    script:
        "../scripts/table_wall_clock.py"


rule table_labels:
    input:
        labelled=lambda w: calibrated(study_of(w), "_metrics.csv", lambdas=study_of(w).unlabelled.lambdas),
        unlabelled=lambda w: unlabelled(study_of(w), "_metrics.csv"),
    output:
        **named_table_files("labels", "calibration without labels", "../report/labels.rst"),
    log:
        "results/{study}/logs/tables/labels.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=source_digest("fcl.study.tables.cost:table_labels"),
    message:
        "Writing the table of calibrations with and without labels"
    script:
        "../scripts/table_labels.py"


rule cost_all:
    input:
        results(STUDY, "figures/wall_clock.{suffix}", suffix=["png", "pdf", "csv", "manifest.json"]),
        results(
            STUDY,
            "tables/{table}.{suffix}",
            table=["wall_clock", "labels"],
            suffix=["csv", "md", "tex", "html", "manifest.json"],
        ),
