# The finished run of a study beside its record, number by number: snakemake --cores all compare


rule compare:
    input:
        rules.all.input,
    log:
        f"results/{STUDY.name}/compare.log",
    localrule: True
    conda:
        "../../envs/plot.yaml"
    threads: 1
    params:
        run=f"results/{STUDY.name}",
        record=f"record/{STUDY.name}",
    message:
        "Comparing results/{STUDY.name} with record/{STUDY.name}; kept in {log}"
    shell:
        "python -m fcl.comparison {params.run} {params.record} 2>&1 | tee {log}"
