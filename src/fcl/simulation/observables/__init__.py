"""Physical observables computed with an ASE calculator."""
