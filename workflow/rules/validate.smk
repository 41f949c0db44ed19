# Physics with optimised cutoffs against a uniform one, one job per subset and stage: relaxation, equation of state and
# phonons; NVE; NVT.


include: "helpers/validate.smk"


rule validate_statics:
    input:
        unpack(validated_model),
        store=stored("test"),
        cutoffs=validated_cutoffs,
    output:
        structures="results/{study}/validation/{subset}_relaxed.xyz",
        numbers="results/{study}/validation/{subset}_statics.json",
        manifest="results/{study}/validation/{subset}_statics.manifest.json",
    log:
        "results/{study}/logs/validate_statics/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/validate_statics/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("validate_statics"),
        runtime=minutes("validate_statics"),
    params:
        settings=lambda w: settings(w, validation=compared_only(w, "equation_of_state", "phonons")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.validation:validate_statics"),
    message:
        "Minima, equations of state and phonons of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/validate_statics.py"


rule validate_nve:
    input:
        unpack(validated_model),
        structures="results/{study}/validation/{subset}_relaxed.xyz",
        cutoffs=validated_cutoffs,
    output:
        numbers="results/{study}/validation/{subset}_nve.json",
        manifest="results/{study}/validation/{subset}_nve.manifest.json",
    log:
        "results/{study}/logs/validate_nve/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/validate_nve/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("validate_nve"),
        runtime=minutes("validate_nve"),
    params:
        settings=lambda w: settings(w, validation=compared_only(w, "nve")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.validation:validate_nve"),
    message:
        "Energy drift of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/validate_nve.py"


rule validate_rdf:
    input:
        unpack(validated_model),
        structures="results/{study}/validation/{subset}_relaxed.xyz",
        cutoffs=validated_cutoffs,
    output:
        numbers="results/{study}/validation/{subset}_rdf.json",
        manifest="results/{study}/validation/{subset}_rdf.manifest.json",
    log:
        "results/{study}/logs/validate_rdf/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/validate_rdf/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("validate_rdf"),
        runtime=minutes("validate_rdf"),
    params:
        settings=lambda w: settings(w, validation=compared_only(w, "rdf")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.validation:validate_rdf"),
    message:
        "Radial distribution of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/validate_rdf.py"


rule table_validation:
    input:
        statics=lambda w: validated(study_of(w), "statics"),
        nve=lambda w: validated(study_of(w), "nve"),
        rdf=lambda w: validated(study_of(w), "rdf"),
    output:
        **named_table_files(
            "validation", "validation: physics with optimised cutoffs", "../report/validation.rst"
        ),
    log:
        "results/{study}/logs/tables/validation.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        tolerances=lambda w: study_of(w).tolerances.model_dump(),
        at_lambda=lambda w: study_of(w).validation.at_lambda,
        uniform_cutoff=lambda w: study_of(w).validation.uniform_cutoff,
        code=source_digest("fcl.study.tables.validation:table_validation"),
    message:
        "Writing the table of the validation"
    script:
        "../scripts/table_validation.py"


rule figure_validation:
    input:
        statics=lambda w: validated(study_of(w), "statics"),
        nve=lambda w: validated(study_of(w), "nve"),
        rdf=lambda w: validated(study_of(w), "rdf"),
    output:
        **named_figure_files("validation", "validation: physics with optimised cutoffs"),
    log:
        "results/{study}/logs/figures/validation.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        at_lambda=lambda w: study_of(w).validation.at_lambda,
        uniform_cutoff=lambda w: study_of(w).validation.uniform_cutoff,
        code=source_digest("fcl.study.figures.validation:figure_validation"),
    message:
        "Drawing the figure of the validation"
    script:
        "../scripts/figure_validation.py"


rule validate_all:
    input:
        results(
            STUDY,
            "tables/validation.{suffix}",
            suffix=["csv", "md", "tex", "html", "manifest.json"],
        ),
        results(
            STUDY,
            "figures/validation.{suffix}",
            suffix=["png", "pdf", "csv", "manifest.json"],
        ),
