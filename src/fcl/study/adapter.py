"""The script of all rules: from a job of Snakemake to a call of a library function, and its run manifest."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcl.runs.log import log_to_standard_error
from fcl.runs.manifest import portable_path, settings_digest, write_manifest

if TYPE_CHECKING:
    from fcl.config.sections import ComputeSettings
    from fcl.config.study import Study

#: Wildcards that are numbers.
NUMERIC = {"seed": int, "lam": float, "cutoff": float}


def export_source_path(basedir: str | os.PathLike[str]) -> None:
    """Make the jobs of a workflow in ``basedir`` import ``fcl`` from its ``src``.

    The conda environment of a rule contains the dependencies only; the library is that of the checkout.
    """
    source = str(Path(basedir) / "src")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != source]
    os.environ["PYTHONPATH"] = os.pathsep.join([source, *paths])


def run_job(snakemake: Any) -> None:
    """Run the library function that a job names in ``params.code``: the script of every rule.

    Its arguments are found by name: `job_values`. What it does not take (a model's card, digests that only decide
    whether a job runs again) is left out, and an input without files is left to its default. Where it takes no
    ``manifest``, the run manifest of the job is written here: of a stage, which returns facts (``dict``; ``seed`` is
    one), with the sections that its rule declares; of a figure or table with its parameters and the digest of the code.
    """
    started = time.time()
    name, _, digest = snakemake.params.code.partition("@")
    function = library_function(snakemake, name)
    taken = inspect.signature(function).parameters
    found = function(
        **{
            name: value
            for name, value in job_values(snakemake).items()
            if name in taken and (value != [] or taken[name].default is inspect.Parameter.empty)
        }
    )
    manifest = snakemake.output.get("manifest")
    if manifest is None or "manifest" in taken:
        return
    if isinstance(found, dict):
        facts, settings = dict(found), {key: value for key, value in snakemake.params.settings.items() if key != "name"}
    else:
        facts, settings = {"code_sha256": digest}, dict(snakemake.params.items())
        del settings["code"]
    write_manifest(
        manifest, stage=snakemake.rule, study=snakemake.wildcards.study, digest=settings_digest(settings),
        inputs={portable_path(file): file for file in snakemake.input}, settings=settings, started=started,
        seed=facts.pop("seed", None), extra=facts,
    )  # fmt: skip


def job_values(snakemake: Any) -> dict[str, Any]:
    """What a job can give to a function, by name.

    Wildcards (`NUMERIC` as such), parameters, inputs and outputs (paths; a list for an input of several files), and
    ``threads``, ``config``, ``checkpoints`` (the folder of the study) and ``study``: its settings, of a job that
    declares none its name.
    """
    wildcards = dict(snakemake.wildcards.items())
    values = {name: NUMERIC.get(name, str)(value) for name, value in wildcards.items()}
    values |= {"threads": snakemake.threads, "config": snakemake.config, **dict(snakemake.params.items())}
    for name, files in (*snakemake.input.items(), *snakemake.output.items()):
        values[name] = [Path(file) for file in files] if isinstance(files, list) else Path(files)
    if "study" in wildcards:
        values["checkpoints"] = Path("results", wildcards["study"], "checkpoints")
    if "settings" in values:
        values["study"] = settings_of(snakemake)
    return values


def library_function(snakemake: Any, name: str) -> Any:
    """The function ``module:function`` for the job that ``snakemake`` describes.

    Output is redirected to the job's log before the import, so that import errors are logged too. A job with the
    ``gpu`` resource claims a device before anything imports torch.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout = sys.stderr = log.open("w", buffering=1, encoding="utf-8")
    log_to_standard_error()
    if snakemake.resources.get("gpu") and _compute_of(snakemake).device in ("auto", "cuda"):
        from fcl.runs.gpu_lock import claim_device

        claim_device()
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def settings_of(snakemake: Any) -> Study:
    """The settings of a job: the sections declared by its rule (``params.settings``) and ``compute``.

    ``compute`` is read from the configuration: device, backend and threads do not affect results, and changing them
    must not rerun jobs. ``dtype`` (with ``tf32``) does affect results and is a separate parameter of each rule.
    """
    from fcl.config.study import Study

    return Study.restore({**snakemake.params.settings, "compute": _compute_of(snakemake).model_dump()})


def _compute_of(snakemake: Any) -> ComputeSettings:
    from fcl.config.load import load_config

    return load_config(snakemake.config).resolve(snakemake.wildcards.study).compute
