"""Optimisation of cutoffs after training: Adam, lambda paths, error tolerances, user systems."""
