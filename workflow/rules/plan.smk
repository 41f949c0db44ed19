# Estimate the cost of each study on this machine: snakemake --cores 1 plan
import json


rule plan:
    log:
        f"results/{STUDY.name}/plan.md",
    localrule: True
    conda:
        "../../envs/fcl.yaml"
    threads: 1
    params:
        config=lambda w: json.dumps(PLACES.resolved(config)),
        program=PLACES.own("tools/plan.py"),
    message:
        "Measuring this machine for some seconds a study; the plan is kept in {log}"
    shell:
        "printf %s {params.config:q} | python {params.program:q} --config - | tee {log}"
