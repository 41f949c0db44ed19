# Tables as CSV, Markdown, LaTeX and (for the report) HTML, from small files; Table 2 from the models as built.


include: "helpers/tables.smk"


rule table_01:
    input:
        source=PLACES.own("resources/published_models.csv"),
    output:
        **table_files("01", "1: published models"),
    log:
        "results/{study}/logs/tables/table01.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        code=source_digest("fcl.study.tables.published:table_01"),
    message:
        "Writing table 1"
    script:
        "../scripts/table_01.py"


rule table_02:
    input:
        source=PLACES.own("resources/paper_hyperparameters.csv"),
    output:
        **table_files("02", "2: hyperparameters of the built models"),
    log:
        "results/{study}/logs/tables/table02.log",
    conda:
        "../../envs/fcl.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        settings=lambda w: settings(w, "model", "cutoffs", "static"),
        code=source_digest("fcl.study.tables.hyperparameters:table_02"),
    message:
        "Writing table 2"
    script:
        "../scripts/table_02.py"


rule table_03:
    input:
        neighbors=f"{NUMBERS}/{{study}}/data/neighbors.csv",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **table_files("03", "3: average neighbours"),
    log:
        "results/{study}/logs/tables/table03.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.tables.data:table_03"),
    message:
        "Writing table 3"
    script:
        "../scripts/table_03.py"


rule table_04:
    input:
        elements=f"{NUMBERS}/{{study}}/data/elements.csv",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **table_files("04", "4: elements of the molecular crystals"),
    log:
        "results/{study}/logs/tables/table04.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.tables.data:table_04"),
    message:
        "Writing table 4"
    script:
        "../scripts/table_04.py"


rule table_uniform:
    input:
        errors=structure_errors,
    output:
        **named_table_files("uniform", "errors at uniform cutoffs", "../report/uniform.rst"),
    log:
        "results/{study}/logs/tables/uniform.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        nests=nests,
        cutoffs=lambda w: cutoffs_of(study_of(w)),
        code=source_digest("fcl.study.tables.uniform:table_uniform"),
    message:
        "Writing the table of errors at uniform cutoffs"
    script:
        "../scripts/table_uniform.py"


rule table_controls:
    input:
        calibrated=calibration_errors,
        errors=structure_errors,
        others=control_errors,
    output:
        **named_table_files(
            "controls", "optimised and uniform cutoffs of equal pairs", "../report/controls.rst"
        ),
    log:
        "results/{study}/logs/tables/controls.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        nests=nests,
        split=lambda w: study_of(w).calibration.split,
        code=source_digest("fcl.study.tables.controls:table_controls"),
    message:
        "Writing the table of optimised and uniform cutoffs"
    script:
        "../scripts/table_controls.py"


rule table_chosen:
    input:
        calibrated=calibration_errors,
        errors=structure_errors,
        choices=lambda w: chosen(study_of(w)),
    output:
        **named_table_files("chosen", "cutoffs at the chosen lambda", "../report/chosen.rst"),
    log:
        "results/{study}/logs/tables/chosen.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        nests=nests,
        code=source_digest("fcl.study.tables.chosen:table_chosen"),
    message:
        "Writing the table of the chosen cutoffs"
    script:
        "../scripts/table_chosen.py"


rule table_convergence:
    input:
        cutoffs=lambda w: calibrated(study_of(w), ".json"),
    output:
        **named_table_files("convergence", "convergence of the calibrations", "../report/convergence.rst"),
    log:
        "results/{study}/logs/tables/convergence.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        code=source_digest("fcl.study.tables.convergence:table_convergence"),
    message:
        "Writing the table of the convergence of calibrations"
    script:
        "../scripts/table_convergence.py"


rule table_forces:
    input:
        structures=f"{NUMBERS}/{{study}}/data/structures.csv.gz",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **named_table_files("forces", "forces of the data", "../report/forces.rst"),
    log:
        "results/{study}/logs/tables/forces.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        title=lambda w: data_manifest(w).title,
        of_paper=lambda w: data_manifest(w).name == PAPER_DATA or bool(claims_of_sample(w)),
        code=source_digest("fcl.study.tables.forces:table_forces"),
    message:
        "Writing the table of forces"
    script:
        "../scripts/table_forces.py"


rule tables:
    input:
        results(
            STUDY,
            "tables/{table}.{suffix}",
            table=[
                "table01",
                "table02",
                "table03",
                "table04",
                *tables_of_structures(),
            ],
            suffix=["csv", "md", "tex", "html", "manifest.json"],
        ),
