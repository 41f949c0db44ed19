"""Figure of the physics with optimised cutoffs."""

from fcl.study.adapter import recorded_function

figure_observables = recorded_function(snakemake, "fcl.study.figures.observables:figure_observables")
figure_observables(
    snakemake.input.statics,
    snakemake.input.nve,
    snakemake.input.rdf,
    png=snakemake.output.png,
    pdf=snakemake.output.pdf,
    csv=snakemake.output.numbers,
    tolerances=snakemake.params.tolerances,
    at_lambda=snakemake.params.at_lambda,
    uniform_cutoff=snakemake.params.uniform_cutoff,
    title=snakemake.params.title,
)
