"""Train one static model: one cutoff, one seed."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

train_static = library_function(snakemake, "fcl.study.stages.training:train_static")
train_static(
    settings_of(snakemake),
    train=Path(snakemake.input.train),
    val=Path(snakemake.input.val),
    cutoff=float(snakemake.wildcards.cutoff),
    seed=int(snakemake.wildcards.seed),
    model=Path(snakemake.output.model),
    history=Path(snakemake.output.history),
    manifest=Path(snakemake.output.manifest),
    checkpoints=Path("results", snakemake.wildcards.study, "checkpoints"),
)
