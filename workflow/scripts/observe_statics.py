"""Minima, equations of state and phonons at Gamma of one subset, with a uniform cutoff and optimised ones."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

observe_statics = library_function(snakemake, "fcl.study.stages.observables:observe_statics")
observe_statics(
    settings_of(snakemake),
    store=Path(snakemake.input.store),
    model=Path(snakemake.input.model),
    cutoffs=Path(snakemake.input.cutoffs),
    other_model=snakemake.input.get("other_model"),
    subset=snakemake.wildcards.subset,
    structures=Path(snakemake.output.structures),
    output=Path(snakemake.output.numbers),
    manifest=Path(snakemake.output.manifest),
)
