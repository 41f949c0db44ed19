"""Average neighbours, elements and an example structure of the data."""

from pathlib import Path

from fcl.study.adapter import recorded_function

describe_data = recorded_function(snakemake, "fcl.study.stages.describe:describe_data")
describe_data(
    stores={"train": Path(snakemake.input.train), "test": Path(snakemake.input.test)},
    subsets=snakemake.params.subsets,
    neighbors=Path(snakemake.output.neighbors),
    elements=Path(snakemake.output.elements),
    example=Path(snakemake.output.example),
)
