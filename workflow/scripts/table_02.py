"""Table 2: hyperparameters of the models built by the study."""

from fcl.study.adapter import recorded_function, settings_of

table_02 = recorded_function(snakemake, "fcl.study.tables.hyperparameters:table_02")
table_02(
    settings_of(snakemake),
    snakemake.input.source,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
)
