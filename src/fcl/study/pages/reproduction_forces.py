"""Whether the paper's error on a subset beats zero forces, as far as the data of a study can answer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.read import read_table
from fcl.study.tables.forces import TEST_STRUCTURES

SUBSET = "MC3D"
#: Share of predictions of the tail model that decide.
DECIDED = 0.025


def zero_forces(folder: Path, subset: str = SUBSET) -> str:
    """The forces of ``subset``, the paper's error beside them, and what has to be true for it to beat zero forces."""
    file = folder / "tables/forces.csv"
    table = read_table(file, ("subset",), "the table of forces of this study").set_index("subset")
    if subset not in table.index or pd.isna(table.loc[subset].get("paper_rmse")):
        raise NotEvaluated(f"a subset {subset} with an error in the paper")
    row = table.loc[subset]
    milli = {name: f"{1000.0 * row[name]:.0f}" for name in row.index if isinstance(row[name], float)}
    parts = [
        f"A question to the paper, not a verdict. The {row['structures']:.0f} structures of {subset} at hand have an "
        f"RMS force component of {milli['force_rms']} meV/Å (95%: {milli['force_rms_low']} to "
        f"{milli['force_rms_high']}, "
        "structures resampled), which is the RMSE of predicting zero forces. The paper's lowest RMSE on its test "
        f"structures of {subset} is {milli['paper_rmse']} meV/Å. Few structures make up this number: the median "
        f"structure has {1000.0 * row['structure_rms_q50']:.1f} meV/Å, the largest {milli['structure_rms_max']} meV/Å, "
        f"{row['without_forces']:.0f} have no forces, and 5% of the structures hold "
        f"{row['share_of_largest_5_percent']:.0%} of the squared force; so a random part of "
        f"{row['part_structures']:.0f} of them has {milli['part_low']} to {milli['part_high']} meV/Å (95%)."
    ]
    if row["paper_rmse"] <= row["force_rms"]:
        return parts[0] + " Here the paper's error is below that of zero forces."
    parts.append(
        "For the paper's error to beat zero forces, its test structures must have larger forces than these. A kind of "
        f"structures that this sample missed makes up at most {row['missed_fraction']:.1%} of {subset} (95%), and "
        f"would need an RMS force component of {row['missed_rms']:.2f} eV/Å or more."
    )
    if pd.notna(row.get("above")):
        above = row["above"]
        word = "it does not beat them" if above < DECIDED else "it beats them" if above > 1.0 - DECIDED else "undecided"
        parts.append(
            "Conditional on a generalised Pareto tail of the squared force per structure above its 90% quantile (shape "
            f"{row['tail_shape']:.2f}, 95%: {row['tail_shape_low']:.2f} to {row['tail_shape_high']:.2f}), zero forces "
            f"score {milli['rmse_low']} to {milli['rmse_high']} meV/Å on {TEST_STRUCTURES[subset]} further structures, "
            f"as many as MAD's test split has; {above:.0%} of the predictions are above the paper's error: {word}."
        )
    return "\n\n".join(parts)
