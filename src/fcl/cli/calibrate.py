"""``fcl calibrate``."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from fcl.cli.common import (
    AsJSON,
    Device,
    EnergyKey,
    ForcesKey,
    Model,
    Overwrite,
    Precision,
    References,
    check_output,
    cutoff_line,
    name,
    print_facts,
    print_json,
    references_of,
)

logger = logging.getLogger(__name__)

Optimiser = Literal["lbfgs", "adam"]


def _fraction(text: str | None) -> float | None:
    """``1%`` -> 0.01. The percent sign is required: a bare 1 would be ambiguous."""
    if text is None:
        return None
    try:
        if not text.strip().endswith("%"):
            raise ValueError
        return float(text.strip().rstrip("%")) / 100.0
    except ValueError:
        message = f"{text!r} is not a percentage such as 1%"
        raise typer.BadParameter(message, param_hint="--max-error-increase") from None


def calibrate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Structures of your system: extended XYZ with energy and forces.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The cutoffs file to write.")],
    lam: Annotated[float | None, typer.Option("--lambda", help="Weight of the cost (Eq. 11): 1e-2 ... 1e-6.")] = None,
    max_error_increase: Annotated[
        str | None, typer.Option(help="Cheapest cutoffs whose force RMSE rises by at most so much, as 1%.")
    ] = None,
    max_added_error: Annotated[
        float | None, typer.Option(help="With --no-labels: largest RMS change of the model's forces, meV/A.")
    ] = None,
    no_labels: Annotated[
        bool,
        typer.Option(
            "--no-labels",
            help="The structures have no labels: the model's own forces at the reference cutoff take their place. "
            "This bounds the error that smaller cutoffs add, and says nothing of the error of the model itself.",
        ),
    ] = False,
    reference_cutoff: Annotated[
        float, typer.Option(help="Uniform cutoff (A) to start from and to compare with.", min=0.0)
    ] = 6.0,
    held_out: Annotated[
        Path | None, typer.Option(help="Structures to check the answer on. [default: a quarter of DATA]")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Only the frames of this subset.", callback=name)] = None,
    lower_bound: Annotated[
        float | None, typer.Option(help="No cutoff below this (A). [default: where the model's training began]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Most passes over the structures, at each lambda. [default: enough]", min=1)
    ] = None,
    optimiser: Annotated[
        Optimiser, typer.Option(help="lbfgs: all structures at once, deterministic; adam: mini-batches, as the paper.")
    ] = "lbfgs",
    seed: Annotated[int, typer.Option(help="Splits the structures and orders them.", min=0)] = 0,
    parent_key: Annotated[
        str | None,
        typer.Option(
            help="Key of what a frame was derived from: variants stay together; none: no key. [default: parent]",
            callback=name,
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    reference_energies: References = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    dtype: Precision = "float32",
    as_json: AsJSON = False,
) -> None:
    """Optimise the cutoffs of each element for your system, and write a cutoffs file.

    Either at one trade-off between error and cost (`--lambda`), or for a tolerance (`--max-error-increase`, or
    `--max-added-error` for structures without labels): then lambda grows until the limit is reached, which is kept with
    one standard error to spare, so few structures give cautious cutoffs. The answer is checked on structures that took
    no part. The model itself does not change.
    """
    goals = {"--lambda": lam, "--max-error-increase": max_error_increase, "--max-added-error": max_added_error}
    if sum(value is not None for value in goals.values()) != 1:
        raise typer.BadParameter("give one of them", param_hint=" / ".join(goals))
    fraction = _fraction(max_error_increase)
    for option, value in zip(goals, (lam, fraction, max_added_error), strict=True):
        if value is not None and not 0.0 < value < math.inf:
            raise typer.BadParameter("has to be positive", param_hint=option)
    if no_labels and max_error_increase is not None:
        message = "without labels a percentage of the error has no meaning: use --max-added-error"
        raise typer.BadParameter(message, param_hint="--max-error-increase")
    if max_added_error is not None and not no_labels:
        raise typer.BadParameter("is for structures without labels: add --no-labels", param_hint="--max-added-error")

    from fcl.calibration.system import Goal, calibrate_own
    from fcl.cutoffs.file import write_cutoffs
    from fcl.data.batch import GraphData
    from fcl.evaluation.labels import labelled_data
    from fcl.models.files import load
    from fcl.runs.device import torch_device, torch_dtype
    from fcl.runs.files import sha256_file

    check_output(output, overwrite)
    goal = Goal(lam, fraction, None if max_added_error is None else max_added_error / 1000.0)
    potential = load(model, dtype=torch_dtype(dtype), device=torch_device(device))

    def graphs(path: Path) -> GraphData:
        return labelled_data(
            potential, path, labels=not no_labels, subset=subset,
            keys={"energy": energy_key, "forces": forces_key, "parent": parent_key},
            references=references_of(reference_energies), dtype=torch_dtype(dtype), device=torch_device(device),
        )  # fmt: skip

    def report(trial) -> None:
        at = "uniform" if trial.lam is None else f"lambda {trial.lam:.2g}"
        what = "added force error" if no_labels else "force RMSE"
        error = f"{1000 * trial.force_rmse:.1f} + {1000 * (trial.bound - trial.force_rmse):.1f} meV/A"
        logger.info(f"{at}: {what} {error}, {trial.pairs_per_atom:.1f} pairs/atom (validation)")

    found = calibrate_own(
        potential, graphs(data), goal, held_out=None if held_out is None else graphs(held_out), labels=not no_labels,
        reference_cutoff=reference_cutoff, lower_bound=lower_bound, epochs=epochs, optimiser=optimiser,
        seed=seed, on_trial=report,
        names=(f"{data}: calibration", f"{data if held_out is None else held_out}: held-out structures"),
    )  # fmt: skip
    provenance = {
        "weights_sha256": potential.card["weights_sha256"],
        "data": data.name,
        "data_sha256": sha256_file(data),
        "subset": subset,
        "seed": seed,
        "goal": {key.lstrip("-").replace("-", "_"): value for key, value in goals.items() if value is not None},
        **found.facts(),
    }
    write_cutoffs(output, found.cutoffs, provenance)
    if as_json:
        print_json({"output": str(output), "cutoffs": found.cutoffs, "provenance": provenance})
    else:
        print_answer(found, output)


def print_answer(found, output: Path) -> None:
    """Print the result."""
    facts = [("cutoffs (A)", cutoff_line(found.cutoffs))]
    if found.kept_reference:
        facts.append(("nothing saved", f"no smaller cutoffs met the goal in {len(found.trials)} trials"))
    if found.not_calibrated:
        facts.append(("not calibrated", ", ".join(found.not_calibrated) + f": kept at {found.reference_cutoff:g} A"))
    if found.convergence is not None and found.convergence["at_bounds"]:
        facts.append(("at a bound", ", ".join(f"{s} ({bound})" for s, bound in found.convergence["at_bounds"].items())))
    before, after = found.reference.metrics(), found.chosen.metrics()
    pairs = f"{before['pairs_per_atom']:.1f} -> {after['pairs_per_atom']:.1f} ({found.saving:.0%} fewer)"
    facts.append(("pairs per atom", pairs))
    rmse = [f"{1000 * metrics['force_rmse_ev_per_angstrom']:.1f}" for metrics in (before, after)]
    if found.self_labelled:
        facts.append(("added force error", f"{rmse[1]} meV/A RMS: a bound of what these cutoffs add, not the error"))
    else:
        rise, uncertainty = found.increase()
        change = f" ({rise:+.1%}" if math.isfinite(rise) else ""
        if change:
            one = "no error bar: a single group"
            change += f" +- {uncertainty:.1%})" if math.isfinite(uncertainty) else f", {one})"
        facts.append(("force RMSE", f"{rmse[0]} -> {rmse[1]} meV/A{change}"))
    n, reference = found.sizes["held_out"], found.reference_cutoff
    print_facts(facts, f"{output}: against {reference:g} A everywhere, on {n} structures held out")
