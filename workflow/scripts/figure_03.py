"""Fig. 3: force RMSE and pairs per atom against the uniform cutoff."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_03 = recorded_function(snakemake, "fcl.study.figures.uniform:figure_03")
figure_03(
    [Path(file) for file in snakemake.input.metrics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
)
