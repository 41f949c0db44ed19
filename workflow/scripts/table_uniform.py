"""Errors at uniform cutoffs, with intervals and verdicts."""

from fcl.study.adapter import recorded_function

table_uniform = recorded_function(snakemake, "fcl.study.tables.uniform:table_uniform")
table_uniform(
    list(snakemake.input.errors),
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    nests=snakemake.params.nests,
    cutoffs=snakemake.params.cutoffs,
)
