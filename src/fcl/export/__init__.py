"""Models for other simulation engines: their cutoffs chosen once, for all."""
