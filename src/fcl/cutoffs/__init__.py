"""Cutoff radii: mixing rules, sampling, assignment, cost model, what users give."""
