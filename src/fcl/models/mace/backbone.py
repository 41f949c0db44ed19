"""Models as mace-torch builds them; to be imported by `fcl.models.mace.wrapper` only."""

from __future__ import annotations

import contextlib
import io
import os
import warnings

import torch

from fcl.config.architectures import MACETorchSettings

# e3nn 0.4.4 stores a built-in `slice` in its constants, which torch >= 2.6 rejects under weights_only loading. It is
# allowed for this import only; safe loading remains on.
with torch.serialization.safe_globals([slice]):
    from e3nn import o3

_SAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_before = os.environ.get(_SAFE_LOADING)

# mace prints the names of missing optional packages when imported, which must not appear on standard output.
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")  # deprecations in mace-torch's imports
    from mace.modules import gate_dict, interaction_classes, readout_classes
    from mace.modules.irreps_tools import mask_head
    from mace.modules.models import ScaleShiftMACE

# Importing mace disables safe loading for the whole process through this variable: restore it.
if _before is None:
    os.environ.pop(_SAFE_LOADING, None)
else:
    os.environ[_SAFE_LOADING] = _before

__all__ = ["ScaleShiftMACE", "backbone_arguments", "mask_head"]


def backbone_arguments(settings, r_max: float, avg_num_neighbors: float) -> dict:
    """Keyword arguments of mace-torch's ScaleShiftMACE.

    ``settings`` is a `fcl.config.architectures.ModelSettings`, for which the paper fixes interaction blocks, SiLU gate,
    no pair repulsion, and isolated-atom energies 0 (the labels have them removed), or a `MACETorchSettings`, which
    holds these too. Scale 1, shift 0 and isolated-atom energies 0 are values of buffers, to be loaded. ``radial_mlp``
    is mace-torch's default. ``r_max`` in A.
    """
    import numpy as np

    def option(name: str, default):
        return getattr(settings, name, None) or default

    numbers = list(option("elements", range(1, settings.num_elements + 1)))
    heads = list(option("heads", ["Default"]))
    several = len(heads) > 1
    arguments = {
        "r_max": float(r_max),
        "num_bessel": settings.num_bessel,
        "num_polynomial_cutoff": settings.polynomial_order,
        "max_ell": settings.max_ell,
        "interaction_cls_first": interaction_classes[option("interaction_first", "RealAgnosticInteractionBlock")],
        "interaction_cls": interaction_classes[option("interaction", "RealAgnosticResidualInteractionBlock")],
        "num_interactions": settings.num_interactions,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps(settings.hidden_irreps),
        "MLP_irreps": o3.Irreps(settings.mlp_irreps),
        "atomic_energies": np.zeros((len(heads), len(numbers)) if several else len(numbers)),
        "avg_num_neighbors": float(avg_num_neighbors),
        "atomic_numbers": numbers,
        "correlation": settings.correlation,
        "gate": gate_dict[option("gate", "silu")],
        "radial_MLP": list(settings.radial_mlp),
        "atomic_inter_scale": [1.0] * len(heads) if several else 1.0,
        "atomic_inter_shift": [0.0] * len(heads) if several else 0.0,
    }
    if not isinstance(settings, MACETorchSettings):
        return arguments
    same = (
        "pair_repulsion", "radial_type", "distance_transform", "apply_cutoff", "use_reduced_cg", "use_so3",
        "use_agnostic_product", "use_last_readout_only", "use_edge_irreps_first", "keep_last_layer_irreps",
    )  # fmt: skip
    return {
        **arguments,
        **{name: getattr(settings, name) for name in same},
        "heads": heads,
        "readout_cls": readout_classes[settings.readout],
        "edge_irreps": None if settings.edge_irreps is None else o3.Irreps(settings.edge_irreps),
    }
