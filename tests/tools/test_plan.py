"""The plan of a study's cost: counts of the protocol, and that it can be measured at all."""

from dataclasses import replace

import pytest

from examples import SMALL_MODEL
from fcl.config.load import load_config
from fcl.data.manifest import load_data_manifest
from plan import describe, frame_counts, plan, table
from project import ROOT
from throughput import Throughput, measure

#: A second a structure for everything, a kilobyte each in the store, a gigabyte for the process; jobs start at once.
UNIT = Throughput(
    store=1.0, static=1.0, fcl=1.0, evaluate=1.0, calibrate=1.0, curve=1.0, step=1.0, start=0.0, first_call=0.0,
    first_epoch=0.0, drawing=0.0, store_bytes=1e3, array_bytes=1e3, base_bytes=1e9, model_bytes=1e6, sample="",
)  # fmt: skip


def studied(name):
    study = load_config(ROOT / "config.yaml").resolve(name)
    return study, load_data_manifest(ROOT / study.data.manifest)


@pytest.fixture
def without_the_workflow(monkeypatch):
    monkeypatch.setattr("plan.WORKFLOW_SECONDS", 0.0)


@pytest.mark.usefixtures("without_the_workflow")
def test_the_papers_plan_counts_its_epochs_and_jobs():
    study, manifest = studied("paper")
    counts, assumed = frame_counts(study, manifest)
    assert counts["train"] == 76476 and counts["val"] == 76476 // 8 and len(assumed) == 2
    stages = {stage.name: stage for stage in plan(study, manifest, UNIT)}
    assert {name: stage.jobs for name, stage in stages.items()} == {
        "download_data": 3,
        "build_store": 3,
        "describe_data": 1,
        "pretrain": 1,
        "train_fcl": 3,
        "train_static": 12,
        "evaluate_cutoffs": 16,
        "evaluate_trivial": 1,
        "diatomic_curves": 3,
        "calibrate_cutoffs": 20,
        "choose_cutoffs": 4,
        "observe_statics": 2,
        "observe_nve": 2,
        "observe_rdf": 2,
        "calibrate_unlabelled": 12,
        "measure_wall_clock": 1,
        "figures, tables, report": 28,
    }
    train, val, test = counts.values()
    assert stages["pretrain"].hours == pytest.approx(200 * (train + val) / 3600)
    assert stages["train_fcl"].hours == pytest.approx(3 * 500 * (train + 3 * val) / 3600)
    assert stages["train_static"].hours == pytest.approx(12 * 500 * (train + val) / 3600)
    assert stages["evaluate_cutoffs"].hours == pytest.approx((3 * 36 + 13) * test / 3600)
    runs = 2 * 4 * 3  # subsets, potentials, structures
    assert stages["observe_nve"].hours == pytest.approx(runs * (4000 + 40000) / 3600)
    assert stages["observe_rdf"].hours == pytest.approx(runs * (4000 + 40000) / 3600)
    assert stages["observe_statics"].hours == pytest.approx(2 * 3 * 6 * (9 * 1000 + 6 * 27) / 3600)
    configurations = 8 + 4 * 5  # uniform cutoffs, optimised ones
    assert stages["measure_wall_clock"].hours == pytest.approx(21 * configurations * 10000 / 27 / 3600)
    ratio = stages["calibrate_unlabelled"].hours / stages["calibrate_cutoffs"].hours
    assert ratio == pytest.approx(3 / 5)
    searched = 5 * (12 * 2 + 1) + 1  # lambdas; evaluations on two thirds in each of three folds; the start
    assert stages["choose_cutoffs"].hours == pytest.approx(4 * searched * -(-train // 4) / 3600)
    assert stages["build_store"].disk == pytest.approx((train + val + test) * 1e3 / 1e9)
    assert stages["diatomic_curves"].hours == pytest.approx(3 * 3 * 4 / 3600)
    assert stages["download_data"].hours == pytest.approx(stages["download_data"].disk * 1e9 / 5e6 / 3600)
    assert stages["pretrain"].memory == pytest.approx(1 + (train + val) * 1e3 / 1e9)
    # weights; in each of two checkpoints weights, best weights and two moments
    assert stages["train_static"].disk == pytest.approx(12 * (1 + 2 * 4) * 1e6 / 1e9)


def test_what_a_job_takes_until_it_works_is_counted_for_each():
    study, manifest = studied("smoke")
    stages = {stage.name: stage for stage in plan(study, manifest, UNIT)}
    slow = replace(UNIT, start=100.0, first_call=10.0, first_epoch=1000.0, drawing=1.0)
    later = {stage.name: (stage.hours - stages[stage.name].hours) * 3600 for stage in plan(study, manifest, slow)}
    begins = {"build_store": 100, "describe_data": 100, "evaluate_cutoffs": 110, "diatomic_curves": 110}
    begins |= {"pretrain": 1110, "train_fcl": 1110, "train_static": 1110, "calibrate_cutoffs": 110}
    begins |= dict.fromkeys(("choose_cutoffs", "calibrate_unlabelled", "measure_wall_clock"), 110)
    begins |= dict.fromkeys(("observe_statics", "observe_nve", "observe_rdf"), 110)
    begins |= {"evaluate_trivial": 100, "figures, tables, report": 1}
    assert later == {name: pytest.approx(begins[name] * stages[name].jobs) for name in stages}
    workflow = plan(study, manifest, replace(UNIT, store=0.0))[0].hours * 3600
    assert workflow == pytest.approx(3 * 2.0)


@pytest.mark.usefixtures("without_the_workflow")
def test_what_a_study_leaves_out_costs_nothing():
    study, manifest = studied("paper")
    study = study.narrowed(observables={"nve": None, "phonons": None, "equation_of_state": None})
    stages = {stage.name: stage for stage in plan(study, manifest, UNIT)}
    assert "observe_nve" not in stages
    assert stages["observe_statics"].hours == pytest.approx(2 * 3 * 6 * 1000 / 3600)


def test_limits_and_known_subsets_are_counted():
    study, manifest = studied("smoke")
    assert frame_counts(study, manifest) == ({"train": 48, "val": 12, "test": 12}, [])
    study, manifest = studied("mini")
    assert frame_counts(study, manifest) == ({"train": 384, "val": 48, "test": 48}, [])
    study, manifest = studied("embedded-fold-3")
    assert frame_counts(study, manifest) == ({"train": 288, "val": 96, "test": 96}, [])
    study, manifest = studied("embedded-25")
    assert frame_counts(study, manifest) == ({"train": 96, "val": 48, "test": 48}, [])


def test_the_table_adds_up():
    study, manifest = studied("mini")
    stages = plan(study, manifest, UNIT)
    text = table(study, stages, ["a note"])
    assert f"| **all** | {sum(s.jobs for s in stages)} | {sum(s.hours for s in stages):.3g} |" in text
    assert text.count("\n| ") == len(stages) + 3 and text.endswith("- a note\n")


@pytest.mark.heavy
@pytest.mark.parametrize("source", ["the embedded data", "synthetic"])
def test_a_measurement_is_made_of_positive_numbers(monkeypatch, source):
    monkeypatch.chdir(ROOT)
    study, manifest = studied("smoke")
    study = study.narrowed(model=SMALL_MODEL, data={} if source != "synthetic" else {"manifest": "nowhere/m.yaml"})
    monkeypatch.setattr("throughput.SAMPLE_BATCHES", 0.4)  # 20 structures
    speed = measure(study, manifest)
    first = {"first_call", "first_epoch"}  # none where the process has done the same before
    assert all(value > 0 or name in first for name, value in vars(speed).items() if name != "sample")
    assert speed.start > 0.5  # torch and mace-torch are not imported in less
    assert speed.sample == (
        "20 frames of train.xyz.gz" if source != "synthetic" else "synthetic structures of 27 atoms"
    )


def test_the_page_has_each_study_the_chosen_one_first(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("plan.measure", lambda study, manifest: UNIT)
    page = describe("config.yaml")
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [
        *("mini", "smoke", "embedded", "mad-sample", "paper")
    ]
    assert "assumed: val: 9559 structures" in page
