"""The figures of the study, each drawn from small tables alone: no model, no display.

Figures are made as ``matplotlib.figure.Figure`` objects, without ``pyplot``: importing or calling these
functions leaves the caller's backend, figures and settings alone.
"""

from fcl.figures.calibrated import figure_06, figure_07
from fcl.figures.diatomics import figure_04, figure_10
from fcl.figures.environment import figure_01
from fcl.figures.schematic import figure_02
from fcl.figures.tradeoff import figure_05, figure_09
from fcl.figures.training import figure_training
from fcl.figures.uniform import figure_03, figure_08
from fcl.figures.validation import figure_validation
from fcl.figures.wall_clock import figure_wall_clock

__all__ = [
    "figure_01",
    "figure_02",
    "figure_03",
    "figure_04",
    "figure_05",
    "figure_06",
    "figure_07",
    "figure_08",
    "figure_09",
    "figure_10",
    "figure_training",
    "figure_validation",
    "figure_wall_clock",
]
