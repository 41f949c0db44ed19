"""Cutoffs after training: optimisation, paths, tolerances, a user's own system."""
