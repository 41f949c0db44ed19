"""Optimise per-element cutoffs: one subset, one lambda, one seed."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

calibrate_cutoffs = library_function(snakemake, "fcl.study.stages.calibration:calibrate_cutoffs")
calibrate_cutoffs(
    settings_of(snakemake),
    train=Path(snakemake.input.train),
    val=Path(snakemake.input.val),
    test=Path(snakemake.input.test),
    model=Path(snakemake.input.model),
    subset=snakemake.wildcards.subset,
    lam=float(snakemake.wildcards.lam),
    seed=int(snakemake.wildcards.seed),
    cutoffs=Path(snakemake.output.cutoffs),
    history=Path(snakemake.output.history),
    metrics=Path(snakemake.output.metrics),
    errors=Path(snakemake.output.errors),
    manifest=Path(snakemake.output.manifest),
)
