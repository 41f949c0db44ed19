# Tables as CSV, Markdown, LaTeX and (for the report) HTML, from small files; Table 2 from the models as built.
# Environment, resources, script and what else is not stated are those of the rule that a table derives from.


include: "helpers/tables.smk"


rule table_01:
    input:
        source=PLACES.own("resources/published_models.csv"),
    output:
        **table_files("table01", "1: published models", caption="table"),
    log:
        "results/{study}/logs/tables/table01.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        **requested("tables"),
    params:
        code=code_of("fcl.study.tables.published:table_01"),
    message:
        "Writing {rule} of {wildcards.study}"
    script:
        "../scripts/run.py"


use rule table_01 as table_02 with:
    input:
        source=PLACES.own("resources/paper_hyperparameters.csv"),
    output:
        **table_files("table02", "2: hyperparameters of the built models", caption="table"),
    log:
        "results/{study}/logs/tables/table02.log",
    conda:
        "../../envs/fcl.yaml"
    params:
        settings=lambda w: settings(w, "model", "cutoffs", "static"),
        code=code_of("fcl.study.tables.hyperparameters:table_02"),


use rule table_01 as table_03 with:
    input:
        neighbors=f"{NUMBERS}/{{study}}/data/neighbors.csv",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **table_files("table03", "3: average neighbours", caption="table"),
    log:
        "results/{study}/logs/tables/table03.log",
    params:
        title=title,
        code=code_of("fcl.study.tables.data:table_03"),


use rule table_03 as table_04 with:
    input:
        elements=f"{NUMBERS}/{{study}}/data/elements.csv",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **table_files("table04", "4: elements of the molecular crystals", caption="table"),
    log:
        "results/{study}/logs/tables/table04.log",
    params:
        code=code_of("fcl.study.tables.data:table_04"),


use rule table_03 as table_uniform with:
    input:
        files=structure_errors,
    output:
        **table_files("uniform", "errors at uniform cutoffs"),
    log:
        "results/{study}/logs/tables/uniform.log",
    params:
        nests=nests,
        cutoffs=lambda w: cutoffs_of(study_of(w)),
        code=code_of("fcl.study.tables.uniform:table_uniform"),


use rule table_03 as table_controls with:
    input:
        files=calibration_errors,
        uniform=structure_errors,
        others=control_errors,
    output:
        **table_files("controls", "optimised and uniform cutoffs of equal pairs"),
    log:
        "results/{study}/logs/tables/controls.log",
    params:
        nests=nests,
        split=lambda w: study_of(w).calibration.split,
        code=code_of("fcl.study.tables.controls:table_controls"),


use rule table_03 as table_chosen with:
    input:
        files=calibration_errors,
        uniform=structure_errors,
        choices=lambda w: chosen(study_of(w)),
    output:
        **table_files("chosen", "cutoffs at the chosen lambda"),
    log:
        "results/{study}/logs/tables/chosen.log",
    params:
        nests=nests,
        code=code_of("fcl.study.tables.chosen:table_chosen"),


use rule table_03 as table_convergence with:
    input:
        files=lambda w: calibrated(study_of(w), ".json"),
    output:
        **table_files("convergence", "convergence of the calibrations"),
    log:
        "results/{study}/logs/tables/convergence.log",
    params:
        code=code_of("fcl.study.tables.convergence:table_convergence"),


use rule table_03 as table_forces with:
    input:
        structures=f"{NUMBERS}/{{study}}/data/structures.csv.gz",
        claims=PLACES.own("resources/claims.csv"),
    output:
        **table_files("forces", "forces of the data"),
    log:
        "results/{study}/logs/tables/forces.log",
    params:
        of_paper=lambda w: data_manifest(w).name == PAPER_DATA or bool(claims_of_sample(w)),
        code=code_of("fcl.study.tables.forces:table_forces"),


rule tables:
    input:
        results(
            STUDY,
            "tables/{table}.{suffix}",
            table=["table01", "table02", "table03", "table04", *tables_of_structures()],
            suffix=TABLE_SUFFIXES,
        ),
