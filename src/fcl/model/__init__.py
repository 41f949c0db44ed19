"""Static and flexible-cutoff MACE potentials on mace-torch's blocks."""
