"""Table 1: cutoffs and interaction order of published models, values from the literature."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, written

CAPTION = (
    "Cutoff radii and the highest explicit interaction order k of published models; in brackets a separate cutoff for "
    "three-body interactions. Values and citations: Table 1 of arXiv:2603.10205 (CC BY 4.0)."
)
COLUMNS = {
    "model": Column("model"),
    "cutoff": Column("cutoff (Å)"),
    "interaction_order": Column("k"),
    "reference": Column("reference"),
    "link": Column("link"),
    "note": Column("note"),
}


@written("tab:published-models")
def table_01(source: PathLike) -> Table:
    """Table 1 from ``source`` (resources/published_models.csv), with ``cutoff`` as printed: 5.0 (4.0)."""
    table = pd.read_csv(Path(source))
    radii = zip(table["cutoff_angstrom"], table["three_body_cutoff_angstrom"], strict=True)
    table["cutoff"] = [f"{two:.1f}" + ("" if pd.isna(three) else f" ({three:.1f})") for two, three in radii]
    return Table(table, COLUMNS, CAPTION)
