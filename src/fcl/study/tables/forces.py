"""Forces of the data: what zero forces would score, beside the paper's error on the same subset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.forces import force_distribution, tail_prediction, zero_force_errors
from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, intervals, written

#: Claim with the smallest error of the paper on a subset, in meV/A (Fig. 5).
PAPER_ERRORS = {
    "MC3D": "fig5_mc3d_1e-6_rmse",
    "MC2D": "fig5_mc2d_1e-6_rmse",
    "SHIFTML-molcrys": "fig5_molcrys_initial_rmse",
    "SHIFTML-molfrags": "fig5_molfrags_1e-6_rmse",
}
#: A tenth of the structures of each subset of MAD 1.0 (Mazitov et al. 2025, Table 1), as in its 8:1:1 splits.
TEST_STRUCTURES = {"MC3D": 3360, "MC2D": 268, "SHIFTML-molcrys": 858, "SHIFTML-molfrags": 324}
SHOWN = {
    "subset": Column("subset"),
    "structures": Column("structures", "{:.0f}"),
    "rms_text": Column("RMS force component (meV/Å)"),
    "without_forces": Column("without forces", "{:.0f}"),
    "median_text": Column("median structure (meV/Å)"),
    "largest_text": Column("largest structure (meV/Å)"),
    "share_text": Column("share of 5%"),
    "part_text": Column("zero forces on a fifth (meV/Å)"),
    "tail_text": Column("zero forces on MAD's test structures, by the tail model (meV/Å)"),
    "paper_text": Column("paper's RMSE (meV/Å)"),
    "above_text": Column("zero forces above the paper's RMSE"),
}
BESIDE_PAPER = ("tail_text", "paper_text", "above_text")


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
    tail = table.reindex(columns=["rmse_low", "rmse_high", "above", "paper_rmse"])

    def texts(pattern: str, *columns: pd.Series, scale: float = 1000.0) -> list[str]:
        rows = zip(*columns, strict=True)
        return ["" if any(map(pd.isna, row)) else pattern.format(*(scale * value for value in row)) for row in rows]

    cells = {
        "rms_text": intervals(table, "force_rms", ".0f", 1000.0),
        "median_text": texts("{:.0f}", table["structure_rms_q50"]),
        "largest_text": texts("{:.0f}", table["structure_rms_max"]),
        "share_text": texts("{:.0f}%", table["share_of_largest_5_percent"], scale=100.0),
        "part_text": texts("{:.0f} to {:.0f}", table["part_low"], table["part_high"]),
        "tail_text": texts("{:.0f} to {:.0f}", tail["rmse_low"], tail["rmse_high"]),
        "paper_text": texts("{:.0f}", tail["paper_rmse"]),
        "above_text": texts("{:.0f}%", tail["above"], scale=100.0),
    }
    caption = (
        "Forces of all structures of each subset, in all splits; zero forces have the RMS force component as their "
        "RMSE. Interval: 95%, groups of structures resampled. Median and largest structure: RMS of its components. "
        "Share: of the squared forces, in the 5% of the structures with most. A fifth: 95% of random parts of that "
        "size."
    )
    tail_caption = (
        " Tail model: generalised Pareto distribution above the 90% quantile of the squared force per structure, "
        "refitted to resamples; 95% of the predictions for a tenth of MAD 1.0, and their share above the paper's RMSE."
    )
    columns = {name: column for name, column in SHOWN.items() if of_paper or name not in BESIDE_PAPER}
    return Table(table, columns, caption + (tail_caption if of_paper else ""), cells)
