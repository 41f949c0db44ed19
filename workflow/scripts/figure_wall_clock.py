"""Measured time and memory against pairs per atom."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_wall_clock = recorded_function(snakemake, "fcl.study.figures.wall_clock:figure_wall_clock")
figure_wall_clock(
    Path(snakemake.input.measured),
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
)
