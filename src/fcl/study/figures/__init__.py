"""Figures of the study, drawn from small tables only: no model, no display.

Figures are made as ``matplotlib.figure.Figure`` objects, without ``pyplot``: importing or calling these
functions does not change the caller's backend, figures or settings.
"""
