# Figures from small numbers (CSV): what a figure draws is also written beside it.


rule figure_03:
    input:
        metrics=lambda w: results(
            study_of(w),
            "metrics/{model}.csv",
            model=[*fcl_models(study_of(w)), *static_models(study_of(w))],
        ),
    output:
        png=report(
            "results/{study}/figures/fig03.png",
            caption="../report/fig03.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "3: error and cost against the cutoff"},
        ),
        pdf="results/{study}/figures/fig03.pdf",
        numbers="results/{study}/figures/fig03.csv",
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
        diatomics=lambda w: results(study_of(w), "diatomics/{model}.csv", model=fcl_models(study_of(w))),
    output:
        png=report(
            "results/{study}/figures/fig04.png",
            caption="../report/fig04.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "4: diatomic curves"},
        ),
        pdf="results/{study}/figures/fig04.pdf",
        numbers="results/{study}/figures/fig04.csv",
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
            labels={"study": "{study}", "figure": "5: error against cost after calibration"},
        ),
        pdf="results/{study}/figures/fig05.pdf",
        numbers="results/{study}/figures/fig05.csv",
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


rule figures:
    input:
        results(
            STUDY,
            "figures/{figure}.{suffix}",
            figure=["fig03", "fig04", "fig05"],
            suffix=["png", "pdf", "csv"],
        ),
