"""Registry of backbones: the function that builds a model, by the name of its architecture in model cards."""

from __future__ import annotations

from collections.abc import Callable


def _mace() -> Callable:
    from fcl.models.mace.model import build

    return build


def _mace_torch() -> Callable:
    from fcl.models.mace.wrapper import build

    return build


#: Builders by architecture, imported on first use (by import statements, which `fcl.runs.code_digest` can follow).
#: A builder takes (kind, settings, r_max, avg_num_neighbors, backend) and returns a `fcl.models.interface.Potential`.
ARCHITECTURES: dict[str, Callable[[], Callable]] = {"mace": _mace, "mace-torch": _mace_torch}
#: Architecture of cards that do not name one.
DEFAULT_ARCHITECTURE = "mace"


def builder(architecture: str) -> Callable:
    """The function that builds models of ``architecture``; `ValueError` if it is unknown."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture {architecture!r} is unknown; known are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture]()
