"""Shared by stages: run manifest, device and precision, data and model."""

from __future__ import annotations

from pathlib import Path

from fcl.runs.manifest import write_manifest


def record(
    path, stage: str, study, sections: tuple[str, ...], inputs: dict, started: float, *, seed=None, extra=None
) -> None:
    """Write the run manifest with the ``sections`` of settings that determine the result."""
    settings = study.dump(*sections)
    write_manifest(
        path,
        stage=stage,
        study=study.name,
        digest=study.digest(*sections),
        inputs=inputs,
        settings={section: settings[section] for section in sections},
        seed=seed,
        started=started,
        extra=extra or {},
    )


def compute(study):
    """(dtype, device) of the study; also sets the number of threads and the precision of float32 matrix products."""
    import torch

    from fcl.runs.device import torch_device, torch_dtype

    torch.set_num_threads(study.compute.threads)
    torch.set_float32_matmul_precision("high" if study.compute.tf32 else "highest")
    return torch_dtype(study.compute.dtype), torch_device(study.compute.device)


def graph_data(study, path: Path):
    from fcl.data.batch import GraphData
    from fcl.data.store import read_store

    dtype, device = compute(study)
    return GraphData(read_store(path), dtype, device)


def loaded_model(study, path: Path):
    from fcl.models.files import load

    dtype, device = compute(study)
    return load(path, dtype=dtype, device=device, backend=study.compute.backend)
