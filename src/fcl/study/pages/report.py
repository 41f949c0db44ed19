"""The report of a study as one Markdown page: claims, figures with captions, tables, run times, missing parts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fcl.runs.files import write_text
from fcl.study.claims.table import claims_markdown, read_sample, read_written
from fcl.study.claims.verdicts import NOT_EVALUATED, StudyData
from fcl.study.pages.text import INTERVALS
from fcl.study.read import PathLike
from fcl.study.records.manifests import read_manifests
from fcl.study.tables.common import Column, as_markdown, shown

#: Order of the stages in the table of run times; others follow by name.
STAGES = (
    "build_store", "describe_data", "pretrain", "train_fcl", "train_static", "evaluate_cutoffs", "diatomic_curves",
    "calibrate_cutoffs", "calibrate_unlabelled", "measure_wall_clock", "observe_statics", "observe_nve",
    "observe_rdf",
)  # fmt: skip
#: Packages whose versions are listed in the report.
NAMED_PACKAGES = ("python", "torch", "mace-torch", "e3nn", "snakemake")
MEBIBYTE = 2**20
RUN_TIMES = {
    "stage": Column("stage"),
    "jobs": Column("jobs", "{:.0f}"),
    "total": Column("in all (s)", "{:.0f}"),
    "longest": Column("longest job (s)", "{:.0f}"),
    "memory": Column("most memory (MiB)", "{:.0f}", 1.0 / MEBIBYTE),
    "gpu_memory": Column("most GPU memory (MiB)", "{:.0f}", 1.0 / MEBIBYTE),
    "device": Column("device"),
}
DRAWN = ("figures", "tables")


def manifests_of_numbers(folder: PathLike) -> list[dict]:
    """Run manifests of the computing stages of a study, without those of figures, tables and pages.

    None if the numbers were copied without them.
    """
    try:
        manifests = read_manifests(folder)
    except FileNotFoundError:
        return []
    return [content for name, content in manifests.items() if Path(name).parts[0] not in DRAWN and "/" in name]


def run_times(manifests: Sequence[dict]) -> pd.DataFrame:
    """One row per stage: jobs, wall time in total and of the longest job (s), peak memory (bytes), devices."""
    columns = ["stage", "seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "device"]
    jobs = pd.DataFrame(manifests, columns=columns).astype({"peak_gpu_memory_bytes": float})
    table = jobs.groupby("stage").agg(
        jobs=("seconds", "size"),
        total=("seconds", "sum"),
        longest=("seconds", "max"),
        memory=("peak_memory_bytes", "max"),
        gpu_memory=("peak_gpu_memory_bytes", "max"),
        device=("device", lambda names: ", ".join(sorted(set(names)))),
    )
    ranks = {stage: rank for rank, stage in enumerate(STAGES)}
    order = sorted(table.index, key=lambda stage: (ranks.get(stage, len(STAGES)), stage))
    return table.loc[order].reset_index()


def versions(manifests: Sequence[dict]) -> str:
    """Versions of `NAMED_PACKAGES` used in the runs, several if they differ."""
    found = {name: {one["versions"].get(name) for one in manifests} - {None, ""} for name in NAMED_PACKAGES}
    return ", ".join(f"{name} {' and '.join(sorted(them))}" for name, them in found.items() if them)


def _heading(file: PathLike, kind: str) -> str:
    """``Figure 3`` for fig03.png, ``Figure: observables`` for one that is not in the paper."""
    number = re.sub(r"\D", "", Path(file).stem)
    return f"{kind} {int(number)}" if number else f"{kind}: {Path(file).stem}"


def _figure(image: PathLike, text: PathLike, page: Path) -> str:
    image = Path(image)
    name = _heading(image, "Figure")
    link = Path(os.path.relpath(image, page.parent)).as_posix()
    # plain reStructuredText paragraphs, valid Markdown too; Snakemake's report uses the same captions
    caption = Path(text).read_text(encoding="utf-8").strip()
    return f"### {name}\n\n![{name}]({link})\n\n{caption}"


def _table(page: PathLike) -> str:
    return f"### {_heading(page, 'Table')}\n\n{Path(page).read_text(encoding='utf-8').strip()}"


def _not_run(claims: pd.DataFrame, other: str) -> str:
    lines = []
    if other:
        lines.append(
            f"- The paper's study, on MAD. This one has {other}. Shapes, the headline and the models are judged on it, "
            "absolute errors are not."
        )
    missing = claims[claims["verdict"] == NOT_EVALUATED]
    lines += [f"- {row.where}, {row.quantity}: {row.reason}" for row in missing.itertuples()]
    return "\n".join(lines) or "Every claim was evaluated."


def write_report(
    claims: PathLike, figures: Sequence[PathLike], captions: Sequence[PathLike], tables: Sequence[PathLike],
    page: PathLike, *, folder: PathLike, study: str, dataset: str, title: str, whole: bool,
    sample: PathLike | None = None,
) -> None:  # fmt: skip
    """Write the report (Markdown), with links relative to ``page``.

    ``claims`` is the study's claims.csv, ``figures`` are PNG files, each with a caption file, ``tables`` Markdown
    files, in order; the run manifests in ``folder`` (a run or a record) give times and versions. ``dataset``,
    ``title``, ``whole`` and ``sample`` (list of claims) say what the data are, see `StudyData`.
    """
    table, data = read_written(claims), StudyData(dataset, title, whole, read_sample(sample))
    manifests = manifests_of_numbers(folder)
    times = "There are no run manifests beside the results."
    if manifests:
        times = as_markdown(shown(run_times(manifests), RUN_TIMES))
    made_with = versions(manifests)
    sections = [
        f"# Flexible Cutoff Learning: the study `{study}`",
        f"Reproduction of arXiv:2603.10205, written by the workflow from result files. Data: **{title}**.",
        f"## The paper's claims\n\n{INTERVALS}\n\n{claims_markdown(table)}",
        "## Figures",
        *(_figure(image, text, Path(page)) for image, text in zip(figures, captions, strict=True)),
        "## Tables",
        *map(_table, tables),
        f"## Run times\n\nFrom the run manifests beside the results.\n\n{times}",
        *([f"Made with {made_with}."] if made_with else []),
        f"## What was not run\n\n{_not_run(table, data.difference)}",
    ]
    write_text(page, "\n\n".join(section.strip() for section in sections) + "\n")
