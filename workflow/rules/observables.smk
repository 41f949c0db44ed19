# Physics with optimised cutoffs against a uniform one, one job per subset and stage: relaxation, equation of state and
# phonons; NVE; NVT. docs/observables.md


include: "helpers/observables.smk"


use rule train_static as observe_statics with:
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
    resources:
        **requested("observe_statics"),
        gpu=1,
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "equation_of_state", "phonons")),
        code=code_of("fcl.study.stages.observables:observe_statics"),
    message:
        "Minima, equations of state and phonons of {wildcards.subset} [gpu={resources.gpu}]"


use rule observe_statics as observe_nve with:
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
    resources:
        **requested("observe_nve"),
        gpu=1,
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "nve")),
        code=code_of("fcl.study.stages.observables:observe_nve"),
    message:
        "Energy drift of {wildcards.subset} [gpu={resources.gpu}]"


use rule observe_nve as observe_rdf with:
    output:
        numbers="results/{study}/observables/{subset}_rdf.json",
        manifest="results/{study}/observables/{subset}_rdf.manifest.json",
    log:
        "results/{study}/logs/observe_rdf/{subset}.log",
    benchmark:
        "results/{study}/benchmarks/observe_rdf/{subset}.tsv"
    resources:
        **requested("observe_rdf"),
        gpu=1,
    params:
        settings=lambda w: settings(w, observables=compared_only(w, "rdf")),
        code=code_of("fcl.study.stages.observables:observe_rdf"),
    message:
        "Radial distribution of {wildcards.subset} [gpu={resources.gpu}]"


use rule table_03 as table_observables with:
    input:
        statics=lambda w: observables(study_of(w), "statics"),
        nve=lambda w: observables(study_of(w), "nve"),
        rdf=lambda w: observables(study_of(w), "rdf"),
    output:
        **table_files("observables", "observables: physics with optimised cutoffs"),
    log:
        "results/{study}/logs/tables/observables.log",
    params:
        tolerances=lambda w: study_of(w).tolerances.model_dump(),
        at_lambda=lambda w: study_of(w).observables.at_lambda,
        uniform_cutoff=lambda w: study_of(w).observables.uniform_cutoff,
        code=code_of("fcl.study.tables.observables:table_observables"),


use rule table_observables as figure_observables with:
    output:
        **figure_files("observables", "observables: physics with optimised cutoffs"),
    log:
        "results/{study}/logs/figures/observables.log",
    resources:
        **requested("figures"),
    params:
        code=code_of("fcl.study.figures.observables:figure_observables"),
    message:
        "Drawing {rule} of {wildcards.study}"


rule observables_all:
    input:
        results(STUDY, "tables/observables.{suffix}", suffix=TABLE_SUFFIXES),
        results(STUDY, "figures/observables.{suffix}", suffix=FIGURE_SUFFIXES),


rule validate_all:  # the former name
    input:
        rules.observables_all.input,
