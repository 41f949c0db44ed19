# Energy and force of atom pairs against distance, at several uniform cutoffs.


rule diatomic_curves:
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
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("diatomic_curves"),
        runtime=minutes("diatomic_curves"),
    params:
        settings=lambda w: settings(w, "diatomics"),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.evaluation:diatomic_curves"),
    message:
        "Diatomic curves of the FCL model of seed {wildcards.seed} [gpu={resources.gpu}]"
    script:
        "../scripts/diatomic_curves.py"


rule diatomics_all:
    input:
        numbers(STUDY, "diatomics/{model}.csv", model=fcl_models(STUDY)),
