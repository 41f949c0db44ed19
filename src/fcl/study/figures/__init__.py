"""The figures of the study, each drawn from small tables alone: no model, no display.

Figures are made as ``matplotlib.figure.Figure`` objects, without ``pyplot``: importing or calling these
functions leaves the caller's backend, figures and settings alone.
"""
