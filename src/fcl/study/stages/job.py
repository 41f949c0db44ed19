"""Shared by stages: device and precision, data and model.

A stage is a function of settings (``study``: a `fcl.config.study.Study` with the sections that its rule declares),
files and values. It writes its outputs and returns facts for the run manifest, which `fcl.study.adapter.run_job`
writes; the fact ``seed`` is that of the model.
"""

from __future__ import annotations

from pathlib import Path


def compute(study):
    """(dtype, device) of the study; also sets the number of threads and the precision of float32 matrix products."""
    from fcl.runs.device import set_up

    return set_up(study.compute)


def graph_data(study, path: Path):
    from fcl.data.batch import GraphData
    from fcl.data.store import read_store

    dtype, device = compute(study)
    return GraphData(read_store(path), dtype, device)


def loaded_model(study, path: Path):
    from fcl.models.files import load

    dtype, device = compute(study)
    return load(path, dtype=dtype, device=device, backend=study.compute.backend)
