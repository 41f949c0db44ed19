"""Fig. 4: diatomic curves near the cutoff."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_04 = recorded_function(snakemake, "fcl.study.figures.diatomics:figure_04")
figure_04(
    [Path(file) for file in snakemake.input.diatomics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
)
