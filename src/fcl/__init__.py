"""Flexible Cutoff Learning: train a MACE potential with sampled cutoffs, then choose the cutoffs.

Importing this package is light: torch is imported by the modules that need it; mace-torch and e3nn by
`fcl.models.mace.wrapper` only, for settings that the package's own blocks do not cover.
"""

from importlib import metadata

try:
    __version__ = metadata.version("flexible-cutoff-learning")
except metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["FCLCalculator", "Potential", "calibrate", "load", "train"]


def __getattr__(name: str):
    """Import the heavy names on first use (PEP 562)."""
    if name == "load":
        from fcl.models.files import load

        return load
    if name == "Potential":
        from fcl.models.interface import Potential

        return Potential
    if name == "calibrate":
        from fcl.calibration.optimise import calibrate

        return calibrate
    if name == "FCLCalculator":
        from fcl.simulation.calculator import FCLCalculator

        return FCLCalculator
    if name == "train":
        from fcl.training.own import train

        return train
    raise AttributeError(f"module 'fcl' has no attribute {name!r}")
