"""``fcl train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fcl.cli.common import AsJSON, EnergyKey, ForcesKey, StressKey, name, print_json, print_table, references_of


def _settings(config: Path | None, kind: str, batch_size, cutoff, pretrain_epochs, compute, **own) -> dict[str, Any]:
    """The settings of the file ``config``, with the options on top; ``own`` are those of the section ``kind``."""
    from fcl.config.errors import deep_merge
    from fcl.config.load import read_settings

    first = "pretrain" if kind == "fcl" else kind
    options: dict[str, dict[str, Any]] = {first: {"batch_size": batch_size}, "compute": compute}
    options.setdefault(kind, {"batch_size": batch_size}).update(own)
    options[first]["cutoffs" if kind == "static" else "cutoff"] = (
        [cutoff] if cutoff is not None and kind == "static" else cutoff
    )
    if options[first].get("epochs") is None:
        options[first]["epochs"] = pretrain_epochs
    given = {name: {k: v for k, v in values.items() if v is not None} for name, values in options.items()}
    return deep_merge({} if config is None else read_settings(config), {k: v for k, v in given.items() if v})


def train(
    train_files: Annotated[
        list[Path] | None, typer.Option("--train", help="Structures with energies and forces; repeat it for more.")
    ] = None,
    val_files: Annotated[
        list[Path] | None, typer.Option("--val", help="The same for validation; repeat it for more.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Instead of both: one file to divide, or a data manifest (.yaml).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that is written.")] = Path("model"),
    kind: Annotated[
        Literal["fcl", "static", "pretrain"],
        typer.Option(help="fcl: pre-training, then Flexible Cutoff Learning; static: a model of one cutoff."),
    ] = "fcl",
    config: Annotated[
        Path | None, typer.Option(help="YAML file with settings that replace the paper's, such as fcl: {epochs: 100}.")
    ] = None,
    from_model: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Static model file to fine-tune, such as one of `fcl convert`: FCL with a warm start, or static; or a "
            "flexible one to specialise (--cutoffs).",
        ),
    ] = None,
    cutoffs: Annotated[
        Path | None,
        typer.Option(help="Cutoffs file of `fcl calibrate`: train the flexible model of --from on at these cutoffs."),
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="The labels are those of the model of --from: structures suffice.")
    ] = False,
    from_pretrained: Annotated[
        Path | None,
        typer.Option(help="Static model file to start FCL from as the paper does, with random new parts."),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Parameters that stay: names, beginnings, or backbone (all but the new parts); repeatable."),
    ] = None,
    backbone_rate: Annotated[
        float | None, typer.Option(help="Learning rate of all but the new parts, as a factor. [default: 1]")
    ] = None,
    max_pairs: Annotated[
        int | None, typer.Option(help="Evaluate batches in parts of at most so many pairs: less memory, same result.")
    ] = None,
    cutoff: Annotated[float | None, typer.Option(help="Cutoff (A) of a static model, or of the pre-training.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    pretrain_epochs: Annotated[int | None, typer.Option(help="The same for the pre-training of --kind fcl.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Structures in a mini-batch.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Initial learning rate; not of FCL's pre-training.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the training; FCL's pre-training keeps its own.", min=0)
    ] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of --data for validation. [default: 0.1]")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Frames of --data with the same value of this key, or the same `formula`, stay together.",
            callback=name,
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    reference_energies: Annotated[
        str | None,
        typer.Option(help="Energies of the elements (eV) to subtract: fit, none or H=-13.6,O=-432.1. [default: fit]"),
    ] = None,
    max_force: Annotated[float | None, typer.Option(help="Frames with larger forces (eV/A) are bad.")] = None,
    skip_bad_frames: Annotated[
        bool, typer.Option("--skip-bad-frames", help="Leave bad frames out and list them, instead of an error.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: a GPU where there is one]")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64. [default: float32]")] = None,
    backend: Annotated[str | None, typer.Option(help="compiled is faster for long trainings. [default: auto]")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. [default: 1]")] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes of the training, one per GPU; each evaluates a share of every batch.", min=1),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that read the data.", min=1)] = 1,
    as_json: AsJSON = False,
) -> None:
    """Train a model on your own data, by the paper's protocol unless you say otherwise; or fine-tune one (`--from`).

    Energies are in eV, forces in eV/A. A training that was interrupted or killed continues when the same command is run
    again; a finished one is not repeated. The settings in use are in `settings.yaml` of the output folder, the protocol
    and the meaning of each setting in docs/configuration.md.
    """
    if pretrain_epochs is not None and (kind != "fcl" or from_pretrained):
        raise typer.BadParameter("is for the pre-training of --kind fcl", param_hint="--pretrain-epochs")
    if cutoff is not None and from_pretrained:
        raise typer.BadParameter("nothing is trained at one cutoff with --from-pretrained", param_hint="--cutoff")
    if from_model is not None:
        if from_pretrained is not None or pretrain_epochs is not None or cutoff is not None or kind == "pretrain":
            message = "takes neither --from-pretrained, --pretrain-epochs, --cutoff nor --kind pretrain beside it"
            raise typer.BadParameter(message, param_hint="--from")
    elif teacher or cutoffs is not None:
        raise typer.BadParameter("needs the model of --from", param_hint="--teacher" if teacher else "--cutoffs")
    settings = _settings(
        config, kind, batch_size, cutoff, pretrain_epochs,
        {"device": device, "dtype": dtype, "backend": backend, "threads": threads, "max_pairs": max_pairs,
         "processes": processes},
        epochs=epochs, learning_rate=learning_rate, freeze=freeze, backbone_rate=backbone_rate,
    )  # fmt: skip

    from fcl.training.own import train as train_own

    models = train_own(
        output, train=train_files or (), val=val_files or (), data=data, kind=kind, settings=settings,
        pretrained=from_model or from_pretrained, warm=from_model is not None, teacher=teacher, cutoffs=cutoffs,
        seed=seed, val_fraction=val_fraction, group=group, energy_key=energy_key, forces_key=forces_key,
        stress_key=stress_key, reference_energies=references_of(reference_energies), max_force=max_force,
        skip_bad_frames=skip_bad_frames, workers=workers,
    )  # fmt: skip
    if as_json:
        print_json([{k: v for k, v in vars(model).items() if "stress" not in k or v is not None} for model in models])
        return
    rows = [
        (
            str(model.file), "trained" if model.new else "was there", f"{model.best_epoch} of {model.epochs}",
            *(f"{1000 * value:.1f}" for value in (model.force_mae, model.trivial_force_mae)),
            *(f"{1000 * value:.1f}" for value in (model.energy_mae, model.trivial_energy_mae)),
        )
        for model in models
    ]  # fmt: skip
    print_table(("model", "", "best epoch", "forces", "zero forces", "energies", "composition"), rows)
    typer.echo("mean absolute errors in validation (meV/A, meV/atom); composition: one energy per element")
    for model in models:
        if model.stress_mae is not None:
            zero = "-" if model.trivial_stress_mae is None else f"{1000 * model.trivial_stress_mae:.2f}"
            typer.echo(f"{model.name}: stress {1000 * model.stress_mae:.2f} meV/A^3, zero stress {zero}")
    typer.echo(f"settings, histories, manifests, log: {output}")
    last = models[-1].file
    if cutoffs is not None:
        typer.echo(f"next: fcl evaluate {last} TEST.xyz, at its own cutoffs, and {from_model} with --cutoffs {cutoffs}")
    elif kind == "fcl":
        typer.echo(f"next: fcl calibrate {last} YOUR_SYSTEM.xyz --max-error-increase 1% -o {output / 'cutoffs.json'}")
    elif kind == "pretrain":
        typer.echo(f"next: the same command with --kind fcl, or in another folder with --from-pretrained {last}")
