"""The figures of the study, each drawn from small tables alone: no model, no structures, no display.

Figures are made as ``matplotlib.figure.Figure`` objects, without ``pyplot``: importing or calling these
functions leaves the caller's backend, figures and settings alone.
"""

from fcl.figures.diatomics import figure_04
from fcl.figures.tradeoff import figure_05
from fcl.figures.uniform import figure_03

__all__ = ["figure_03", "figure_04", "figure_05"]
