"""Backbones by the name that cards give: which function builds a model of an architecture."""

from __future__ import annotations

from collections.abc import Callable


def _mace() -> Callable:
    from fcl.models.mace.model import build

    return build


def _mace_torch() -> Callable:
    from fcl.models.mace.wrapper import build

    return build


#: Imports of the builders by architecture, on first use (statements, not names: `fcl.runs.code_digest` follows them).
#: A builder takes (kind, settings, r_max, avg_num_neighbors, backend) and returns a `fcl.models.interface.Potential`.
ARCHITECTURES: dict[str, Callable[[], Callable]] = {"mace": _mace, "mace-torch": _mace_torch}
#: What cards without an architecture mean.
DEFAULT_ARCHITECTURE = "mace"


def builder(architecture: str) -> Callable:
    """The function that builds models of ``architecture``; `ValueError` lists the known ones."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture {architecture!r} is unknown; known are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture]()
