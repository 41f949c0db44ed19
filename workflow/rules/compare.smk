# Compare the finished run of a study with its record, number by number: snakemake --cores all compare


rule compare:
    input:
        rules.all.input,
    log:
        f"results/{STUDY.name}/compare.log",
    localrule: True
    conda:
        "../../envs/plot.yaml"
    threads: 1
    message:
        f"Comparing results/{STUDY.name} with {PLACES.record()}/{STUDY.name}; kept in {{log}}"
    shell:
        f"python -m fcl.study.records.comparison results/{STUDY.name} {quote(PLACES.record())}/{STUDY.name} 2>&1"
        " | tee {log}"
