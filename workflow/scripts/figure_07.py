"""Fig. 7: optimised cutoffs of one subset at several lambdas."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_07 = recorded_function(snakemake, "fcl.study.figures.calibrated:figure_07")
figure_07(
    [Path(file) for file in snakemake.input.cutoffs],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
    initial_cutoff=snakemake.params.initial_cutoff,
    bounds=tuple(snakemake.params.bounds),
)
