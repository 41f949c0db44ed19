"""Fig. 4: diatomic curves."""

from pathlib import Path

from fcl.adapter import library_function

figure_04 = library_function(snakemake, "fcl.figures:figure_04")
figure_04(
    [Path(file) for file in snakemake.input.diatomics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    title=snakemake.params.title,
)
