"""Measured time and memory, and their ratios to the initial cutoff."""

from fcl.study.adapter import recorded_function

table_wall_clock = recorded_function(snakemake, "fcl.study.tables.cost:table_wall_clock")
table_wall_clock(
    snakemake.input.measured,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    initial_cutoff=snakemake.params.initial_cutoff,
)
