"""Radial distribution functions of one subset, with a uniform cutoff and optimised ones."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

observe_rdf = library_function(snakemake, "fcl.study.stages.observables:observe_rdf")
observe_rdf(
    settings_of(snakemake),
    structures=Path(snakemake.input.structures),
    model=Path(snakemake.input.model),
    cutoffs=Path(snakemake.input.cutoffs),
    other_model=snakemake.input.get("other_model"),
    subset=snakemake.wildcards.subset,
    output=Path(snakemake.output.numbers),
    manifest=Path(snakemake.output.manifest),
)
