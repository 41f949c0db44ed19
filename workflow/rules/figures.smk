# Figures from small numbers (CSV, JSON): what a figure draws is also written beside it, and a run manifest.

FIGURES = [f"{number:02d}" for number in range(1, 11)]
SCHEMATIC = "02"  # shows no numbers


def uniform_metrics(wildcards):
    """Errors of the FCL models and of the static ones at uniform cutoffs."""
    study = study_of(wildcards)
    return results(study, "metrics/{model}.csv", model=[*fcl_models(study), *static_models(study)])


def diatomic_tables(wildcards):
    study = study_of(wildcards)
    return results(study, "diatomics/{model}.csv", model=fcl_models(study))


def calibrations_at_one_lambda(wildcards, *subsets):
    """Optimised cutoffs of the subsets (of all if none is named) at the lambda nearest to the paper's 1e-4."""
    study = study_of(wildcards)
    lam = nearest_lambda(study.calibration.lambdas)
    return calibrated(study, ".json", subsets=subsets or None, lambdas=[lam])


def calibrations_of_one_subset(wildcards):
    """Optimised cutoffs of molecular crystals, or else of the first subset, at the four smallest lambdas."""
    calibration = study_of(wildcards).calibration
    return calibrated(
        study_of(wildcards),
        ".json",
        subsets=[shown_subset(calibration.subsets)],
        lambdas=smallest_lambdas(calibration.lambdas),
    )


def calibration_bounds(wildcards):
    calibration = study_of(wildcards).calibration
    return [calibration.lower_bound, calibration.upper_bound]


rule figure_01:
    input:
        example="results/{study}/data/example.json",
        cutoffs=lambda w: calibrations_at_one_lambda(w, shown_subset(study_of(w).calibration.subsets))[0],
    output:
        png=report(
            "results/{study}/figures/fig01.png",
            caption="../report/fig01.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "1: the model, drawn from data"},
        ),
        pdf="results/{study}/figures/fig01.pdf",
        numbers="results/{study}/figures/fig01.csv",
        manifest="results/{study}/figures/fig01.manifest.json",
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
        code=source_digest("fcl.figures:figure_01"),
    message:
        "Drawing figure 1"
    script:
        "../scripts/figure_01.py"


rule figure_02:
    output:
        png=report(
            "results/{study}/figures/fig02.png",
            caption="../report/fig02.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "2: training and optimisation"},
        ),
        pdf="results/{study}/figures/fig02.pdf",
        manifest="results/{study}/figures/fig02.manifest.json",
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
        code=source_digest("fcl.figures:figure_02"),
    message:
        "Drawing figure 2"
    script:
        "../scripts/figure_02.py"


rule figure_03:
    input:
        metrics=uniform_metrics,
    output:
        png=report(
            "results/{study}/figures/fig03.png",
            caption="../report/fig03.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "3: force error and cost against the cutoff"},
        ),
        pdf="results/{study}/figures/fig03.pdf",
        numbers="results/{study}/figures/fig03.csv",
        manifest="results/{study}/figures/fig03.manifest.json",
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
        code=source_digest("fcl.figures:figure_03"),
    message:
        "Drawing figure 3"
    script:
        "../scripts/figure_03.py"


rule figure_04:
    input:
        diatomics=diatomic_tables,
    output:
        png=report(
            "results/{study}/figures/fig04.png",
            caption="../report/fig04.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "4: diatomic curves near the cutoff"},
        ),
        pdf="results/{study}/figures/fig04.pdf",
        numbers="results/{study}/figures/fig04.csv",
        manifest="results/{study}/figures/fig04.manifest.json",
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
        code=source_digest("fcl.figures:figure_04"),
    message:
        "Drawing figure 4"
    script:
        "../scripts/figure_04.py"


rule figure_05:
    input:
        metrics=lambda w: calibrated(study_of(w), "_metrics.csv"),
    output:
        png=report(
            "results/{study}/figures/fig05.png",
            caption="../report/fig05.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "5: force error against cost after calibration"},
        ),
        pdf="results/{study}/figures/fig05.pdf",
        numbers="results/{study}/figures/fig05.csv",
        manifest="results/{study}/figures/fig05.manifest.json",
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
        code=source_digest("fcl.figures:figure_05"),
    message:
        "Drawing figure 5"
    script:
        "../scripts/figure_05.py"


rule figure_06:
    input:
        cutoffs=calibrations_at_one_lambda,
    output:
        png=report(
            "results/{study}/figures/fig06.png",
            caption="../report/fig06.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "6: optimised cutoffs of all subsets"},
        ),
        pdf="results/{study}/figures/fig06.pdf",
        numbers="results/{study}/figures/fig06.csv",
        manifest="results/{study}/figures/fig06.manifest.json",
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
        code=source_digest("fcl.figures:figure_06"),
    message:
        "Drawing figure 6"
    script:
        "../scripts/figure_06.py"


rule figure_07:
    input:
        cutoffs=calibrations_of_one_subset,
    output:
        png=report(
            "results/{study}/figures/fig07.png",
            caption="../report/fig07.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "7: optimised cutoffs of one subset"},
        ),
        pdf="results/{study}/figures/fig07.pdf",
        numbers="results/{study}/figures/fig07.csv",
        manifest="results/{study}/figures/fig07.manifest.json",
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
        code=source_digest("fcl.figures:figure_07"),
    message:
        "Drawing figure 7"
    script:
        "../scripts/figure_07.py"


rule figure_08:
    input:
        metrics=uniform_metrics,
    output:
        png=report(
            "results/{study}/figures/fig08.png",
            caption="../report/fig08.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "8: energy error against the cutoff"},
        ),
        pdf="results/{study}/figures/fig08.pdf",
        numbers="results/{study}/figures/fig08.csv",
        manifest="results/{study}/figures/fig08.manifest.json",
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
        code=source_digest("fcl.figures:figure_08"),
    message:
        "Drawing figure 8"
    script:
        "../scripts/figure_08.py"


rule figure_09:
    input:
        metrics=lambda w: calibrated(study_of(w), "_metrics.csv"),
    output:
        png=report(
            "results/{study}/figures/fig09.png",
            caption="../report/fig09.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "9: energy error against cost after calibration"},
        ),
        pdf="results/{study}/figures/fig09.pdf",
        numbers="results/{study}/figures/fig09.csv",
        manifest="results/{study}/figures/fig09.manifest.json",
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
        code=source_digest("fcl.figures:figure_09"),
    message:
        "Drawing figure 9"
    script:
        "../scripts/figure_09.py"


rule figure_10:
    input:
        diatomics=diatomic_tables,
    output:
        png=report(
            "results/{study}/figures/fig10.png",
            caption="../report/fig10.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "10: diatomic curves in full"},
        ),
        pdf="results/{study}/figures/fig10.pdf",
        numbers="results/{study}/figures/fig10.csv",
        manifest="results/{study}/figures/fig10.manifest.json",
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
        code=source_digest("fcl.figures:figure_10"),
    message:
        "Drawing figure 10"
    script:
        "../scripts/figure_10.py"


rule figures:
    input:
        results(
            STUDY,
            "figures/fig{number}.{suffix}",
            number=FIGURES,
            suffix=["png", "pdf", "manifest.json"],
        ),
        results(STUDY, "figures/fig{number}.csv", number=[n for n in FIGURES if n != SCHEMATIC]),
