"""What a user of the workflow gets: planned jobs, one epoch of each training, the record drawn anew. See README.md."""

import json
import re
from importlib import metadata

import pytest
from frozen_runs import (
    FCL,
    MODELS,
    REGENERATE,
    ROOT,
    SAME_TRAINING,
    STUDIES,
    assert_same,
    copy_workflow,
    kill_and_resume,
    machine,
    planned,
    snakemake,
    stored,
    table_digest,
    train,
    trained_numbers,
    weights_digest,
)

STUDY = "mini"
RECORD = ROOT / "record" / STUDY
#: Figures of the record that have a target of their own.
OF_OTHER_TARGETS = ("learning_curve.png",)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A fresh copy of the workflow."""
    return copy_workflow(tmp_path_factory.mktemp("blackbox") / "tree")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A copy in which every kind of training ran for one epoch."""
    return train(copy_workflow(tmp_path_factory.mktemp("blackbox") / "trained"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_plans_the_same_jobs(tree, study):
    assert planned(tree, study) == stored("jobs")[study], f"meant? {REGENERATE} jobs"


def test_one_epoch_of_every_training_gives_the_same_numbers(trained):
    expected = stored("training")
    found = trained_numbers(trained)
    assert_same(found["numbers"], expected["numbers"], SAME_TRAINING, f"meant? {REGENERATE} training")
    if machine() == expected["made_on"]:
        assert found["digests"] == expected["digests"], f"not bit for bit; meant? {REGENERATE} training"


def test_the_digests_tell_models_apart(trained):
    digests = trained_numbers(trained)["digests"]
    assert len(set(digests["weights"].values())) == len(set(digests["histories"].values())) == len(MODELS)
    assert stored("training")["digests"].keys() == digests.keys()


def test_a_killed_training_ends_as_the_straight_one(trained, tmp_path):
    before, after = kill_and_resume(trained, tmp_path / "killed")
    assert len(before) >= 2 and min(after) > max(before)  # it went on, and did not begin again
    assert weights_digest(tmp_path / "killed" / FCL) == weights_digest(trained / FCL)
    history = "results/smoke/metrics/history/fcl_seed1.csv"
    assert table_digest(tmp_path / "killed" / history) == table_digest(trained / history)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Results that were made from the record alone: figures, tables, claims and report."""
    if not RECORD.is_dir():
        pytest.skip(f"this checkout has no record/{STUDY}")
    folder = copy_workflow(tmp_path_factory.mktemp("blackbox") / "drawn")
    snakemake(folder, "figures", "tables", "claims", "report", "--config", f"study={STUDY}", "from_record=true")
    return folder / "results" / STUDY


def test_figures_drawn_from_the_record_are_those_of_the_record(drawn):
    """Byte for byte, where matplotlib is the pinned version."""
    figures = [path for path in RECORD.glob("figures/*.png") if path.name not in OF_OTHER_TARGETS]
    assert len(figures) > 10
    (pinned,) = re.findall(
        r"^matplotlib==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    if metadata.version("matplotlib") != pinned:
        pytest.skip(
            f"figures are drawn by matplotlib {metadata.version('matplotlib')}, those of the record by {pinned}"
        )
    files = [path.relative_to(RECORD) for path in [*figures, RECORD / "training.png"]]
    different = [str(file) for file in files if (drawn / file).read_bytes() != (RECORD / file).read_bytes()]
    assert not different, f"drawn differently: {', '.join(different)}"


def test_claims_made_from_the_record_are_those_of_the_record(drawn):
    assert (drawn / "claims.csv").read_bytes() == (RECORD / "claims.csv").read_bytes()


def test_the_report_made_from_the_record_is_that_of_the_record(drawn):
    """But for the table of what each stage took, which holds times and machines."""
    made, kept = (untimed((folder / "report.md").read_text(encoding="utf-8")) for folder in (drawn, RECORD))
    assert made == kept and len(kept) > 100


def untimed(page):
    """The lines of a report without its table of stages and their times."""
    lines, inside = [], False
    for line in page.splitlines():
        inside = line.startswith("|") and (inside or line.startswith("| stage "))
        if not inside:
            lines.append(line)
    return lines


def test_a_regenerated_file_says_where_it_was_made():
    made = stored("training")["made_on"]
    assert made.keys() == machine().keys() and all(made.values())
    assert json.dumps(stored("training")).count("seconds") == 0
