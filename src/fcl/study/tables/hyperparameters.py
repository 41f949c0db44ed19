"""Table 2: hyperparameters, read from a static and an FCL model as built by the study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fcl.study.read import PathLike
from fcl.study.tables.common import Column, Table, written

CAPTION = (
    "Hyperparameters, read from the models that this study builds, beside Table 2 and section 3 of arXiv:2603.10205. "
    "FCL's own parts are the radial embedding (Eq. 14) and the embedding of the cutoff (Eq. 16)."
)
COLUMNS = {"parameter": Column("parameter"), "static": Column("static"), "fcl": Column("FCL"), "paper": Column("paper")}


def read_hyperparameters(model) -> dict[str, str | int | float]:
    """The values of Table 2, read from the modules of ``model`` (a `fcl.Potential` of MACE)."""
    radial, readout = model.radial_embedding, model.readouts[-1]
    if model.kind == "static":
        num_bessel, order = radial.bessel_fn.bessel_weights.numel(), int(radial.cutoff_fn.p)
    else:
        num_bessel, order = radial.bessel.frequencies.numel(), radial.polynomial_order
    numbers = model.atomic_numbers.tolist()
    energies = model.atomic_energies_fn.atomic_energies.flatten().unique().tolist()
    contractions = model.products[0].symmetric_contractions.contractions
    blocks = [type(block).__name__ for block in model.interactions]
    scale, shift = float(model.scale_shift.scale), float(model.scale_shift.shift)
    return {
        "num_bessel": num_bessel,
        "polynomial_order": order,
        "correlation": max(contraction.correlation for contraction in contractions),
        "max_ell": model.max_ell,
        "num_interactions": len(blocks),
        "first_interaction": blocks[0],
        "residual_interaction": ", ".join(sorted(set(blocks[1:]))),
        "hidden_irreps": str(model.products[0].linear.irreps_out),
        "mlp_irreps": str(readout.linear_1.irreps_out),
        "gate": model.gate,
        "pair_repulsion": str(hasattr(model, "pair_repulsion_fn")),
        "apply_cutoff": str(bool(model.apply_cutoff)),
        "scale_shift": f"{scale:.1f} / {shift:.1f}",
        "elements": f"{len(numbers)} (Z = {min(numbers)}-{max(numbers)})",
        "atomic_energies": f"{energies[0]:.1f} for all" if len(energies) == 1 else "different",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def hyperparameters_table(study, source: PathLike) -> pd.DataFrame:
    """One row per hyperparameter; columns ``key``, ``parameter``, ``static``, ``fcl``, ``paper``.

    ``study`` is a `fcl.config.study.Study` with the sections model, cutoffs and static; ``source`` holds the paper's
    values (resources/paper_hyperparameters.csv). Raises `ValueError` for a row of ``source`` without a value in any
    model.
    """
    from fcl.models.files import build_model

    lowest, highest = study.cutoffs.r_min, study.cutoffs.r_max
    flexible = build_model("fcl", study.model, highest)
    # The number of parameters of a static model depends neither on its cutoff nor on its average neighbours.
    unmodified = build_model("static", study.model, study.static.cutoffs[0], 1.0)
    static, fcl = read_hyperparameters(unmodified), read_hyperparameters(flexible)
    radii = ", ".join(f"{cutoff:.1f}" for cutoff in study.static.cutoffs)
    static |= {"cutoff": f"{radii} (a model each)", "avg_num_neighbors": "of the training split (Table 3)"}
    fcl |= {
        "cutoff": f"{lowest:.1f} to {highest:.1f}, per atom",
        "avg_num_neighbors": f"{flexible.avg_num_neighbors:g}",
        "parameters_added": fcl["parameters"] - static["parameters"],
        "parameters_added_fraction": round(fcl["parameters"] / static["parameters"] - 1, 6),
    }
    table = pd.read_csv(Path(source), keep_default_na=False)
    unknown = sorted(set(table["key"]) - set(fcl))
    if unknown:
        raise ValueError(f"{source}: key {unknown[0]!r} is no hyperparameter that the models have")
    for name, values in (("static", static), ("fcl", fcl)):
        table[name] = pd.Series([values.get(key, "") for key in table["key"]], dtype=object)
    return table[["key", *COLUMNS]]


@written("tab:hyperparameters")
def table_02(study, source: PathLike) -> Table:
    """Table 2."""
    return Table(hyperparameters_table(study, source), COLUMNS, CAPTION)
