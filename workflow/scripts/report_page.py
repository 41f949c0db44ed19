"""The study on one Markdown page."""

from fcl.study.adapter import recorded_function

write_report = recorded_function(snakemake, "fcl.study.pages.report:write_report")
write_report(
    snakemake.input.claims,
    snakemake.input.figures,
    snakemake.input.captions,
    snakemake.input.tables,
    snakemake.output.page,
    folder=snakemake.params.folder,
    study=snakemake.wildcards.study,
    dataset=snakemake.params.dataset,
    title=snakemake.params.title,
    whole=snakemake.params.whole,
    sample=snakemake.params.sample,
)
