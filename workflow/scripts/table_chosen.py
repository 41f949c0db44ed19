"""Test errors at the lambdas that were chosen by cross-validation."""

from fcl.study.adapter import recorded_function

table_chosen = recorded_function(snakemake, "fcl.study.tables.chosen:table_chosen")
table_chosen(
    list(snakemake.input.calibrated),
    list(snakemake.input.errors),
    list(snakemake.input.choices),
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    nests=snakemake.params.nests,
)
