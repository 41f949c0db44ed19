# Errors and pairs per atom on the test split: FCL at a sweep of uniform cutoffs, static models at their own.


include: "helpers/evaluate.smk"


use rule train_static as evaluate_cutoffs with:
    input:
        store=stored("test"),
        model=model_file("safetensors"),
        card=model_file("json"),
    output:
        metrics="results/{study}/metrics/{model}.csv",
        errors="results/{study}/errors/{model}.csv.gz",
        manifest="results/{study}/metrics/{model}.manifest.json",
    log:
        "results/{study}/logs/evaluate_cutoffs/{model}.log",
    benchmark:
        "results/{study}/benchmarks/evaluate_cutoffs/{model}.tsv"
    resources:
        **requested("evaluate_cutoffs"),
        gpu=1,
    params:
        settings=lambda w: settings(w, evaluation=evaluated_grid(w)),
        cutoffs=evaluated_cutoffs,
        code=code_of("fcl.study.stages.evaluation:evaluate_uniform"),
    message:
        "Evaluating {wildcards.model} on the test split [gpu={resources.gpu}]"


rule evaluate_trivial:
    input:
        train=stored("train"),
        store=stored("test"),
    output:
        metrics="results/{study}/metrics/trivial.csv",
        errors="results/{study}/errors/trivial.csv.gz",
        manifest="results/{study}/metrics/trivial.manifest.json",
    log:
        "results/{study}/logs/evaluate_trivial.log",
    conda:
        "../../envs/fcl.yaml"
    threads: 1
    resources:
        **requested("evaluate_cutoffs"),
    params:
        code=code_of("fcl.study.stages.evaluation:evaluate_trivial"),
    message:
        "Evaluating trivial predictions on the test split"
    script:
        "../scripts/run.py"


rule evaluate_all:
    input:
        metrics_files(STUDY, ["trivial", *models(STUDY)]),
