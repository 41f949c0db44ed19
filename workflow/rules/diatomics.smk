# Energy and force of atom pairs against distance, at several uniform cutoffs.


use rule train_static as diatomic_curves with:
    input:
        model=fcl_file("safetensors"),
        card=fcl_file("json"),
    output:
        curves="results/{study}/diatomics/fcl_seed{seed}.csv",
        manifest="results/{study}/diatomics/fcl_seed{seed}.manifest.json",
    log:
        "results/{study}/logs/diatomic_curves/fcl_seed{seed}.log",
    benchmark:
        "results/{study}/benchmarks/diatomic_curves/fcl_seed{seed}.tsv"
    resources:
        **requested("diatomic_curves"),
        gpu=1,
    params:
        settings=lambda w: settings(w, "diatomics"),
        code=code_of("fcl.study.stages.evaluation:diatomic_curves"),
    message:
        "Diatomic curves of the FCL model of seed {wildcards.seed} [gpu={resources.gpu}]"


rule diatomics_all:
    input:
        numbers(STUDY, "diatomics/{model}.csv", model=fcl_models(STUDY)),
