"""How the calibrations ended."""

from fcl.study.adapter import recorded_function

table_convergence = recorded_function(snakemake, "fcl.study.tables.convergence:table_convergence")
table_convergence(
    list(snakemake.input.cutoffs),
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
)
