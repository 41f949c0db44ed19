"""Fig. 2: schematic of training with sampled cutoffs and of their optimisation."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_02 = recorded_function(snakemake, "fcl.study.figures.schematic:figure_02")
figure_02(
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    r_min=snakemake.params.r_min,
    r_max=snakemake.params.r_max,
    initial_cutoff=snakemake.params.initial_cutoff,
)
