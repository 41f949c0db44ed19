"""Conversion of checkpoints of mace-torch (``torch.save`` of a ScaleShiftMACE) into model files, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from fcl.config.architectures import MACETorchSettings
from fcl.config.errors import explain
from fcl.config.load import training_settings
from fcl.config.types import SYMBOLS
from fcl.models.files import build_model, save_model
from fcl.models.mace.checkpoint import CheckpointError, Record, irreps, number, read_checkpoint
from fcl.runs.files import sha256_file

#: Buffers that a build makes anew, and that checkpoints keep inside of compiled programs or did not have once.
CONSTANTS = ("_compiled_", "_w3j", "_zeroed")
RADIAL = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
TRANSFORMS = {"AgnesiTransform": "Agnesi", "SoftTransform": "Soft"}
#: Settings that are attributes of the model, with their values in versions that did not have them.
ATTRIBUTES = {
    "apply_cutoff": True, "use_reduced_cg": False, "use_so3": False, "use_agnostic_product": False,
    "use_last_readout_only": False, "use_edge_irreps_first": False,
}  # fmt: skip


def convert(checkpoint: str | Path, output: str | Path, head: str | None = None) -> dict:
    """Write the model of ``checkpoint`` as ``output`` (safetensors) with its card, which is returned.

    ``head`` names one of several heads. Nothing of the checkpoint is executed (`fcl.models.mace.checkpoint`). Its
    isolated-atom energies become the card's ``reference_energies_ev``. Raises `FileNotFoundError` and
    `CheckpointError`, which names what is not supported.
    """
    record = read_checkpoint(checkpoint)
    try:
        if record.path != "mace.modules.models.ScaleShiftMACE":
            raise ValueError(f"holds a {record.path}, not a ScaleShiftMACE of mace-torch")
        tensors = dict(record.tensors())
        r_max = round(number(tensors["r_max"]), 6)
        settings, neighbors = model_settings(record, tensors, head), average_neighbors(record)
        model = build_model("static", settings, r_max, neighbors, dtype=tensors["r_max"].dtype)
        load_weights(model, tensors)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        what = str(error) if isinstance(error, ValueError) else f"lacks what a MACE has ({error})"
        raise CheckpointError(f"{checkpoint}: {what}") from error
    energies = model.energy_offsets.tolist()
    card = {
        "stage": "convert",
        "source": {"file": Path(checkpoint).name, "sha256": sha256_file(checkpoint), "head": model.head},
        "reference_energies_ev": {SYMBOLS[z - 1]: energy for z, energy in zip(model.elements, energies, strict=True)},
    }
    return save_model(model, output, card)


def model_settings(record: Record, tensors: dict[str, torch.Tensor], head: str | None = None) -> MACETorchSettings:
    """The settings of a recorded ScaleShiftMACE; `ValueError` names what is not supported."""
    refused = {
        "embeddings of other inputs (joint_embedding)": record.get("joint_embedding") is not None,
        "other energies (les, fields)": any(record.get(name) is not None for name in ("les", "field_si")),
    }
    if found := ", ".join(name for name, there in refused.items() if there):
        raise ValueError(f"is a MACE with {found}, which is not supported")
    layers = modules(record.get("interactions"))
    products = [product.at("symmetric_contractions") for product in modules(record.get("products"))]
    readouts = modules(record.get("readouts"))
    kinds = list(dict.fromkeys(layer.name for layer in layers[1:]))
    if len(kinds) > 1:
        raise ValueError(f"has different blocks in its layers ({', '.join(kinds)}), which is not supported")
    if any(product.name != "SymmetricContraction" for product in products):
        raise ValueError(
            "is compiled for an accelerator (cuEquivariance): convert it back to e3nn with mace-torch first"
        )
    correlations = {int(number(product.at("contractions.0.correlation"))) for product in products}
    if len(correlations) > 1:
        raise ValueError(f"has correlations {sorted(correlations)} in its layers, which is not supported")
    heads = list(record.get("heads") or ["Default"])
    if head is not None and head not in heads:
        raise ValueError(f"head {head!r} is unknown; the model has {', '.join(heads)}")
    if head is None and len(heads) > 1:
        raise ValueError(f"has several heads: name one of {', '.join(heads)}")
    radial, last = record.get("radial_embedding"), readouts[-1]
    transform = radial.get("distance_transform")
    known = training_settings({}).model.model_dump()
    elements = [int(z) for z in tensors["atomic_numbers"]]
    widths = list(layers[0].at("conv_tp_weights.hs"))[1:-1]
    settings: dict[str, Any] = {
        **known,
        "architecture": "mace-torch",
        "num_elements": elements[-1],
        "elements": elements,
        "hidden_irreps": irreps(record.at("products.0.linear.irreps_out")),
        "num_bessel": number_of_functions(radial, tensors),
        "polynomial_order": int(tensors["radial_embedding.cutoff_fn.p"]),
        "correlation": correlations.pop(),
        "max_ell": int(number(record.at("spherical_harmonics._lmax"))),
        "num_interactions": len(layers),
        "radial_mlp": [int(width) for width in widths],
        "fcl_avg_num_neighbors": average_neighbors(record),
        "interaction_first": layers[0].name,
        "edge_irreps": irreps(record.get("edge_irreps")),
        "radial_type": RADIAL.get(radial.get("bessel_fn").name, radial.get("bessel_fn").name),
        "distance_transform": "None" if transform is None else TRANSFORMS.get(transform.name, transform.name),
        "pair_repulsion": record.get("pair_repulsion_fn") is not None,
        "heads": None if heads == ["Default"] else heads,
        "head": None if heads == ["Default"] else head or heads[0],
        **{name: bool(record.get(name, default)) for name, default in ATTRIBUTES.items()},
    }
    settings["radial_embedding_hidden"] = max(known["radial_embedding_hidden"], 2 * settings["num_bessel"])
    if kinds:
        settings["interaction"] = kinds[0]
    if last.get("hidden_irreps") is not None:
        width = sum(int(part.partition("x")[0]) for part in irreps(last.get("hidden_irreps")).split(" + "))
        settings |= {"readout": last.name, "mlp_irreps": f"{width // len(heads)}x0e", "gate": activation(last)}
    out = irreps(record.at(f"products.{len(layers) - 1}.linear.irreps_out"))
    settings["keep_last_layer_irreps"] = len(layers) > 1 and " + " in out
    try:
        return MACETorchSettings.model_validate(settings)
    except ValidationError as error:
        raise ValueError(f"is not supported: {explain(error, MACETorchSettings)}".replace("\n", "; ")) from None


def modules(record: Record) -> list[Record]:
    """The modules of a recorded ModuleList."""
    return list(record.state["_modules"].values())


def average_neighbors(record: Record) -> float:
    """avg_num_neighbors of all layers; `ValueError` if they differ."""
    values = {number(layer.get("avg_num_neighbors")) for layer in modules(record.get("interactions"))}
    if len(values) > 1:
        raise ValueError(f"has several avg_num_neighbors ({sorted(values)}), which is not supported")
    return values.pop()


def number_of_functions(radial: Record, tensors: dict[str, torch.Tensor]) -> int:
    """The number of functions of distance of a recorded RadialEmbeddingBlock."""
    for name in ("bessel_weights", "gaussian_weights", "n"):
        if f"radial_embedding.bessel_fn.{name}" in tensors:
            return tensors[f"radial_embedding.bessel_fn.{name}"].numel()
    return int(number(radial.get("out_dim")))


def activation(readout: Record) -> str:
    """Name of the activation function of a recorded readout."""
    acts = readout.at("non_linearity.acts")
    first = next(iter(modules(acts)), None) if acts is not None else None
    if first is None:
        return "None"
    path = getattr(first.get("f"), "path", first.path)
    return path.rpartition(".")[2].lower()


def load_weights(model, tensors: dict[str, torch.Tensor]) -> None:
    """Load all parameters and buffers; `ValueError` names those that are missing, unknown or of another shape.

    Energies, scale and shift of a single head may have a dimension for the heads.
    """
    own, taken = model.state_dict(), dict(tensors)
    for name in ("atomic_energies_fn.atomic_energies", "scale_shift.scale", "scale_shift.shift"):
        if taken[name].numel() in (1, own[name].numel()):
            taken[name] = taken[name].reshape(-1).expand(own[name].numel()).reshape(own[name].shape)
    wrong = [
        name
        for name, value in own.items()
        if (name not in taken and value.numel() and not any(part in name for part in CONSTANTS))
        or (name in taken and taken[name].shape != value.shape)
    ]
    wrong += [name for name, value in taken.items() if name not in own and value.numel()]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"parameters missing, unknown or of another shape: {', '.join(wrong[:5])}{more}")
    model.load_state_dict({name: value for name, value in taken.items() if name in own}, strict=False)
