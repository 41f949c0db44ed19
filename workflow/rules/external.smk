# Errors on further test sets, such as structures of other origin with the labels of the study's level of theory.


include: "helpers/external.smk"


use rule build_store as build_external_store with:
    input:
        sources=lambda w: ancient([source_file(external_manifest(w), external_entry(w))]),
        references=[],
    output:
        store="results/{study}/external/{dataset}/test.h5",
        rejected="results/{study}/external/{dataset}/test.rejected.csv",
        manifest="results/{study}/external/{dataset}/test.manifest.json",
    log:
        "results/{study}/logs/external/{dataset}/build_store.log",
    benchmark:
        "results/{study}/benchmarks/external/{dataset}/build_store.tsv"
    params:
        frames=lambda w: read_data_manifest(external_manifest(w)).frame_settings("test"),
        checksum=lambda w: [external_entry(w).checksum],
    message:
        "Building the graph store of {wildcards.dataset}"


use rule evaluate_cutoffs as evaluate_external with:
    input:
        store="results/{study}/external/{dataset}/test.h5",
        model=model_file("safetensors"),
        card=model_file("json"),
    output:
        metrics="results/{study}/external/{dataset}/{model}.csv",
        errors="results/{study}/external/{dataset}/{model}.csv.gz",
        manifest="results/{study}/external/{dataset}/{model}.manifest.json",
    log:
        "results/{study}/logs/external/{dataset}/{model}.log",
    benchmark:
        "results/{study}/benchmarks/external/{dataset}/{model}.tsv"
    params:
        settings=lambda w: settings(w, "evaluation"),
        cutoffs=external_cutoffs,
    message:
        "Evaluating {wildcards.model} on {wildcards.dataset} [gpu={resources.gpu}]"


use rule evaluate_trivial as evaluate_trivial_external with:
    input:
        train=stored("train"),
        store="results/{study}/external/{dataset}/test.h5",
    output:
        metrics="results/{study}/external/{dataset}/trivial.csv",
        errors="results/{study}/external/{dataset}/trivial.csv.gz",
        manifest="results/{study}/external/{dataset}/trivial.manifest.json",
    log:
        "results/{study}/logs/external/{dataset}/trivial.log",
    message:
        "Evaluating trivial predictions on {wildcards.dataset}"


use rule table_uniform as table_external with:
    input:
        files=external_errors,
    output:
        **table_files("external_{dataset}", "errors on {dataset}", caption="external"),
    log:
        "results/{study}/logs/tables/external_{dataset}.log",
    params:
        title=lambda w: f"trained on {data_manifest(w).title}; tested on {read_data_manifest(external_manifest(w)).title}",


rule external:
    input:
        results(
            STUDY,
            "tables/external_{dataset}.{suffix}",
            dataset=external_sets(STUDY),
            suffix=TABLE_SUFFIXES,
        ),
