"""Average neighbours, elements, structures and an example of the data."""

from pathlib import Path

from fcl.study.adapter import recorded_function

describe_data = recorded_function(snakemake, "fcl.study.stages.describe:describe_data")
describe_data(
    stores={split: Path(snakemake.input[split]) for split in ("train", "val", "test")},
    subsets=snakemake.params.subsets,
    neighbors=Path(snakemake.output.neighbors),
    elements=Path(snakemake.output.elements),
    structures=Path(snakemake.output.structures),
    example=Path(snakemake.output.example),
)
