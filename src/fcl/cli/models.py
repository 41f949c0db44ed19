"""``fcl info``, ``fcl convert`` and ``fcl evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    StressKey,
    check_output,
    cutoff_line,
    name,
    parse_cutoffs,
    print_facts,
    print_json,
    print_table,
    references_of,
)
from fcl.cli.structures import check_cutoffs

TIMED_ROUNDS = 5  # over all cutoff choices, on the first batch; the fastest counts


def info(model: Model, as_json: AsJSON = False) -> None:
    """Say what a model is: kind, cutoffs that it allows, elements, how it was trained.

    The weights are compared with the card (SHA-256).
    """
    from fcl.models.files import verified_card
    from fcl.models.interface import RARE
    from fcl.models.pretrained import FOLDER, MODELS

    file, card = verified_card(model)
    if as_json:
        print_json(card)
        return
    r_min, r_max = card.get("r_min_angstrom"), card["r_max_angstrom"]
    if card["kind"] == "static" or r_min == r_max:
        reach = f"{r_max} A, fixed"
    else:
        reach = f"up to {r_max} A" + (f", trained from {r_min} A" if r_min else "")
    if special := card.get("cutoffs_angstrom"):
        reach = f"specialised for {cutoff_line(special)} A"
    settings = card["model"]
    facts = [
        ("kind", {"fcl": "flexible cutoffs", "static": "static cutoff"}[card["kind"]]),
        ("cutoffs", reach),
        ("elements", _elements(settings)),
        ("parameters", f"{card['parameters']:,}".replace(",", " ")),
        ("features", f"{settings['hidden_irreps']}, {settings['num_interactions']} layers"),
        ("mixing rule", settings["mixing_rule"]),
        ("weights", f"{card['weights_sha256'][:16]}... (verified)"),
    ]
    if trained := card.get("training_structures"):
        few = ", ".join(f"{symbol} {count}" for symbol, count in trained.items() if count < RARE)
        facts.append(
            ("trained on", f"{len(trained)} elements" + (f"; in fewer than {RARE} structures: {few}" if few else ""))
        )
    if "training_structures_with_stress" in card:
        facts.append(("stress", f"trained on that of {card['training_structures_with_stress']} structures"))
    if references := card.get("reference_energies_ev"):
        shown = ", ".join(f"{symbol} {energy:.4f}" for symbol, energy in references.items())
        facts.append(("reference energies", f"{shown} eV: subtracted from labels; add them for total energies"))
    if source := card.get("source"):
        facts.append(
            ("converted from", f"{source['file']}, head {source['head']} (SHA-256 {source['sha256'][:16]}...)")
        )
    facts += [(key, str(card[key])) for key in ("study", "stage", "seed", "best_epoch", "epochs") if key in card]
    if file.parent == FOLDER:
        facts.append(("about", MODELS[file.stem]))
    print_facts(facts, str(model))


def _elements(settings: dict) -> str:
    from fcl.config.types import SYMBOLS

    named = settings.get("elements")
    return f"Z = 1-{settings['num_elements']}" if named is None else " ".join(SYMBOLS[z - 1] for z in named)


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A model saved by mace-torch (.model).")],
    output: Annotated[Path, typer.Argument(help="The model file to write (.safetensors); its card lies beside it.")],
    head: Annotated[str | None, typer.Option(help="The head to take, of a model with several.", callback=name)] = None,
    overwrite: Overwrite = False,
    as_json: AsJSON = False,
) -> None:
    """Convert a model of mace-torch, such as a MACE foundation model, into a model file, once.

    A checkpoint is a pickle: loading it as usual can run any program on your computer. Here nothing in it is run; it is
    read as data, and a file that names anything a model does not need is refused. All other commands read the
    converted file, which holds numbers only.
    """
    from fcl.models.mace.convert import convert as convert_checkpoint

    output = output if output.suffix == ".safetensors" else output.with_name(f"{output.name}.safetensors")
    check_output(output, overwrite)
    card = convert_checkpoint(checkpoint, output, head)
    if as_json:
        print_json(card)
        return
    info(output)
    typer.echo(f"next: fcl train --from {output} --data YOUR_STRUCTURES.xyz (flexible cutoffs; see docs/finetune.md)")


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Extended XYZ with energy and forces (also .gz).")],
    cutoffs: Annotated[
        list[str] | None,
        typer.Option(help="6.0, H=3.9,C=4.6, neighbours=30 or a cutoffs file; repeat it to compare. [default: 6.0]"),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Only the frames of this subset.", callback=name)] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    reference_energies: References = None,
    device: Device = "auto",
    dtype: Precision = "float32",
    as_json: AsJSON = False,
) -> None:
    """Errors, pairs per atom and time of a model on labelled structures, at one choice of cutoffs or several.

    Energies are compared as the model was trained: without the reference energies that its card names. Stress is
    compared where frames have one, beside the error of a stress of zero.
    """
    from dataclasses import replace

    import numpy as np
    import torch

    from fcl.cutoffs.choice import CutoffChoice
    from fcl.evaluation.baselines import zero_stress
    from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, rows_by_subset
    from fcl.evaluation.errors import evaluate as errors_of
    from fcl.evaluation.labels import labelled_data
    from fcl.evaluation.timing import interleaved
    from fcl.models.files import load
    from fcl.runs.device import torch_device, torch_dtype

    potential = load(model, dtype=torch_dtype(dtype), device=torch_device(device)).requires_grad_(False)
    choices = [CutoffChoice(potential, parse_cutoffs(text)) for text in cutoffs or [None]]
    graphs = labelled_data(
        potential, data, subset=subset, references=references_of(reference_energies),
        keys={"energy": energy_key, "forces": forces_key, "stress": stress_key or "stress"},
        dtype=torch_dtype(dtype), device=torch_device(device),
    )  # fmt: skip
    bounds = zip(graphs.frame.tolist(), graphs.ptr[:-1].tolist(), graphs.ptr[1:].tolist(), strict=True)
    numbers = graphs.numbers.cpu().numpy()
    frames = [(frame, numbers[first:last]) for frame, first, last in bounds]
    for choice in choices:
        check_cutoffs(choice, data, frames)
    named = cutoffs or [f"{choices[0].per_atom:g}"]
    rules = []
    for choice in choices:

        def rule(batch, choice=choice):
            values = choice.for_candidates(batch.numbers.cpu().numpy())
            return torch.as_tensor(np.array(values), dtype=graphs.dtype, device=graphs.device)

        rules.append(rule)
    first = torch.arange(min(EVALUATION_BATCH_SIZE, len(graphs)))
    programs = {
        number: lambda rule=rule, choice=choice: errors_of(
            potential, graphs, rule, EVALUATION_BATCH_SIZE, first, **choice.model_options
        )
        for number, (rule, choice) in enumerate(zip(rules, choices, strict=True))
    }
    seconds = interleaved(programs, TIMED_ROUNDS)
    rows = []
    for number, (text, rule, choice) in enumerate(zip(named, rules, choices, strict=True)):
        asked = choice.model_options | ({"stress": True} if graphs.with_stress else {})
        errors = errors_of(potential, graphs, rule, EVALUATION_BATCH_SIZE, **asked)
        overall, *parts = rows_by_subset(errors, graphs, cutoffs=text)
        if graphs.with_stress:
            zeros = rows_by_subset(replace(errors, **zero_stress(graphs)), graphs)
            for row, zero in zip((overall, *parts), zeros, strict=True):
                row["zero_stress_mae_ev_per_cubic_angstrom"] = zero["stress_mae_ev_per_cubic_angstrom"]
        overall["microseconds_per_atom"] = 1e6 * seconds[number]["min_s"] / int(graphs.atom_counts[first].sum())
        rows += [overall, *(parts if len(parts) > 1 else ())]
    if as_json:
        print_json({"model": str(model), "data": str(data), "results": rows})
        return
    columns = ("cutoffs", "subset", "structures", "force RMSE", "force MAE", "energy RMSE", "energy MAE")
    columns = (*columns, "pairs/atom", "us/atom")
    columns += ("stress RMSE", "stress MAE", "of zero stress", "with stress") if graphs.with_stress else ()
    table = [
        (
            Path(row["cutoffs"]).name, row["subset"], str(row["structures"]),
            *(f"{1000 * row[key]:.1f}" for key in ("force_rmse_ev_per_angstrom", "force_mae_ev_per_angstrom")),
            *(f"{1000 * row[key]:.1f}" for key in ("energy_rmse_ev_per_atom", "energy_mae_ev_per_atom")),
            f"{row['pairs_per_atom']:.1f}",
            f"{row['microseconds_per_atom']:.0f}" if "microseconds_per_atom" in row else "",
            *_stress_cells(row),
        )
        for row in rows
    ]  # fmt: skip
    print_table(columns, table)
    typer.echo(
        "forces in meV/A, energies in meV/atom; time of energy and forces on this machine, best of rounds in turn"
    )
    if graphs.with_stress:
        typer.echo(f"stress in meV/A^3; {len(graphs) - graphs.with_stress} of {len(graphs)} frames have none")


def _stress_cells(row: dict) -> tuple[str, ...]:
    """Errors of stress of a row (meV/A^3), beside the mean absolute error of a stress of zero."""
    if "structures_with_stress" not in row:
        return ()
    names = ("stress_rmse", "stress_mae", "zero_stress_mae")
    values = (row[f"{name}_ev_per_cubic_angstrom"] for name in names)
    return *("-" if value != value else f"{1000 * value:.2f}" for value in values), str(row["structures_with_stress"])
