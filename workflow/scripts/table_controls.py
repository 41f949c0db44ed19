"""Optimised cutoffs beside uniform ones of equal pairs, and static models."""

from fcl.study.adapter import recorded_function

table_controls = recorded_function(snakemake, "fcl.study.tables.controls:table_controls")
table_controls(
    list(snakemake.input.calibrated),
    list(snakemake.input.errors),
    list(snakemake.input.others),
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    nests=snakemake.params.nests,
    split=snakemake.params.split,
)
