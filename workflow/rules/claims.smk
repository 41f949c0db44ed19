# The paper's claims compared with the values of a study, from small result files only.


use rule table_03 as claims_table with:
    input:
        errors=lambda w: available(structure_errors(w)),
        histories=lambda w: numbers(study_of(w), "metrics/history/{model}.csv", model=fcl_models(study_of(w))),
        diatomics=diatomic_tables,
        cutoffs=lambda w: calibrated(study_of(w), ".json"),
        calibrations=calibration_errors,  # read beside the cutoffs
        neighbors=f"{NUMBERS}/{{study}}/data/neighbors.csv",
        elements=f"{NUMBERS}/{{study}}/data/elements.csv",
        hyperparameters="results/{study}/tables/table02.csv",
        source=PLACES.own("resources/claims.csv"),
        sample=claims_of_sample,
        structures=lambda w: next(iter(available(numbers(study_of(w), "data/structures.csv.gz"))), []),
    output:
        csv="results/{study}/claims.csv",
        markdown="results/{study}/claims.md",
        html=report(
            "results/{study}/claims.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"study": "{study}", "table": "the paper's claims beside this study"},
        ),
        manifest="results/{study}/claims.manifest.json",
    log:
        "results/{study}/logs/claims.log",
    params:
        dataset=lambda w: data_manifest(w).name,
        whole=whole_data,
        nests=nests,
        code=code_of("fcl.study.claims.table:write_claims"),


rule claims:
    input:
        results(STUDY, "claims.{suffix}", suffix=["csv", "md", "html", "manifest.json"]),
