"""Fig. 1: a structure of the data with one cutoff per atom."""

from pathlib import Path

from fcl.study.adapter import recorded_function

figure_01 = recorded_function(snakemake, "fcl.study.figures.environment:figure_01")
figure_01(
    Path(snakemake.input.example),
    Path(snakemake.input.cutoffs),
    png=Path(snakemake.output.png),
    pdf=Path(snakemake.output.pdf),
    csv=Path(snakemake.output.numbers),
    title=snakemake.params.title,
    mixing_rule=snakemake.params.mixing_rule,
    initial_cutoff=snakemake.params.initial_cutoff,
)
