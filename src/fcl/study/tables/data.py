"""Tables 3 and 4: average neighbours and element fractions of the training split, next to the paper's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fcl.study.paper import MOLCRYS
from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, written

NEIGHBORS = {
    "cutoff_angstrom": Column("r_max (Å)", "{:.1f}"),
    "per_connected_atom": Column("over atoms with a neighbour", "{:.1f}"),
    "per_atom": Column("over all atoms", "{:.1f}"),
    "per_structure": Column("mean over structures", "{:.1f}"),
    "paper": Column("paper, on MAD", "{:.1f}"),
}
ELEMENTS = {
    "element": Column("element"),
    "atoms": Column("atoms", "{:.0f}"),
    "fraction": Column("fraction", "{:#.3g}"),
    "paper": Column("paper, on MAD", "{:#.3g}"),
}


def paper_values(claims: PathLike, prefix: str) -> dict[str, float]:
    """The paper's numbers from resources/claims.csv whose id starts with ``prefix``, keyed by the rest of the id."""
    table = pd.read_csv(Path(claims))
    rows = table[table["id"].str.startswith(prefix)]
    names = rows["id"].str.removeprefix(prefix)
    return dict(zip(names, rows["paper_value"].astype(float), strict=True))


def average_neighbors_table(neighbors: PathLike, claims: PathLike) -> pd.DataFrame:
    """One row per cutoff of Table 3, for the training split; ``paper`` is the value in Table 3."""
    published = {float(name): value for name, value in paper_values(claims, "table3_avg_neighbors_").items()}
    table = pd.read_csv(Path(neighbors))
    table = table[(table["split"] == "train") & table["cutoff_angstrom"].isin(published)].copy()
    table["paper"] = table["cutoff_angstrom"].map(published)
    return table


def element_fractions_table(elements: PathLike, claims: PathLike) -> pd.DataFrame:
    """One row per element of the training split's molecular crystals or of Table 4, by atomic number."""
    from ase.data import atomic_numbers

    published = pd.Series(paper_values(claims, "table4_"), name="paper").rename_axis("element").reset_index()
    table = pd.read_csv(Path(elements))
    table = table[(table["split"] == "train") & (table["subset"] == MOLCRYS)]
    merged = table[["element", "atoms", "fraction"]].merge(published, on="element", how="outer")
    return merged.sort_values("element", key=lambda column: column.map(atomic_numbers), ignore_index=True)


@written("tab:neighbours")
def table_03(neighbors: PathLike, claims: PathLike) -> Table:
    """Table 3."""
    caption = (
        "Average number of neighbours in the training split, in the three definitions of the field. The first one is "
        "MACE's avg_num_neighbors, the normalisation of static models. The last column is Table 3 of arXiv:2603.10205."
    )
    return Table(average_neighbors_table(neighbors, claims), NEIGHBORS, caption)


@written("tab:elements")
def table_04(elements: PathLike, claims: PathLike) -> Table:
    """Table 4."""
    caption = (
        f"Element fractions over the atoms of {MOLCRYS} in the training split. "
        "The last column is Table 4 of arXiv:2603.10205."
    )
    return Table(element_fractions_table(elements, claims), ELEMENTS, caption)
