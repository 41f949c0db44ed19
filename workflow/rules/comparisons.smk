# Comparisons of a study with those based on it: ablation table, learning curve, cross-validation, repeated training.


include: "helpers/comparisons.smk"


use rule table_03 as ablations_table with:
    input:
        compared,
    output:
        csv="results/{study}/ablations.csv",
        markdown="results/{study}/ablations.md",
        manifest="results/{study}/ablations.manifest.json",
    log:
        "results/{study}/logs/ablations.log",
    params:
        base=lambda w: f"{NUMBERS}/{w.study}",
        ablations=lambda w: {study.name: f"{NUMBERS}/{study.name}" for study in made_for(w, "ablation")},
        changes=lambda w: {study.name: changes(CONFIG, study.name) for study in made_for(w, "ablation")},
        nests=lambda w: {study.name: study.nests for study in [study_of(w), *made_for(w, "ablation")]},
        code=code_of("fcl.study.comparisons.ablations:write_ablations"),


use rule figure_03 as learning_curve_figure with:
    input:
        metrics=lambda w: [metrics_files(study, [model])[0] for study, model in learning_models(w)],
        stores=lambda w: [described_store(study.name, "train") for study, _ in learning_models(w)],
    output:
        png="results/{study}/figures/learning_curve.png",
        pdf="results/{study}/figures/learning_curve.pdf",
        csv="results/{study}/figures/learning_curve.csv",
        manifest="results/{study}/figures/learning_curve.manifest.json",
    log:
        "results/{study}/logs/figures/learning_curve.log",
    params:
        cutoff=learning_cutoff,
        code=code_of("fcl.study.comparisons.learning:learning_curve"),


use rule table_03 as folds_table with:
    input:
        lambda w: [file for files in fold_errors(w).values() for file in files],
    output:
        csv="results/{study}/folds.csv",
        markdown="results/{study}/folds.md",
        manifest="results/{study}/folds.manifest.json",
    log:
        "results/{study}/logs/folds.log",
    params:
        folds=fold_errors,
        nests=lambda w: {study.name: study.nests for study in made_for(w, "folds")},
        cutoffs=lambda w: cutoffs_of(made_for(w, "folds")[0]),
        code=code_of("fcl.study.comparisons.folds:write_folds"),


rule ablations:
    input:
        results(STUDY, "ablations.{suffix}", suffix=["csv", "md", "manifest.json"]),


rule learning_curve:
    input:
        results(STUDY, "figures/learning_curve.{suffix}", suffix=FIGURE_SUFFIXES),


rule folds:
    input:
        results(STUDY, "folds.{suffix}", suffix=["csv", "md", "manifest.json"]),


rule repeat:
    input:
        [file for name in REPEATED for file in metrics_files(resolve(name), fcl_models(resolve(name)))],
