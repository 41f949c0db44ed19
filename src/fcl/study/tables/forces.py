"""Forces of the data: what zero forces would score, beside the paper's error on the same subset."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.forces import force_distribution, tail_prediction, zero_force_errors
from fcl.study.paper import MOLCRYS, MOLFRAGS
from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, ranged, written

#: Claim with the smallest error of the paper on a subset, in meV/A (Fig. 5).
PAPER_ERRORS = {
    "MC3D": "fig5_mc3d_1e-6_rmse",
    "MC2D": "fig5_mc2d_1e-6_rmse",
    MOLCRYS: "fig5_molcrys_initial_rmse",
    MOLFRAGS: "fig5_molfrags_1e-6_rmse",
}
#: A tenth of the structures of each subset of MAD 1.0 (Mazitov et al. 2025, Table 1), as in its 8:1:1 splits.
TEST_STRUCTURES = {"MC3D": 3360, "MC2D": 268, MOLCRYS: 858, MOLFRAGS: 324}
SHOWN = {
    "subset": Column("subset"),
    "structures": Column("structures", "{:.0f}"),
    **ranged("force_rms", "RMS force component (meV/Å)", ".0f", 1000.0),
    "without_forces": Column("without forces", "{:.0f}"),
    "structure_rms_q50": Column("median structure (meV/Å)", "{:.0f}", 1000.0),
    "structure_rms_max": Column("largest structure (meV/Å)", "{:.0f}", 1000.0),
    "share_of_largest_5_percent": Column("share of 5%", "{:.0f}%", 100.0),
    "part_low": Column("zero forces on a fifth (meV/Å)", "{part_low:.0f} to {part_high:.0f}", 1000.0),
}
BESIDE_PAPER = {
    "rmse_low": Column(
        "zero forces on MAD's test structures, by the tail model (meV/Å)", "{rmse_low:.0f} to {rmse_high:.0f}", 1000.0
    ),
    "paper_rmse": Column("paper's RMSE (meV/Å)", "{:.0f}", 1000.0),
    "above": Column("zero forces above the paper's RMSE", "{:.0f}%", 100.0),
}


def forces_table(structures: PathLike, claims: PathLike | None) -> pd.DataFrame:
    """One row per subset of ``structures`` (data/structures.csv.gz); energies in eV, lengths in A.

    ``claims``: resources/claims.csv, or None if the data have nothing to do with the paper's. ``paper_rmse`` is the
    paper's error on that subset; the columns of the tail model are empty where it gives none, or
    where there are too few structures for a fit. ``missed_fraction``: a kind of structures that makes up more of the
    subset is in a sample of this size with a probability of 95%; ``missed_rms``: RMS force component (eV/A) that such
    structures need to bring the RMS of the subset up to the paper's error.
    """
    table = pd.read_csv(Path(structures))
    published = {} if claims is None else pd.read_csv(Path(claims)).set_index("id")["paper_value"].astype(float)
    rows = []
    for subset, members in table.groupby("subset", sort=True):
        square, atoms = members["force_square_sum"].to_numpy(), members["atoms"].to_numpy()
        largest = members["force_largest_component"].to_numpy()
        part = max(1, round(len(members) / 5))
        row = {"subset": subset, "structures": len(members), "groups": members["group"].nunique()}
        row |= force_distribution(square, largest, atoms, members["group"].to_numpy())
        row["part_structures"] = part
        row["part_low"], row["part_high"] = zero_force_errors(square, atoms, [part])[part]
        if claims is not None and subset in PAPER_ERRORS:
            paper = published[PAPER_ERRORS[subset]] / 1000.0
            missed = 1.0 - 0.05 ** (1.0 / len(members))
            lacking = max(0.0, paper**2 - row["force_rms"] ** 2)
            row |= {"paper_rmse": paper, "missed_fraction": missed, "missed_rms": float(np.sqrt(lacking / missed))}
            row |= tail_prediction(square, atoms, TEST_STRUCTURES[subset], paper) or {}
        rows.append(row)
    return pd.DataFrame(rows)


@written("tab:forces")
def table_forces(structures: PathLike, claims: PathLike, *, of_paper: bool) -> Table:
    """The table of forces; ``of_paper``: the data are the paper's, or a sample of these."""
    table = forces_table(structures, claims if of_paper else None)
    caption = (
        "Forces of all structures of each subset, in all splits; zero forces have the RMS force component as their "
        "RMSE. Interval: 95%, groups of structures resampled. Median and largest structure: RMS of its components. "
        "Share: of the squared forces, in the 5% of the structures with most. A fifth: 95% of random parts of that "
        "size."
    )
    if not of_paper:
        return Table(table, SHOWN, caption)
    caption += (
        " Tail model: generalised Pareto distribution above the 90% quantile of the squared force per structure, "
        "refitted to resamples; 95% of the predictions for a tenth of MAD 1.0, and their share above the paper's RMSE."
    )
    unknown = {name: math.nan for name in (*BESIDE_PAPER, "rmse_high") if name not in table}  # no fit at all
    return Table(table, SHOWN | BESIDE_PAPER, caption, unknown)
