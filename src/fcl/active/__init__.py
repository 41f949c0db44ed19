"""Active learning with small cells: training data for a user's material, labelled by any ASE calculator."""
