"""Cutoff radii: mixing rules, sampling, assignment, cost model, user input."""
