"""Errors of trivial predictions on the test split."""

from pathlib import Path

from fcl.study.adapter import recorded_function

evaluate_trivial = recorded_function(snakemake, "fcl.study.stages.evaluation:evaluate_trivial")
evaluate_trivial(
    train=Path(snakemake.input.train),
    store=Path(snakemake.input.store),
    output=Path(snakemake.output.metrics),
    errors=Path(snakemake.output.errors),
)
