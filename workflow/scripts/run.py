"""The library function that the rule names in params.code, with the job's files and parameters by name."""

from fcl.study.adapter import run_job

run_job(snakemake)
