"""Losses and learning rates of all trainings."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_training = recorded_function(snakemake, "fcl.study.figures.training:figure_training")
figure_training(
    [Path(file) for file in snakemake.input.histories],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    title=snakemake.params.title,
)
