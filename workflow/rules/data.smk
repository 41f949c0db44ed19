# Frames -> graph stores: positions, labels and the neighbour list up to cutoffs.r_max (or cutoffs.reach), one job per split.


include: "helpers/data.smk"


rule download_data:
    output:
        output="data/{dataset}/{file}",
        record="data/{dataset}/{file}.verified.json",
    log:
        "data/{dataset}/logs/{file}.log",
    retries: 3
    localrule: True
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        **requested("download_data"),
    params:
        manifest_path=lambda w: PLACES.manifest(source_of_dataset(w)[0]),
        split=split_of_file,
        local_dir=lambda w: source_of_dataset(w)[1],
        code="fcl.data.download:fetch_split",  # without a digest: a file is identified by its checksum
    message:
        "Downloading {wildcards.file} of {wildcards.dataset}"
    script:
        "../scripts/run.py"


rule build_store:
    input:
        sources=ancient(source_files),  # identified by checksum, not by modification time
        references=fitted_references,
    output:
        store="results/{study}/stores/{split}.h5",
        rejected="results/{study}/stores/{split}.rejected.csv",
        manifest="results/{study}/stores/{split}.manifest.json",
    log:
        "results/{study}/logs/build_store/{split}.log",
    benchmark:
        "results/{study}/benchmarks/build_store/{split}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: CONFIG.resources.build_store.threads or 1
    resources:
        **requested("build_store"),
    params:
        settings=store_settings,
        frames=frame_settings,
        num_elements=lambda w: study_of(w).model.num_elements,
        checksum=source_checksums,
        code=code_of("fcl.study.stages.data:build_store"),
    message:
        "Building the graph store of the {wildcards.split} split"
    script:
        "../scripts/run.py"


rule describe_data:
    input:
        train=stored("train"),
        val=stored("val"),
        test=stored("test"),
    output:
        neighbors="results/{study}/data/neighbors.csv",
        elements="results/{study}/data/elements.csv",
        structures="results/{study}/data/structures.csv.gz",
        example="results/{study}/data/example.json",
        manifest="results/{study}/data/description.manifest.json",
    log:
        "results/{study}/logs/describe_data.log",
    benchmark:
        "results/{study}/benchmarks/describe_data.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: 1
    resources:
        **requested("describe_data"),
    params:
        subsets=lambda w: list(study_of(w).calibration.subsets),
        code=code_of("fcl.study.stages.describe:describe_data"),
    message:
        "Describing the data of {wildcards.study}"
    script:
        "../scripts/run.py"
