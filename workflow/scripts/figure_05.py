"""Fig. 5: force RMSE against pairs per atom after calibration."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_05 = recorded_function(snakemake, "fcl.study.figures.tradeoff:figure_05")
figure_05(
    [Path(file) for file in snakemake.input.metrics],
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
    uniform=[Path(file) for file in snakemake.input.uniform],
    choices=[Path(file) for file in snakemake.input.choices],
)
