"""Compare the paper's claims with the values of the study."""

from fcl.study.adapter import recorded_function

write_claims = recorded_function(snakemake, "fcl.study.claims.table:write_claims")
write_claims(
    errors=snakemake.input.errors,
    histories=snakemake.input.histories,
    diatomics=snakemake.input.diatomics,
    cutoffs=snakemake.input.cutoffs,
    neighbors=snakemake.input.neighbors,
    elements=snakemake.input.elements,
    hyperparameters=snakemake.input.hyperparameters,
    source=snakemake.input.source,
    csv=snakemake.output.csv,
    markdown=snakemake.output.markdown,
    html=snakemake.output.html,
    dataset=snakemake.params.dataset,
    title=snakemake.params.title,
    whole=snakemake.params.whole,
    nests=snakemake.params.nests,
    sample=next(iter(snakemake.input.sample), None),
    structures=next(iter(snakemake.input.structures), None),
)
