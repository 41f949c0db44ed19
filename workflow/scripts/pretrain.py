"""Pre-train a static model at one cutoff."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

pretrain = library_function(snakemake, "fcl.study.stages.training:pretrain")
pretrain(
    settings_of(snakemake),
    train=Path(snakemake.input.train),
    val=Path(snakemake.input.val),
    seed=snakemake.params.seed,
    model=Path(snakemake.output.model),
    history=Path(snakemake.output.history),
    manifest=Path(snakemake.output.manifest),
    checkpoints=Path("results", snakemake.wildcards.study, "checkpoints"),
)
