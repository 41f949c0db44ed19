"""Download one file of a data set, once for all splits in it, and verify it."""

from pathlib import Path

from fcl.study.adapter import library_function

fetch_split = library_function(snakemake, "fcl.data.download:fetch_split")
fetch_split(
    Path(snakemake.params.manifest),
    snakemake.params.split,
    Path(snakemake.output.frames),
    local_dir=snakemake.params.local_dir,
)
