"""Simulation with ASE: calculator, relaxation, dynamics, observables."""
