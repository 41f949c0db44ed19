"""Fig. 10: diatomic curves over the full range."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_10 = recorded_function(snakemake, "fcl.study.figures.diatomics:figure_10")
figure_10(
    [Path(file) for file in snakemake.input.diatomics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
)
