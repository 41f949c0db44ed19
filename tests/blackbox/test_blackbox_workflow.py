"""What a user of the workflow gets: planned jobs, one epoch of each training, the record drawn anew. See README.md."""

import json

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

RECORD = ROOT / "record/embedded"


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
    """A copy in which figures, tables, claims and report of the study embedded were made from the record alone."""
    if not RECORD.is_dir():
        pytest.skip("this checkout has no record/embedded")
    folder = copy_workflow(tmp_path_factory.mktemp("blackbox") / "drawn")
    snakemake(
        folder, "figures", "tables", "claims", "report", "--config", "study=embedded", "from_record=true"
    )  # fmt: skip
    return folder / "results/embedded"


def test_figures_drawn_from_the_record_are_those_of_the_record(drawn):
    """Byte for byte, where the same version of matplotlib draws."""
    figures = [*RECORD.glob("figures/*.png"), RECORD / "training.png"]
    assert len(figures) > 10
    software = matplotlib_of(figures[0])
    if matplotlib_of(drawn / figures[0].relative_to(RECORD)) != software:
        pytest.skip(f"the record was drawn by {software}")
    different = [path.name for path in figures if (drawn / path.relative_to(RECORD)).read_bytes() != path.read_bytes()]
    assert not different, f"drawn differently: {', '.join(different)}"


@pytest.mark.parametrize("name", ["claims.csv", "report.md"])
def test_words_and_numbers_made_from_the_record_are_those_of_the_record(drawn, name):
    assert (drawn / name).read_bytes() == (RECORD / name).read_bytes()


def matplotlib_of(png):
    """The text that matplotlib leaves in a PNG: its version."""
    content = png.read_bytes()
    start = content.find(b"Software\0")
    return content[start : content.find(b"IEND", start)][:60].split(b"\0", 2)[1].split(b",")[0].decode()


def test_a_regenerated_file_says_where_it_was_made():
    made = stored("training")["made_on"]
    assert made.keys() == machine().keys() and all(made.values())
    assert json.dumps(stored("training")).count("seconds") == 0
