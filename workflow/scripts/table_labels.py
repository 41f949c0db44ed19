"""Compare calibrations with and without labels."""

from fcl.study.adapter import recorded_function

table_labels = recorded_function(snakemake, "fcl.study.tables.cost:table_labels")
table_labels(
    snakemake.input.labelled,
    snakemake.input.unlabelled,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    title=snakemake.params.title,
    initial_cutoff=snakemake.params.initial_cutoff,
)
