# Physics with optimised cutoffs against a uniform one, one job per subset and stage: relaxation, equation of state and
# phonons; NVE; NVT. docs/observables.md


include: "helpers/observables.smk"


rule observe_statics:
    input:
        unpack(compared_models),
        store=stored("test"),
        cutoffs=compared_cutoffs,
    output:
        structures="results/{study}/observables/{subset}_relaxed.xyz",
        numbers="results/{study}/observables/{subset}_statics.json",
        manifest="results/{study}/observables/{subset}_statics.manifest.json",
    log:
        "results/{study}/logs/observe_statics/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/observe_statics/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("observe_statics"),
        runtime=minutes("observe_statics"),
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "equation_of_state", "phonons")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.observables:observe_statics"),
    message:
        "Minima, equations of state and phonons of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/observe_statics.py"


rule observe_nve:
    input:
        unpack(compared_models),
        structures="results/{study}/observables/{subset}_relaxed.xyz",
        cutoffs=compared_cutoffs,
    output:
        numbers="results/{study}/observables/{subset}_nve.json",
        manifest="results/{study}/observables/{subset}_nve.manifest.json",
    log:
        "results/{study}/logs/observe_nve/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/observe_nve/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("observe_nve"),
        runtime=minutes("observe_nve"),
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "nve")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.observables:observe_nve"),
    message:
        "Energy drift of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/observe_nve.py"


rule observe_rdf:
    input:
        unpack(compared_models),
        structures="results/{study}/observables/{subset}_relaxed.xyz",
        cutoffs=compared_cutoffs,
    output:
        numbers="results/{study}/observables/{subset}_rdf.json",
        manifest="results/{study}/observables/{subset}_rdf.manifest.json",
    log:
        "results/{study}/logs/observe_rdf/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/observe_rdf/{subset}.tsv"
    conda:
        "../../envs/fcl.yaml"
    threads: threads_of
    resources:
        gpu=1,
        mem_mb=memory("observe_rdf"),
        runtime=minutes("observe_rdf"),
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "rdf")),
        dtype=dtype_of,
        code=source_digest("fcl.study.stages.observables:observe_rdf"),
    message:
        "Radial distribution of {wildcards.subset} [gpu={resources.gpu}]"
    script:
        "../scripts/observe_rdf.py"


rule table_observables:
    input:
        statics=lambda w: observables(study_of(w), "statics"),
        nve=lambda w: observables(study_of(w), "nve"),
        rdf=lambda w: observables(study_of(w), "rdf"),
    output:
        **named_table_files(
            "observables", "observables: physics with optimised cutoffs", "../report/observables.rst"
        ),
    log:
        "results/{study}/logs/tables/observables.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        tolerances=lambda w: study_of(w).tolerances.model_dump(),
        at_lambda=lambda w: study_of(w).observables.at_lambda,
        uniform_cutoff=lambda w: study_of(w).observables.uniform_cutoff,
        code=source_digest("fcl.study.tables.observables:table_observables"),
    message:
        "Writing the table of the observables"
    script:
        "../scripts/table_observables.py"


rule figure_observables:
    input:
        statics=lambda w: observables(study_of(w), "statics"),
        nve=lambda w: observables(study_of(w), "nve"),
        rdf=lambda w: observables(study_of(w), "rdf"),
    output:
        **named_figure_files("observables", "observables: physics with optimised cutoffs"),
    log:
        "results/{study}/logs/figures/observables.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        tolerances=lambda w: study_of(w).tolerances.model_dump(),
        at_lambda=lambda w: study_of(w).observables.at_lambda,
        uniform_cutoff=lambda w: study_of(w).observables.uniform_cutoff,
        code=source_digest("fcl.study.figures.observables:figure_observables"),
    message:
        "Drawing the figure of the observables"
    script:
        "../scripts/figure_observables.py"


rule observables_all:
    input:
        results(
            STUDY,
            "tables/observables.{suffix}",
            suffix=["csv", "md", "tex", "html", "manifest.json"],
        ),
        results(
            STUDY,
            "figures/observables.{suffix}",
            suffix=["png", "pdf", "csv", "manifest.json"],
        ),


rule validate_all:  # the former name
    input:
        rules.observables_all.input,
