"""Table 1: published models."""

from fcl.study.adapter import recorded_function

table_01 = recorded_function(snakemake, "fcl.study.tables.published:table_01")
table_01(
    snakemake.input.source,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
)
