"""Setup shared by all scripts of the workflow: logging, library function, settings."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcl.runs.log import log_to_standard_error
from fcl.runs.manifest import write_product_manifest

if TYPE_CHECKING:
    from fcl.config.sections import ComputeSettings
    from fcl.config.study import Study


def export_source_path(basedir: str | os.PathLike[str]) -> None:
    """Make the jobs of a workflow in ``basedir`` import ``fcl`` from its ``src``.

    The conda environment of a rule contains the dependencies only; the library is that of the checkout.
    """
    source = str(Path(basedir) / "src")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != source]
    os.environ["PYTHONPATH"] = os.pathsep.join([source, *paths])


def redirect_to_log(log: str | os.PathLike[str]) -> None:
    """Redirect stdout and stderr, tracebacks included, to ``log`` (line-buffered)."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout = sys.stderr = open(log, "w", buffering=1, encoding="utf-8")
    log_to_standard_error()


def library_function(snakemake: Any, name: str) -> Any:
    """The function ``module:function`` for the job that ``snakemake`` describes.

    Output is redirected to the job's log before the import, so that import errors are logged too. A job with the
    ``gpu`` resource claims a device before anything imports torch.
    """
    redirect_to_log(snakemake.log[0])
    if snakemake.resources.get("gpu") and _compute_of(snakemake).device in ("auto", "cuda"):
        from fcl.runs.gpu_lock import claim_device

        claim_device()
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def recorded_function(snakemake: Any, name: str) -> Any:
    """As :func:`library_function`, for figures and tables: each call also writes the run manifest of the job.

    The manifest (``output.manifest``) lists the job's input files and parameters, which are all that such a function
    receives; the function itself is independent of manifests.
    """
    function = library_function(snakemake, name)

    @functools.wraps(function)
    def recorded(*arguments: Any, **options: Any) -> Any:
        started = time.time()
        result = function(*arguments, **options)
        parameters = dict(snakemake.params.items())
        write_product_manifest(
            snakemake.output.manifest,
            stage=snakemake.rule,
            study=snakemake.wildcards.study,
            inputs=snakemake.input,
            code=parameters.pop("code", None),
            settings=parameters,
            started=started,
        )
        return result

    return recorded


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
