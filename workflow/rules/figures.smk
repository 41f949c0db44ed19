# Figures from small CSV and JSON files; the numbers drawn and a run manifest are written next to each figure.
# Environment, resources, script and what else is not stated are those of the rule that a figure derives from.


include: "helpers/figures.smk"


rule figure_03:
    input:
        metrics=uniform_and_trivial_metrics,
    output:
        **figure_files("fig03", "3: force error and cost against the cutoff"),
    log:
        "results/{study}/logs/figures/fig03.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        **requested("figures"),
    params:
        title=title,
        code=code_of("fcl.study.figures.uniform:figure_03"),
    message:
        "Drawing {rule} of {wildcards.study}"
    script:
        "../scripts/run.py"


use rule figure_03 as figure_01 with:
    input:
        example=f"{NUMBERS}/{{study}}/data/example.json",
        calibration=lambda w: calibrations_at_one_lambda(w, shown_subset(study_of(w).calibration.subsets))[0],
    output:
        **figure_files("fig01", "1: the model, drawn from data"),
    log:
        "results/{study}/logs/figures/fig01.log",
    params:
        mixing_rule=lambda w: study_of(w).model.mixing_rule,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=code_of("fcl.study.figures.environment:figure_01"),


# A schematic: no title of the data, no numbers.
rule figure_02:
    output:
        **figure_files("fig02", "2: training and optimisation", csv=False),
    log:
        "results/{study}/logs/figures/fig02.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        **requested("figures"),
    params:
        r_min=lambda w: study_of(w).cutoffs.r_min,
        r_max=lambda w: study_of(w).cutoffs.r_max,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=code_of("fcl.study.figures.schematic:figure_02"),
    message:
        "Drawing {rule} of {wildcards.study}"
    script:
        "../scripts/run.py"


use rule figure_03 as figure_04 with:
    input:
        diatomics=diatomic_tables,
    output:
        **figure_files("fig04", "4: diatomic curves near the cutoff"),
    log:
        "results/{study}/logs/figures/fig04.log",
    params:
        code=code_of("fcl.study.figures.diatomics:figure_04"),


use rule figure_03 as figure_05 with:
    input:
        calibration_metrics=lambda w: calibrated(study_of(w), "_metrics.csv"),
        uniform=uniform_and_trivial_metrics,
        choices=lambda w: chosen(study_of(w)),
    output:
        **figure_files("fig05", "5: force error against cost after calibration"),
    log:
        "results/{study}/logs/figures/fig05.log",
    params:
        code=code_of("fcl.study.figures.tradeoff:figure_05"),


use rule figure_03 as figure_06 with:
    input:
        calibrations=calibrations_at_one_lambda,
    output:
        **figure_files("fig06", "6: optimised cutoffs of all subsets"),
    log:
        "results/{study}/logs/figures/fig06.log",
    params:
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        bounds=calibration_bounds,
        code=code_of("fcl.study.figures.calibrated:figure_06"),


use rule figure_06 as figure_07 with:
    input:
        calibrations=calibrations_of_one_subset,
    output:
        **figure_files("fig07", "7: optimised cutoffs of one subset"),
    log:
        "results/{study}/logs/figures/fig07.log",
    params:
        code=code_of("fcl.study.figures.calibrated:figure_07"),


use rule figure_03 as figure_08 with:
    output:
        **figure_files("fig08", "8: energy error against the cutoff"),
    log:
        "results/{study}/logs/figures/fig08.log",
    params:
        code=code_of("fcl.study.figures.uniform:figure_08"),


use rule figure_05 as figure_09 with:
    output:
        **figure_files("fig09", "9: energy error against cost after calibration"),
    log:
        "results/{study}/logs/figures/fig09.log",
    params:
        code=code_of("fcl.study.figures.tradeoff:figure_09"),


use rule figure_04 as figure_10 with:
    output:
        **figure_files("fig10", "10: diatomic curves in full"),
    log:
        "results/{study}/logs/figures/fig10.log",
    params:
        code=code_of("fcl.study.figures.diatomics:figure_10"),


use rule figure_03 as figure_training with:
    input:
        histories=lambda w: metrics_files(study_of(w), models(study_of(w)), "metrics/history"),
    output:
        **figure_files("training", "training curves", folder="", csv=False),
    log:
        "results/{study}/logs/figures/training.log",
    params:
        code=code_of("fcl.study.figures.training:figure_training"),


rule figures:
    input:
        results(
            STUDY,
            "figures/fig{number:02d}.{suffix}",
            number=range(1, 11),
            suffix=["png", "pdf", "manifest.json"],
        ),
        results(STUDY, "figures/fig{number:02d}.csv", number=[1, *range(3, 11)]),
        results(STUDY, "training.{suffix}", suffix=["png", "pdf", "manifest.json"]),
