"""Errors and cost of one model on the test split, at uniform cutoffs."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

evaluate_uniform = library_function(snakemake, "fcl.study.stages.evaluation:evaluate_uniform")
evaluate_uniform(
    settings_of(snakemake),
    store=Path(snakemake.input.store),
    model=Path(snakemake.input.model),
    cutoffs=list(snakemake.params.cutoffs),
    output=Path(snakemake.output.metrics),
    errors=Path(snakemake.output.errors),
    manifest=Path(snakemake.output.manifest),
)
