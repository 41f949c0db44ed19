# Figures from small CSV and JSON files; the numbers drawn and a run manifest are written next to each figure.


include: "helpers/figures.smk"


rule figure_01:
    input:
        example=f"{NUMBERS}/{{study}}/data/example.json",
        cutoffs=lambda w: calibrations_at_one_lambda(w, shown_subset(study_of(w).calibration.subsets))[0],
    output:
        **figure_files("01", "1: the model, drawn from data"),
    log:
        "results/{study}/logs/figures/fig01.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        mixing_rule=lambda w: study_of(w).model.mixing_rule,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=source_digest("fcl.study.figures.environment:figure_01"),
    message:
        "Drawing figure 1"
    script:
        "../scripts/figure_01.py"


rule figure_02:
    output:
        **figure_files("02", "2: training and optimisation", numbers=False),
    log:
        "results/{study}/logs/figures/fig02.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        r_min=lambda w: study_of(w).cutoffs.r_min,
        r_max=lambda w: study_of(w).cutoffs.r_max,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        code=source_digest("fcl.study.figures.schematic:figure_02"),
    message:
        "Drawing figure 2"
    script:
        "../scripts/figure_02.py"


rule figure_03:
    input:
        metrics=uniform_and_trivial_metrics,
    output:
        **figure_files("03", "3: force error and cost against the cutoff"),
    log:
        "results/{study}/logs/figures/fig03.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.uniform:figure_03"),
    message:
        "Drawing figure 3"
    script:
        "../scripts/figure_03.py"


rule figure_04:
    input:
        diatomics=diatomic_tables,
    output:
        **figure_files("04", "4: diatomic curves near the cutoff"),
    log:
        "results/{study}/logs/figures/fig04.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.diatomics:figure_04"),
    message:
        "Drawing figure 4"
    script:
        "../scripts/figure_04.py"


rule figure_05:
    input:
        metrics=lambda w: calibrated(study_of(w), "_metrics.csv"),
        uniform=uniform_and_trivial_metrics,
        choices=lambda w: chosen(study_of(w)),
    output:
        **figure_files("05", "5: force error against cost after calibration"),
    log:
        "results/{study}/logs/figures/fig05.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.tradeoff:figure_05"),
    message:
        "Drawing figure 5"
    script:
        "../scripts/figure_05.py"


rule figure_06:
    input:
        cutoffs=calibrations_at_one_lambda,
    output:
        **figure_files("06", "6: optimised cutoffs of all subsets"),
    log:
        "results/{study}/logs/figures/fig06.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        bounds=calibration_bounds,
        code=source_digest("fcl.study.figures.calibrated:figure_06"),
    message:
        "Drawing figure 6"
    script:
        "../scripts/figure_06.py"


rule figure_07:
    input:
        cutoffs=calibrations_of_one_subset,
    output:
        **figure_files("07", "7: optimised cutoffs of one subset"),
    log:
        "results/{study}/logs/figures/fig07.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        initial_cutoff=lambda w: study_of(w).calibration.initial_cutoff,
        bounds=calibration_bounds,
        code=source_digest("fcl.study.figures.calibrated:figure_07"),
    message:
        "Drawing figure 7"
    script:
        "../scripts/figure_07.py"


rule figure_08:
    input:
        metrics=uniform_and_trivial_metrics,
    output:
        **figure_files("08", "8: energy error against the cutoff"),
    log:
        "results/{study}/logs/figures/fig08.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.uniform:figure_08"),
    message:
        "Drawing figure 8"
    script:
        "../scripts/figure_08.py"


rule figure_09:
    input:
        metrics=lambda w: calibrated(study_of(w), "_metrics.csv"),
        uniform=uniform_and_trivial_metrics,
        choices=lambda w: chosen(study_of(w)),
    output:
        **figure_files("09", "9: energy error against cost after calibration"),
    log:
        "results/{study}/logs/figures/fig09.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.tradeoff:figure_09"),
    message:
        "Drawing figure 9"
    script:
        "../scripts/figure_09.py"


rule figure_10:
    input:
        diatomics=diatomic_tables,
    output:
        **figure_files("10", "10: diatomic curves in full"),
    log:
        "results/{study}/logs/figures/fig10.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.diatomics:figure_10"),
    message:
        "Drawing figure 10"
    script:
        "../scripts/figure_10.py"


rule figure_training:
    input:
        histories=lambda w: metrics_files(study_of(w), models(study_of(w)), "metrics/history"),
    output:
        **picture_files("results/{study}/training", "training", "training curves"),
    log:
        "results/{study}/logs/figures/training.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.figures.training:figure_training"),
    message:
        "Drawing the training curves"
    script:
        "../scripts/figure_training.py"


rule figures:
    input:
        results(
            STUDY,
            "figures/fig{number:02d}.{suffix}",
            number=range(1, 11),
            suffix=["png", "pdf", "manifest.json"],
        ),
        results(STUDY, "figures/fig{number:02d}.csv", number=[1, *range(3, 11)]),  # Fig. 2 is a schematic without numbers
        results(STUDY, "training.{suffix}", suffix=["png", "pdf", "manifest.json"]),
