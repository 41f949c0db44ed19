"""The tables of the study as CSV, Markdown, LaTeX and HTML, each made from small files or from the settings."""

from fcl.tables.cost import table_labels, table_wall_clock
from fcl.tables.data import table_03, table_04
from fcl.tables.hyperparameters import table_02
from fcl.tables.published import table_01
from fcl.tables.validation import table_validation

__all__ = [
    "table_01",
    "table_02",
    "table_03",
    "table_04",
    "table_labels",
    "table_validation",
    "table_wall_clock",
]
