# Pre-training at one cutoff -> FCL from that checkpoint, one job per seed; static baselines, one job per (cutoff, seed).
# Rules of other files that run a model derive from train_static: environment, threads, precision and script are stated here.


include: "helpers/train.smk"


rule train_static:
    input:
        train=stored("train"),
        val=stored("val"),
    output:
        model="results/{study}/models/static_r{cutoff}_seed{seed}.safetensors",
        card="results/{study}/models/static_r{cutoff}_seed{seed}.json",
        manifest="results/{study}/models/static_r{cutoff}_seed{seed}.manifest.json",
        history="results/{study}/metrics/history/static_r{cutoff}_seed{seed}.csv",
    log:
        "results/{study}/logs/train_static/r{cutoff}_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/train_static/r{cutoff}_seed{seed}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        **requested("train_static"),
        gpu=1,
    params:
        settings=lambda w: settings(
            w,
            "model",
            "loss",
            static={"cutoffs": [float(w.cutoff)], "seeds": [int(w.seed)]},
        ),
        dtype=dtype_of,
        code=code_of("fcl.study.stages.training:train_static"),
    message:
        "Training a static model at {wildcards.cutoff} A, seed {wildcards.seed} [gpu={resources.gpu}]"
    script:
        "../scripts/run.py"


use rule train_static as pretrain with:
    input:
        train=stored("train"),
        val=stored("val"),
        given=given_model,
    output:
        model="results/{study}/models/{pretrained}.safetensors",
        card="results/{study}/models/{pretrained}.json",
        manifest="results/{study}/models/{pretrained}.manifest.json",
        history="results/{study}/metrics/history/{pretrained}.csv",
    log:
        "results/{study}/logs/{pretrained}.log",
    benchmark:
        "results/{study}/benchmarks/{pretrained}.tsv"
    priority: 2  # all FCL trainings depend on it
    resources:
        **requested("pretrain"),
        gpu=1,
    params:
        settings=lambda w: settings(w, "model", "loss", pretrain={"seeds": [seed_of_pretrained(w)]}),
        seed=seed_of_pretrained,
        code=code_of("fcl.study.stages.training:pretrain"),
    message:
        "Pre-training a static model, seed {params.seed} [gpu={resources.gpu}]"


use rule train_static as train_fcl with:
    input:
        train=stored("train"),
        val=stored("val"),
        pretrained=pretrained_file("safetensors"),
        card=pretrained_file("json"),
    output:
        model="results/{study}/models/fcl_seed{seed}.safetensors",
        card="results/{study}/models/fcl_seed{seed}.json",
        manifest="results/{study}/models/fcl_seed{seed}.manifest.json",
        history="results/{study}/metrics/history/fcl_seed{seed}.csv",
    log:
        "results/{study}/logs/train_fcl/seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/train_fcl/seed{seed}.tsv"
    priority: 1  # diatomics and calibrations depend on these, not on the static models
    resources:
        **requested("train_fcl"),
        gpu=1,
    params:
        settings=lambda w: settings(w, "model", "cutoffs", "loss", fcl={"seeds": [int(w.seed)]}),
        code=code_of("fcl.study.stages.training:train_fcl"),
    message:
        "Flexible cutoff learning, seed {wildcards.seed} [gpu={resources.gpu}]"


rule train_all:
    input:
        [f"results/{owner_of_model(STUDY.name, model)}/models/{model}.safetensors" for model in models(STUDY)],
