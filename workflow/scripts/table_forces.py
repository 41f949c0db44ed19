"""Forces of the data, and what zero forces would score."""

from fcl.study.adapter import recorded_function

table_forces = recorded_function(snakemake, "fcl.study.tables.forces:table_forces")
table_forces(
    snakemake.input.structures,
    snakemake.input.claims,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    of_paper=snakemake.params.of_paper,
)
