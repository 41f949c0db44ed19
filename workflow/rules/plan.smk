# What each study would take on this machine, printed: snakemake --cores 1 plan
import json


rule plan:
    log:
        f"results/{STUDY.name}/plan.md",
    localrule: True
    conda:
        "../../envs/fcl.yaml"
    threads: 1
    params:
        config=lambda w: json.dumps(config),
    message:
        "Measuring this machine for some seconds a study; the plan is kept in {log}"
    shell:
        "printf %s {params.config:q} | python -m fcl.plan --config - | tee {log}"
