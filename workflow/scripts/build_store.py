"""Frames of one split -> graph store."""

from pathlib import Path

from fcl.adapter import library_function, settings_of

build_store = library_function(snakemake, "fcl.stages:build_store")
build_store(
    settings_of(snakemake),
    source=Path(snakemake.input.frames),
    split=snakemake.wildcards.split,
    store=Path(snakemake.output.store),
    manifest=Path(snakemake.output.manifest),
)
