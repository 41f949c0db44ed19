# Errors on further test sets, such as structures of other origin with the labels of the study's level of theory.


include: "helpers/external.smk"


use rule build_store as build_external_store with:
    input:
        frames=lambda w: ancient([source_file(external_manifest(w), external_entry(w))]),
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
        settings=lambda w: store_settings(w),
        frames=lambda w: read_data_manifest(external_manifest(w)).frame_settings("test"),
        num_elements=lambda w: study_of(w).model.num_elements,
        checksum=lambda w: [external_entry(w).checksum],
        code=source_digest("fcl.study.stages.data:build_store"),
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
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.evaluation:evaluate_uniform"),
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
        errors=external_errors,
    output:
        **named_table_files("external_{dataset}", "errors on {dataset}", "../report/external.rst"),
    log:
        "results/{study}/logs/tables/external_{dataset}.log",
    params:
        title=lambda w: f"trained on {data_manifest(w).title}; tested on {read_data_manifest(external_manifest(w)).title}",
        nests=nests,
        cutoffs=lambda w: cutoffs_of(study_of(w)),
        code=source_digest("fcl.study.tables.uniform:table_uniform"),
    message:
        "Writing the table of errors on {wildcards.dataset}"


rule external:
    input:
        results(
            STUDY,
            "tables/external_{dataset}.{suffix}",
            dataset=external_sets(STUDY),
            suffix=["csv", "md", "tex", "html", "manifest.json"],
        ),
