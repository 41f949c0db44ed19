"""The unmodified MACE of Table 2, as built by mace-torch; to be imported by `fcl.models.mace.wrapper` only."""

from __future__ import annotations

import contextlib
import io
import os
import warnings

import torch

# e3nn 0.4.4 stores a built-in `slice` in its constants, which torch >= 2.6 rejects under weights_only loading. It is
# allowed for this import only; safe loading remains on.
with torch.serialization.safe_globals([slice]):
    from e3nn import o3

_SAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_before = os.environ.get(_SAFE_LOADING)

# mace prints the names of missing optional packages when imported, which must not appear on standard output.
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")  # deprecations in mace-torch's imports
    from mace.modules.blocks import RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock
    from mace.modules.irreps_tools import mask_head
    from mace.modules.models import ScaleShiftMACE

# Importing mace disables safe loading for the whole process through this variable: restore it.
if _before is None:
    os.environ.pop(_SAFE_LOADING, None)
else:
    os.environ[_SAFE_LOADING] = _before

__all__ = ["ScaleShiftMACE", "backbone_arguments", "mask_head"]


def backbone_arguments(settings, r_max: float, avg_num_neighbors: float) -> dict:
    """Keyword arguments of mace-torch's ScaleShiftMACE for Table 2.

    ``settings`` is a `fcl.config.sections.ModelSettings`. Fixed by the paper, not configurable: interaction blocks,
    SiLU gate, no pair repulsion, scale 1 and shift 0, isolated-atom energies 0 (the labels have them removed).
    ``radial_mlp`` is mace-torch's default. ``r_max`` in A.
    """
    import numpy as np

    return {
        "r_max": float(r_max),
        "num_bessel": settings.num_bessel,
        "num_polynomial_cutoff": settings.polynomial_order,
        "max_ell": settings.max_ell,
        "interaction_cls_first": RealAgnosticInteractionBlock,
        "interaction_cls": RealAgnosticResidualInteractionBlock,
        "num_interactions": settings.num_interactions,
        "num_elements": settings.num_elements,
        "hidden_irreps": o3.Irreps(settings.hidden_irreps),
        "MLP_irreps": o3.Irreps(settings.mlp_irreps),
        "atomic_energies": np.zeros(settings.num_elements),
        "avg_num_neighbors": float(avg_num_neighbors),
        "atomic_numbers": list(range(1, settings.num_elements + 1)),
        "correlation": settings.correlation,
        "gate": torch.nn.functional.silu,
        "radial_MLP": list(settings.radial_mlp),
        "atomic_inter_scale": 1.0,
        "atomic_inter_shift": 0.0,
    }
