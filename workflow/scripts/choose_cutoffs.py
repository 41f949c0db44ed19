"""Choose a lambda by cross-validation: one subset, one seed."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

choose_cutoffs = library_function(snakemake, "fcl.study.stages.calibration:choose_cutoffs")
choose_cutoffs(
    settings_of(snakemake),
    train=Path(snakemake.input.train),
    val=Path(snakemake.input.val),
    model=Path(snakemake.input.model),
    subset=snakemake.wildcards.subset,
    seed=int(snakemake.wildcards.seed),
    choice=Path(snakemake.output.choice),
    manifest=Path(snakemake.output.manifest),
)
