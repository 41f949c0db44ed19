"""Frames of one split -> graph store."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of
from fcl.study.subsets import check_of_subsets

build_store = library_function(snakemake, "fcl.study.stages.data:build_store")
build_store(
    settings_of(snakemake),
    sources=[Path(file) for file in snakemake.input.frames],
    frames=snakemake.params.frames,
    num_elements=snakemake.params.num_elements,
    workers=snakemake.threads,
    references=snakemake.input.get("references"),
    store=Path(snakemake.output.store),
    rejected=Path(snakemake.output.rejected),
    manifest=Path(snakemake.output.manifest),
    check=check_of_subsets(snakemake.config, snakemake.wildcards.study, snakemake.wildcards.get("split")),
)
