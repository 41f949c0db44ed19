"""Small checkpoints with the block classes and options of MACE's foundation models, made with mace-torch's own API."""

from __future__ import annotations

import numpy as np
import torch

#: Smaller than l_max 3 and correlation 3, which take seconds to build.
SMALL = {"max_ell": 2, "correlation": 2}
#: Options of the model by kind; the classes are names in `mace.modules`.
KINDS = {
    # MACE-MP-0 and MACE-OFF23: agnostic and residual blocks, l_max 3, correlation 3
    "residual": {"first": "RealAgnosticResidualInteractionBlock", "gate": "tanh"},
    # MACE-MP-0b3, MACE-MPA-0, MACE-OMAT-0: density blocks, ZBL, Agnesi
    "density": {
        "first": "RealAgnosticDensityInteractionBlock", "other": "RealAgnosticDensityResidualInteractionBlock",
        "pair_repulsion": True, "distance_transform": "Agnesi", **SMALL,
    },
    # several heads, of which one is chosen; ZBL, Soft
    "heads": {"heads": ["pt_head", "mine"], "distance_transform": "Soft", "pair_repulsion": True, **SMALL},
    # MACE-MH: non-linear blocks, the cutoff multiplies the messages, one readout
    "nonlinear": {
        "first": "RealAgnosticResidualNonLinearInteractionBlock",
        "other": "RealAgnosticResidualNonLinearInteractionBlock",
        "readout_cls": "NonLinearBiasReadoutBlock", "apply_cutoff": False, "use_last_readout_only": True,
        "use_agnostic_product": True, "edge_irreps": "6x0e+6x1o", "use_reduced_cg": True, **SMALL,
    },
    # one layer more, other functions of distance
    "gaussian": {
        "radial_type": "gaussian", "num_interactions": 3, "max_ell": 1, "correlation": 1, "use_reduced_cg": False,
    },
    "one layer": {"num_interactions": 1, "max_ell": 1, "correlation": 2},
}  # fmt: skip

#: Elements of the checkpoints, not in the order of the periodic table's beginning.
ELEMENTS = (1, 6, 7, 8, 14, 17, 19, 20, 22, 26)


def checkpoint(kind: str, r_max: float = 5.0, seed: int = 3, elements=ELEMENTS, **changes):
    """A ScaleShiftMACE with random weights, atomic energies, scale and shift, in float64."""
    from fcl.models.mace.wrapper import scripted  # which keeps safe loading on while mace-torch is imported

    from e3nn import o3  # isort: skip
    from mace import modules  # isort: skip

    options = {
        "first": "RealAgnosticInteractionBlock", "other": "RealAgnosticResidualInteractionBlock", "gate": "silu",
        **KINDS[kind], **changes,
    }  # fmt: skip
    heads = options.setdefault("heads", ["Default"])
    rng = np.random.default_rng(seed)
    several = len(heads) > 1
    if "edge_irreps" in options:
        options["edge_irreps"] = o3.Irreps(options["edge_irreps"])
    if "readout_cls" in options:
        options["readout_cls"] = modules.readout_classes[options["readout_cls"]]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        with scripted(False):
            return modules.ScaleShiftMACE(
            **{
                "r_max": r_max, "num_bessel": 8, "num_polynomial_cutoff": 5, "max_ell": 3, "num_interactions": 2,
                "num_elements": len(elements), "hidden_irreps": o3.Irreps("6x0e+6x1o"), "MLP_irreps": o3.Irreps("4x0e"),
                "atomic_energies": rng.normal(-50.0, 30.0, (len(heads), len(elements)) if several else len(elements)),
                "avg_num_neighbors": 17.3, "atomic_numbers": list(elements), "correlation": 3, "radial_MLP": [8, 8],
                "atomic_inter_scale": [1.7, 0.8] if several else 0.8,
                "atomic_inter_shift": [0.3, -0.2] if several else -0.2,
                **{key: value for key, value in options.items() if key not in ("first", "other", "gate")},
                "gate": modules.gate_dict[options["gate"]],
                "interaction_cls_first": modules.interaction_classes[options["first"]],
                "interaction_cls": modules.interaction_classes[options["other"]],
            }
        )  # fmt: skip
    finally:
        torch.set_default_dtype(before)
