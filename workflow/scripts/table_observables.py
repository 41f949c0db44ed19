"""Table of the physics with optimised cutoffs."""

from fcl.study.adapter import recorded_function

table_observables = recorded_function(snakemake, "fcl.study.tables.observables:table_observables")
table_observables(
    snakemake.input.statics,
    snakemake.input.nve,
    snakemake.input.rdf,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    latex=snakemake.output.latex,
    html=snakemake.output.html,
    tolerances=snakemake.params.tolerances,
    at_lambda=snakemake.params.at_lambda,
    uniform_cutoff=snakemake.params.uniform_cutoff,
    title=snakemake.params.title,
)
