"""Compare FCL with static models in cross-validation."""

from pathlib import Path

from fcl.study.adapter import recorded_function

write_folds = recorded_function(snakemake, "fcl.study.comparisons.folds:write_folds")
write_folds(
    snakemake.params.folds,
    snakemake.params.nests,
    csv=Path(snakemake.output.csv),
    markdown=Path(snakemake.output.markdown),
    cutoffs=snakemake.params.cutoffs,
    title=snakemake.params.title,
)
