"""Time and memory of energies and forces for each set of cutoffs."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

measure_wall_clock = library_function(snakemake, "fcl.study.stages.wall_clock:measure_wall_clock")
measure_wall_clock(
    settings_of(snakemake),
    test=Path(snakemake.input.test),
    model=Path(snakemake.input.model),
    cutoffs=[Path(file) for file in snakemake.input.cutoffs],
    output=Path(snakemake.output.measured),
    manifest=Path(snakemake.output.manifest),
)
