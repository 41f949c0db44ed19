"""Fig. 6: optimised cutoffs of the elements common to all subsets."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_06 = recorded_function(snakemake, "fcl.study.figures.calibrated:figure_06")
figure_06(
    [Path(file) for file in snakemake.input.cutoffs],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
    initial_cutoff=snakemake.params.initial_cutoff,
    bounds=tuple(snakemake.params.bounds),
)
