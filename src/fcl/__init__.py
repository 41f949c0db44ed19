"""Flexible Cutoff Learning: train a MACE potential with sampled cutoffs, then choose the cutoffs.

Importing this package is light: torch is imported by the modules that need it; mace-torch and e3nn by
`fcl.models.mace.wrapper` only, for settings that the package's own blocks do not cover.
"""

from importlib import import_module, metadata

try:
    __version__ = metadata.version("flexible-cutoff-learning")
except metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

#: The public names and their modules.
_HOMES = {
    "DynamicCutoffs": "fcl.cutoffs.schemes",
    "FCLCalculator": "fcl.simulation.calculator",
    "NeighbourCutoffs": "fcl.cutoffs.schemes",
    "Potential": "fcl.models.interface",
    "calibrate": "fcl.calibration.optimise",
    "load": "fcl.models.files",
    "train": "fcl.training.own",
}
__all__ = ["DynamicCutoffs", "FCLCalculator", "NeighbourCutoffs", "Potential", "calibrate", "load", "train"]


def __getattr__(name: str):
    """Import the heavy names on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fcl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
