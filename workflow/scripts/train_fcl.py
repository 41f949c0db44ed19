"""Train one FCL model from the pre-trained weights."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

train_fcl = library_function(snakemake, "fcl.study.stages.training:train_fcl")
train_fcl(
    settings_of(snakemake),
    train=Path(snakemake.input.train),
    val=Path(snakemake.input.val),
    pretrained=Path(snakemake.input.pretrained),
    seed=int(snakemake.wildcards.seed),
    model=Path(snakemake.output.model),
    history=Path(snakemake.output.history),
    manifest=Path(snakemake.output.manifest),
    checkpoints=Path("results", snakemake.wildcards.study, "checkpoints"),
)
