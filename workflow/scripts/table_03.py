"""Table 3: average neighbours of the training split."""

from fcl.study.adapter import recorded_function

table_03 = recorded_function(snakemake, "fcl.study.tables.data:table_03")
table_03(
    snakemake.input.neighbors,
    snakemake.input.claims,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
)
