"""Force error against the number of training structures."""

from pathlib import Path

from fcl.study.adapter import recorded_function

learning_curve = recorded_function(snakemake, "fcl.study.comparisons.learning:learning_curve")
learning_curve(
    [Path(file) for file in snakemake.input.metrics],
    [Path(file) for file in snakemake.input.stores],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    cutoff=snakemake.params.cutoff,
    title=snakemake.params.title,
)
