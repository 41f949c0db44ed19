# The study on one Markdown page. Snakemake's own report: `snakemake --report results/<study>/report.html`.

# figures/fig01 ... figures/fig10, those beyond the paper, and training
SHOWN = sorted(
    {*rules.figures.input, *rules.tables.input, *rules.cost_all.input, *rules.observables_all.input}
)
FIGURES = [
    Path(file).relative_to("results", STUDY.name).with_suffix("").as_posix()
    for file in SHOWN
    if file.endswith(".png")
]
TABLES = [Path(file).stem for file in SHOWN if file.endswith(".md")]


use rule table_03 as report_page with:
    input:
        claims="results/{study}/claims.csv",
        figures=lambda w: results(study_of(w), "{figure}.png", figure=FIGURES),
        tables=lambda w: results(study_of(w), "tables/{table}.md", table=TABLES),
        captions=[PLACES.own(f"workflow/report/{Path(figure).name}.rst") for figure in FIGURES],
    output:
        page="results/{study}/report.md",
        manifest="results/{study}/report.manifest.json",
    log:
        "results/{study}/logs/report.log",
    params:
        folder=lambda w: f"{NUMBERS}/{w.study}",
        dataset=lambda w: data_manifest(w).name,
        whole=whole_data,
        sample=lambda w: claims_of_sample(w) or None,
        code=code_of("fcl.study.pages.report:write_report"),


rule report:
    input:
        results(STUDY, "{page}", page=["report.md", "report.manifest.json"]),


# The last job of a run. Its output is also stored; a missing record is not an error.
rule summary:
    input:
        rules.report.input,
        evaluated=lambda w: metrics_files(study_of(w), models(study_of(w))),
        calibrations=lambda w: calibrated(study_of(w), "_metrics.csv"),
        record=lambda w: [
            path for path in [f"{PLACES.record()}/{w.study}/manifest.json"] if Path(path).is_file()
        ],
    output:
        "results/{study}/summary.txt",
    log:
        "results/{study}/logs/summary.log",
    localrule: True
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        **requested("tables"),
    message:
        "The main numbers of {wildcards.study}; kept in {output}"
    shell:
        "python -m fcl.study.pages.closing results/{wildcards.study} "
        f"{quote(PLACES.record())}/{{wildcards.study}} 2> {{log}} | tee {{output}}"
