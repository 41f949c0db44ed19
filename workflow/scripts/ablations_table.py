"""Compare a study with its ablations."""

from pathlib import Path

from fcl.study.adapter import recorded_function

write_ablations = recorded_function(snakemake, "fcl.study.comparisons.ablations:write_ablations")
write_ablations(
    snakemake.params.base,
    snakemake.params.ablations,
    snakemake.params.changes,
    csv=Path(snakemake.output.csv),
    markdown=Path(snakemake.output.markdown),
    nests=snakemake.params.nests,
    title=snakemake.params.title,
)
