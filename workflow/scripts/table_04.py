"""Table 4: element fractions of the molecular crystals in the training split."""

from fcl.study.adapter import recorded_function

table_04 = recorded_function(snakemake, "fcl.study.tables.data:table_04")
table_04(
    snakemake.input.elements,
    snakemake.input.claims,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
)
