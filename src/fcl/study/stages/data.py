"""Stage: from frames to a graph store."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def build_store(
    study, sources: Sequence[Path], frames: dict, num_elements: int, threads: int, store: Path, rejected: Path,
    manifest: Path, references: Path | None = None, config: Mapping[str, Any] | None = None, split: str | None = None,
) -> None:  # fmt: skip
    """Frames of one split, in one or several files -> graph store with the neighbour list at ``study.cutoffs.stored``.

    ``frames`` are the settings of the split from the data manifest (`fcl.data.manifest.DataManifest.frame_settings`),
    ``num_elements`` is the number of elements of the model, ``threads`` that of processes, and ``references`` a store
    whose fitted reference energies are reused. With the ``config`` of a workflow, subsets that its selected study needs
    in this ``split`` are an error if they are missing.
    """
    from fcl.data.build import build_store as build
    from fcl.data.splits import frame_arguments
    from fcl.data.store import read_reference_energies
    from fcl.runs.manifest import write_run_manifest
    from fcl.study.subsets import check_of_subsets

    started = time.time()
    arguments = frame_arguments(frames, num_elements, study.data.max_force)
    if references:
        arguments["references"] = read_reference_energies(references)
    summary = build(
        sources,
        store,
        r_max=study.cutoffs.stored,
        max_frames_per_subset=study.data.frame_limit(frames["split"]),
        strict=study.data.strict,
        rejected=rejected,
        workers=threads,
        **arguments,
    )
    if config is not None:
        check_of_subsets(config, study.name, split)(summary["frames_per_subset"])
    facts = {**summary, "r_max_angstrom": study.cutoffs.stored, "frames": frames, "num_elements": num_elements}
    inputs = {f"source {number}" if number else "source": file for number, file in enumerate(sources)}
    inputs |= {"references": references} if references else {}
    # of the sections only the data: the range of the pairs is among the facts
    write_run_manifest(manifest, "build_store", study, ("data",), inputs, started, extra=facts)
    logger.info(f"{store}: {summary['structures']} structures, {summary['atoms']} atoms, {summary['pairs']} pairs")
