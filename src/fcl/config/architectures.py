"""Settings of the architectures of `fcl.models.registry`: strict, frozen pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from fcl.config.types import Count, Extended, Positive

#: Of at most 999 channels: a typing error must not fill the memory.
Irreps = Annotated[str, Field(pattern=r"^\d{1,3}x\d{1,2}[eo](\s*\+\s*\d{1,3}x\d{1,2}[eo])*$")]


class ModelSettings(Extended):
    """Architecture of MACE (paper, Table 2) and of the FCL modules (Eqs. 14-16)."""

    later: ClassVar = ("architecture",)

    architecture: Literal["mace"] = Field(
        "mace", description="backbone: mace has blocks of its own; mace-torch wraps that library's, of the same numbers"
    )
    num_elements: Annotated[int, Field(ge=1, le=118)] = Field(description="elements Z = 1 ... num_elements")
    hidden_irreps: Irreps = Field(description="irreps of the node features")
    mlp_irreps: Irreps = Field(description="irreps of the hidden layer of the last readout")
    num_bessel: Count = Field(description="number of radial Bessel functions")
    bessel_range: Positive | None = Field(
        None, description="range of the Bessel functions (angstrom); null: the cutoff (static), cutoffs.reach (FCL)"
    )
    polynomial_order: Count = Field(description="order p of the polynomial cutoff")
    correlation: Annotated[int, Field(ge=1, le=4)] = Field(
        description="correlation order: body order of a layer minus one"
    )
    max_ell: Annotated[int, Field(ge=1, le=6)] = Field(description="largest l of the spherical harmonics")
    num_interactions: Annotated[int, Field(ge=1, le=20)] = Field(description="number of message-passing layers")
    radial_mlp: tuple[Count, ...] = Field(min_length=1, description="hidden widths of the radial MLP of MACE")
    fcl_avg_num_neighbors: Positive = Field(description="normalisation of messages in FCL models: average neighbours")
    radial_embedding_hidden: Count = Field(description="hidden width of the radial network u, Eq. 15")
    cutoff_embedding_hidden: Count = Field(description="hidden width of the node embedding e, Eq. 16")
    cutoff_embedding: Literal["released", "released_no_silu", "literal"] = Field(
        description="released: 1-64-64-32 and SiLU, 9 162 new parameters; released_no_silu: without the last SiLU; "
        "literal: the two layers of the text, 5 034"
    )
    mixing_rule: Literal["arithmetic", "geometric"] = Field(description="pair cutoff from the two atomic cutoffs")


Interaction = Literal[
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
]


class MACETorchSettings(ModelSettings):
    """The same settings for mace-torch's blocks, and all others of that library's models (`fcl convert`)."""

    architecture: Literal["mace-torch"] = Field(description="mace-torch's blocks")
    elements: tuple[Annotated[int, Field(ge=1, le=118)], ...] | None = Field(
        None, description="atomic numbers, ascending, the last one num_elements; null: 1 ... num_elements"
    )
    interaction_first: Interaction = Field("RealAgnosticInteractionBlock", description="block of the first layer")
    interaction: Interaction = Field("RealAgnosticResidualInteractionBlock", description="block of the other layers")
    edge_irreps: Irreps | None = Field(None, description="irreps of the messages; null: those of the features")
    radial_type: Literal["bessel", "gaussian"] = Field("bessel", description="functions of distance")
    distance_transform: Literal["None", "Agnesi", "Soft"] = Field(
        "None", description="transform of the distance, which depends on the two elements"
    )
    pair_repulsion: bool = Field(False, description="adds the ZBL repulsion, up to the sum of the covalent radii")
    gate: Literal["silu", "tanh", "abs", "None"] = Field("silu", description="activation of the last readout")
    readout: Literal["NonLinearReadoutBlock", "NonLinearBiasReadoutBlock"] = Field(
        "NonLinearReadoutBlock", description="block of the last readout"
    )
    heads: tuple[str, ...] | None = Field(None, description="names of the heads; null: one, Default")
    head: str | None = Field(None, description="the head whose energies are predicted; null: the first")
    apply_cutoff: bool = Field(True, description="the envelope multiplies the radial features; false: the messages")
    use_reduced_cg: bool = Field(True, description="reduced basis of the products")
    use_so3: bool = Field(False, description="spherical harmonics of even parity")
    use_agnostic_product: bool = Field(False, description="products do not depend on the element")
    use_last_readout_only: bool = Field(False, description="energies are read from the last layer only")
    use_edge_irreps_first: bool = Field(False, description="edge_irreps hold for the first layer too")
    keep_last_layer_irreps: bool = Field(False, description="the last layer keeps its vectors")

    later: ClassVar = (
        "elements", "interaction_first", "interaction", "edge_irreps", "radial_type", "distance_transform",
        "pair_repulsion", "gate", "readout", "heads", "head", "apply_cutoff", "use_reduced_cg", "use_so3",
        "use_agnostic_product", "use_last_readout_only", "use_edge_irreps_first", "keep_last_layer_irreps",
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> MACETorchSettings:
        if self.elements is not None and (
            list(self.elements) != sorted(set(self.elements)) or self.elements[-1:] != (self.num_elements,)
        ):
            raise ValueError("elements: are not ascending atomic numbers up to num_elements")
        if self.head is not None and self.head not in (self.heads or ()):
            raise ValueError(f"head: {self.head!r} is not among heads")
        if "NonLinear" in self.interaction_first + self.interaction and self.apply_cutoff:
            raise ValueError("apply_cutoff: with non-linear blocks, messages would not vanish at the cutoff")
        return self


def _architecture(settings: Any) -> str:
    given = settings if isinstance(settings, Mapping) else vars(settings) if isinstance(settings, ModelSettings) else {}
    return given.get("architecture", "mace")


#: The settings of any architecture of `fcl.models.registry`.
AnyModelSettings = Annotated[
    Annotated[ModelSettings, Tag("mace")] | Annotated[MACETorchSettings, Tag("mace-torch")],
    Discriminator(
        _architecture,
        custom_error_type="architecture",
        custom_error_message="architecture is neither mace nor mace-torch",
    ),
]
