"""The Markdown report: its order, captions, links, run times, and what it says was not run."""

import json
import re

import pandas
import pytest

import claim_examples as examples
from fcl.study.claims.table import write_claims
from fcl.study.pages.report import run_times, versions, write_report
from fcl.study.results import Results
from project import ROOT

DATA = {"dataset": "toy", "title": "a toy set, not MAD", "whole": True}


def manifest(stage, seconds, memory=2**20, gpu=None, device="a processor", torch="2.0"):
    return {
        "stage": stage, "seconds": seconds, "peak_memory_bytes": memory, "peak_gpu_memory_bytes": gpu, "device": device,
        "versions": {"python": "3.11", "torch": torch, "e3nn": None},
    }  # fmt: skip


@pytest.fixture
def study(tmp_path):
    """results/toy with claims, one figure, one table and two manifests."""
    folder = examples.write_study(tmp_path / "results/toy")
    for path in folder.glob("metrics/history/*.csv"):
        path.unlink()
    found = Results.of_folder(folder, examples.NESTS)
    write_claims(
        found.errors, found.histories, found.diatomics, found.cutoffs, found.neighbors, found.elements,
        found.hyperparameters, ROOT / "resources/claims.csv", folder / "claims.csv", folder / "claims.md",
        folder / "claims.html", nests=found.nests, **DATA,
    )  # fmt: skip
    (folder / "figures").mkdir()
    (folder / "figures/fig03.png").write_bytes(b"")
    (folder / "tables/table03.md").write_text("Average neighbours.\n\n| a |\n|---|\n| 1 |\n")
    (tmp_path / "fig03.rst").write_text("Error against the cutoff, ``mean`` over seeds.\n")
    (folder / "models").mkdir()
    for number, record in enumerate((manifest("train_fcl", 10.0), manifest("train_fcl", 20.4))):
        (folder / f"models/{number}.manifest.json").write_text(json.dumps(record))
    return folder


def page_of(study, **changes):
    write_report(
        study / "claims.csv", [study / "figures/fig03.png"], [study.parents[1] / "fig03.rst"],
        [study / "tables/table03.md"], study / "report.md", folder=study, study="toy", **{**DATA, **changes},
    )  # fmt: skip
    return (study / "report.md").read_text(encoding="utf-8")


def test_the_page_tells_all_in_order(study):
    text = page_of(study)
    headings = re.findall(r"^#+ .*", text, flags=re.MULTILINE)
    assert headings == [
        "# Flexible Cutoff Learning: the study `toy`", "## The paper's claims", "## Figures", "### Figure 3",
        "## Tables", "### Table 3", "## Run times", "## What was not run",
    ]  # fmt: skip
    assert "**a toy set, not MAD**" in text.split("##")[0]
    assert "![Figure 3](figures/fig03.png)\n\nError against the cutoff, ``mean`` over seeds." in text
    assert "Average neighbours.\n\n| a |" in text
    assert re.search(r"\| train_fcl +\| 2 +\| 30 +\| 20 +\| 1 +\| – +\| a processor \|", text)
    assert "Made with python 3.11, torch 2.0." in text


def test_what_was_not_run_is_said(study):
    text = page_of(study).split("## What was not run")[1]
    assert "This one has other data than MAD 1.0." in text
    assert "Section 3, mean sampled cutoff: no training history of an FCL model" in text
    assert "other data" not in page_of(study, dataset="mad-1.0").split("## What was not run")[1]


def test_a_study_that_was_copied_in_has_no_run_times(study):
    for path in study.rglob("*.manifest.json"):
        path.unlink()
    assert "There are no run manifests beside the results." in page_of(study)


def test_run_times_are_by_stage_in_the_order_of_the_study():
    records = [
        manifest("figure_03", 1.0), manifest("calibrate_cutoffs", 3.0, device="a GPU", gpu=2**22),
        manifest("calibrate_cutoffs", 4.0, memory=2**21), manifest("pretrain", 5.0, torch="2.1"),
    ]  # fmt: skip
    table = run_times(records)
    assert table["stage"].tolist() == ["pretrain", "calibrate_cutoffs", "figure_03"]
    row = table.set_index("stage").loc["calibrate_cutoffs"]
    assert (row["jobs"], row["total"], row["longest"], row["memory"], row["gpu_memory"]) == (2, 7.0, 4.0, 2**21, 2**22)
    assert row["device"] == "a GPU, a processor"
    assert pandas.isna(table.set_index("stage").loc["pretrain", "gpu_memory"])
    assert versions(records) == "python 3.11, torch 2.0 and 2.1"


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/report").glob("*.rst")), ids=lambda path: path.name)
def test_captions_read_the_same_in_markdown(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\.\. |:\w+:`|\{\{|\{%|`_|\|\w+\|", text, flags=re.MULTILINE)


def test_links_of_the_committed_report_lead_to_files():
    report = ROOT / "record/embedded/report.md"
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", report.read_text(encoding="utf-8"))
    assert links and all((report.parent / link).is_file() for link in links)
