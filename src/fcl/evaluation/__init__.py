"""Errors, statistics, diatomic curves, timing."""
