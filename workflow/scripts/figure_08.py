"""Fig. 8: energy RMSE against the uniform cutoff."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_08 = recorded_function(snakemake, "fcl.study.figures.uniform:figure_08")
figure_08(
    [Path(file) for file in snakemake.input.metrics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
)
