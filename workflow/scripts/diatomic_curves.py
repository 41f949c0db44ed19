"""Energy and force curves of atom pairs."""

from pathlib import Path

from fcl.study.adapter import library_function, settings_of

diatomic_curves = library_function(snakemake, "fcl.study.stages.evaluation:diatomic_curves")
diatomic_curves(
    settings_of(snakemake),
    model=Path(snakemake.input.model),
    output=Path(snakemake.output.curves),
    manifest=Path(snakemake.output.manifest),
)
