"""The DAG: what each study plans, what a change runs again, and how an error in the configuration is told."""

import json
import os
import shutil

import pytest

from dry_runs import ROOT, copy_workflow, planned, snakemake
from fcl.config.load import load_config
from fcl.data.manifest import load_data_manifest
from plan import plan
from throughput import Throughput

SUBSETS = ("MC3D", "SHIFTML-molfrags")  # of the smoke study
#: Figures of the target `figures`; those of other targets are in `SMALL` alone.
FIGURES = {f"figure_{number:02d}": 1 for number in range(1, 11)} | {"figure_training": 1}
OBSERVABLES = {"observe_statics": 2, "observe_nve": 2, "observe_rdf": 2}  # a job a subset
SMALL = {
    "build_store": 3,
    "describe_data": 1,
    "pretrain": 1,
    "train_fcl": 3,
    "train_static": 2,
    "evaluate_cutoffs": 6,
    "evaluate_trivial": 1,
    "table_uniform": 1,
    "table_forces": 1,
    "table_controls": 1,
    "table_chosen": 1,
    "table_convergence": 1,
    "diatomic_curves": 3,
    "calibrate_cutoffs": 4,
    "choose_cutoffs": 2,
    "calibrate_unlabelled": 2,
    "measure_wall_clock": 1,
    **OBSERVABLES,
    **FIGURES,
    "figure_observables": 1,
    "table_observables": 1,
    "figure_wall_clock": 1,
    "table_01": 1,
    "table_02": 1,
    "table_03": 1,
    "table_04": 1,
    "table_wall_clock": 1,
    "table_labels": 1,
    "claims_table": 1,
    "report_page": 1,
    "summary": 1,
    "all": 1,
}
#: What follows from any new result.
SUMMARIES = {"claims_table": 1, "report_page": 1, "summary": 1}
#: What compares with uniform cutoffs.
CONTROLLED = ("figure_05", "figure_09", "table_controls", "table_chosen")
UNIFORM, DIATOMIC = ("figure_03", "figure_08", "table_uniform", *CONTROLLED), ("figure_04", "figure_10")
CALIBRATED = ("figure_01", "figure_06", "figure_07", "table_convergence", *CONTROLLED)
COMPARED = ("figure_observables", "table_observables")
MEASURED = ("measure_wall_clock", "figure_wall_clock", "table_wall_clock")
WHOLE = SMALL | {
    "train_static": 12,
    "evaluate_cutoffs": 16,
    "calibrate_cutoffs": 20,
    "choose_cutoffs": 4,
    "calibrate_unlabelled": 8,
}


def once(rules):
    """One job of each rule."""
    return dict.fromkeys(rules, 1)


def test_the_paper_plans_the_whole_protocol(tree):
    assert planned(tree, "--config", "study=paper") == WHOLE | {"download_data": 3, "calibrate_unlabelled": 12}


def test_a_file_of_three_splits_is_downloaded_once(tree):
    data, subsets = {"manifest": "resources/mad-sample/manifest.yaml"}, {"subsets": ["MC3D", "SHIFTML-molcrys"]}
    study = {"base": "smoke", "data": data, "calibration": subsets, "observables": subsets}
    jobs = planned(tree, "--config", "study=sample", f"studies={json.dumps({'sample': study})}")
    assert (jobs["download_data"], jobs["build_store"]) == (1, 3)


def test_mini_is_the_default_and_needs_no_download(tree):
    shorter = {"train_static": 6, "evaluate_cutoffs": 10, "calibrate_unlabelled": 4}
    assert planned(tree) == WHOLE | shorter


def test_embedded_plans_the_whole_protocol_with_three_seeds_of_each_of_three_pretrained_models(tree):
    assert planned(tree, "--config", "study=embedded") == WHOLE | {
        "pretrain": 3,
        "train_fcl": 9,
        "evaluate_cutoffs": 24,
        "diatomic_curves": 9,
        "calibrate_cutoffs": 2 * 60,  # and again on the validation split, with the same models
        "choose_cutoffs": 12,
        "calibrate_unlabelled": 12,
    }


@pytest.mark.parametrize(
    ("target", "jobs"),
    [
        # nine seeds of the study, three of six ablations; two of them reach farther and have stores of their own
        (
            "ablations",
            {"build_store": 9, "pretrain": 3, "train_fcl": 27, "evaluate_cutoffs": 27, "diatomic_curves": 27},
        ),
        # three seeds of the study, two of each part of its data
        ("learning_curve", {"build_store": 9, "train_static": 7, "evaluate_cutoffs": 7}),
        # one model of each kind in each of five folds; nothing of the study itself, whose splits are others
        (
            "folds",
            {
                "build_store": 15,
                "pretrain": 5,
                "train_fcl": 5,
                "train_static": 20,
                "evaluate_cutoffs": 25,
                "evaluate_trivial": 5,
            },
        ),
        ("repeat", {"build_store": 3, "pretrain": 1, "train_fcl": 1, "evaluate_cutoffs": 1}),
    ],
)
def test_studies_with_a_base_share_what_does_not_depend_on_their_change(tree, target, jobs):
    own = {"ablations": ["ablations_table"], "learning_curve": ["learning_curve_figure"], "folds": ["folds_table"]}
    assert planned(tree, target, "--config", "study=embedded") == jobs | once(own.get(target, [])) | {target: 1}


def test_a_model_with_a_single_cutoff_is_evaluated_but_not_calibrated(tree):
    fixed = ("--config", "study=embedded-fixed")
    jobs = planned(tree, "evaluate_all", "diatomics_all", *fixed)
    assert (jobs["train_fcl"], jobs["diatomic_curves"], jobs["build_store"]) == (3, 3, 3)
    for targets in ((), ("cost_all",)):
        done = snakemake(tree, *targets, "--dry-run", *fixed)
        assert done.returncode != 0
        assert "studies.embedded-fixed: cutoffs.r_min = cutoffs.r_max = 6 A" in done.stdout
        assert "there is nothing to calibrate" in done.stdout


def test_folds_need_groups(tree):
    manifest = (tree / "resources/embedded/manifest.yaml").read_text()
    ungrouped = manifest.replace("keys:\n  parent: parent\n", "")
    (tree / "resources/embedded/ungrouped.yaml").write_text(ungrouped)
    data = {"manifest": "resources/embedded/ungrouped.yaml", "folds": {"number": 5, "held_out": 1}}
    study = json.dumps({"cv": {"base": "smoke", "data": data}})
    done = snakemake(tree, "--dry-run", "--config", "study=cv", f"studies={study}")
    assert done.returncode != 0
    assert "studies.cv.data.folds: the manifest of embedded has neither keys.parent nor group" in done.stdout


def test_a_study_without_ablations_says_so(tree):
    done = snakemake(tree, "ablations", "--dry-run", "--config", "study=smoke")
    assert done.returncode != 0
    assert "no study of config.yaml has base: smoke and purpose: ablation" in done.stdout


def test_the_estimate_of_cost_counts_the_jobs_of_the_workflow():
    study = load_config(ROOT / "config.yaml").resolve("paper")
    speed = Throughput(**dict.fromkeys(Throughput.__annotations__, 1.0))
    estimated = {stage.name: stage.jobs for stage in plan(study, load_data_manifest(ROOT / study.data.manifest), speed)}
    products = estimated.pop("figures, tables, report")
    jobs = WHOLE | {"download_data": 3, "calibrate_unlabelled": 12}
    assert estimated == {name: jobs[name] for name in estimated}
    assert products == sum(count for name, count in jobs.items() if name not in {*estimated, "all"})


def test_smoke_is_small(tree):
    assert planned(tree, "--config", "study=smoke") == SMALL


@pytest.mark.parametrize(
    ("target", "last", "absent"),
    [
        ("train_all", "train_static", "evaluate_cutoffs"),
        ("evaluate_all", "evaluate_cutoffs", "diatomic_curves"),
        ("diatomics_all", "diatomic_curves", "train_static"),
        ("calibrate_all", "calibrate_cutoffs", "figure_05"),
        ("observables_all", "observe_nve", "evaluate_cutoffs"),
        ("validate_all", "observe_nve", "evaluate_cutoffs"),  # the former name
        ("cost_all", "measure_wall_clock", "train_static"),
        ("figures", "figure_10", "download_data"),
        ("tables", "table_04", "diatomic_curves"),
        ("claims", "claims_table", "figure_05"),
        ("report", "report_page", "download_data"),
    ],
)
def test_targets(tree, target, last, absent):
    jobs = planned(tree, target, "--config", "study=smoke")
    assert jobs[target] == 1
    assert jobs[last] == SMALL[last]
    assert absent not in jobs


def test_lint_is_clean(tree):
    done = snakemake(tree, "--lint")
    assert done.returncode == 0, done.stdout
    assert "good condition" in done.stdout


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stduy=smoke", ("stduy: unknown key", "did you mean 'study'")),
        ("study=smok", ("there is no study 'smok'", "did you mean 'smoke'")),
        ('studies={"mini": {"fcl": {"epochz": 3}}}', ("studies.mini.fcl.epochz", "did you mean 'epochs'")),
        ('protocol={"calibration": {"split": "test"}}', ("protocol.calibration.split",)),
        (
            'protocol={"data": {"manifest": "resources/nowhere.yaml"}}',
            ("data.manifest", "resources/nowhere.yaml"),
        ),
        (
            'protocol={"pretrain": {"from": "nowhere/given.safetensors"}}',
            ("Missing input files for rule pretrain", "nowhere/given.safetensors", "nowhere/given.json"),
        ),
    ],
)
def test_an_error_in_the_configuration_stops_at_once_with_its_dotted_key(tree, option, words):
    study = () if "study=" in option or "stduy" in option else ("study=paper",)
    done = snakemake(tree, "--dry-run", "--config", option, *study)
    assert done.returncode != 0
    for word in words:
        assert word in done.stdout
    assert "Traceback" not in done.stdout


def test_a_calibration_that_is_too_short_is_warned_of(tree):
    override = 'studies={"smoke": {"calibration": {"learning_rate": 0.003}}}'
    done = snakemake(tree, "--dry-run", "--config", "study=smoke", override)
    assert done.returncode == 0
    assert "does not exceed upper_bound - lower_bound = 3.50 A" in done.stdout


def test_a_second_run_does_nothing(finished):
    assert planned(finished, "--config", "study=smoke") == {}


def test_every_compute_job_left_a_log_and_a_benchmark(finished):
    results = finished / "results/smoke"
    compute = ("train_fcl", "train_static", "evaluate_cutoffs", "diatomic_curves", "calibrate_cutoffs")
    for folder in (*compute, "calibrate_unlabelled", *OBSERVABLES):
        logs = sorted(path.stem for path in (results / "logs" / folder).iterdir())
        assert logs == sorted(path.stem for path in (results / "benchmarks" / folder).iterdir())
        assert len(logs) == SMALL[folder]


def test_each_model_is_evaluated_at_its_cutoffs(finished):
    metrics = finished / "results/smoke/metrics"
    assert (metrics / "fcl_seed1.csv").read_text() == "{'cutoffs': '[4.0, 5.0, 6.0, 7.0]'}\n"
    assert (metrics / "static_r4.0_seed1.csv").read_text() == "{'cutoffs': '[4.0]'}\n"
    assert (metrics / "pretrain.csv").read_text() == "{'cutoffs': '[6.0]'}\n"


def test_every_figure_has_its_files_and_a_manifest(finished):
    figures = finished / "results/smoke/figures"
    suffixes = ("png", "pdf", "csv", "manifest.json")
    names = {f"fig{number:02d}.{suffix}" for number in range(1, 11) for suffix in suffixes}
    beyond = [rule.removeprefix("figure_") for rule in SMALL if rule.startswith("figure_") and rule not in FIGURES]
    names |= {f"{name}.{suffix}" for name in beyond for suffix in suffixes}
    assert {path.name for path in figures.iterdir()} == names - {"fig02.csv"}  # a schematic has no numbers
    assert all((figures.parent / f"training.{suffix}").is_file() for suffix in ("png", "pdf", "manifest.json"))
    manifest = json.loads((figures / "fig06.manifest.json").read_text())
    assert (manifest["stage"], manifest["study"]) == ("figure_06", "smoke")
    calibrations = [f"results/smoke/calibration/{subset}_lambda1e-04_seed1.json" for subset in SUBSETS]
    assert list(manifest["inputs"]) == calibrations
    assert manifest["settings"] == {"title": "a stub", "initial_cutoff": 6.0, "bounds": [3.5, 7.0]}
    assert len(manifest["extra"]["code_sha256"]) == 64


def test_figures_show_the_parts_of_a_study_that_the_paper_shows(finished):
    figures = finished / "results/smoke/figures"
    inputs = {n: json.loads((figures / f"fig{n}.manifest.json").read_text())["inputs"] for n in ("01", "02", "07")}
    first = "results/smoke/calibration/MC3D_lambda{}_seed1.json"
    assert list(inputs["01"]) == ["results/smoke/data/example.json", first.format("1e-04")]
    assert list(inputs["02"]) == []
    assert list(inputs["07"]) == [first.format("1e-02"), first.format("1e-04")]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            {"calibration": {"epochs": 5}},
            {
                "calibrate_cutoffs": 4,
                "calibrate_unlabelled": 2,
                **OBSERVABLES,
                **once((*CALIBRATED, *COMPARED, *MEASURED, "table_labels")),
            },
        ),
        ({"diatomics": {"points": 31}}, {"diatomic_curves": 3, **once(DIATOMIC)}),
        (
            {"fcl": {"seeds": [1, 2, 3, 4]}},
            {
                "train_fcl": 1,
                "evaluate_cutoffs": 1,
                "diatomic_curves": 1,
                **once((*UNIFORM, *DIATOMIC, "figure_training")),
            },
        ),
        (
            {"calibration": {"lambdas": [1e-2, 1e-3, 1e-4]}},
            {
                "calibrate_cutoffs": 2,
                "choose_cutoffs": 2,
                **once(("figure_07", "table_convergence", *CONTROLLED, *MEASURED)),
            },
        ),
        (
            {"static": {"cutoffs": [4.0, 5.0, 6.0]}},
            {"train_static": 1, "evaluate_cutoffs": 1, "table_02": 1, **once((*UNIFORM, "figure_training"))},
        ),
        ({"compute": {"threads": 2, "device": "cpu", "backend": "reference"}}, {}),
        ({"data": {"local_dir": "elsewhere"}}, {}),
    ],
)
def test_a_changed_setting_runs_what_it_determines_and_nothing_else(finished, override, expected):
    jobs = planned(finished, "--config", "study=smoke", f"studies={ {'smoke': override} }")
    jobs.pop("all", None)
    assert jobs == (expected | SUMMARIES if expected else {})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"wall_clock": {"atoms": 50}}, once(MEASURED)),
        ({"unlabelled": {"lambdas": [1e-4]}}, {"calibrate_unlabelled": 2, "table_labels": 1}),
        ({"observables": {"nve": {"duration": 0.03}}}, {"observe_nve": 2, **once(COMPARED)}),
        (
            {"observables": {"phonons": {"displacement": 0.02}}},
            {**OBSERVABLES, **once(COMPARED)},  # dynamics go on from the files of the statics
        ),
        ({"tolerances": {"drift": 2.0}}, once(COMPARED)),
        ({"choice": {"folds": 3}}, {"choose_cutoffs": 2, **once(("figure_05", "figure_09", "table_chosen"))}),
    ],
)
def test_no_claim_depends_on_what_is_measured_beyond_the_paper(finished, override, expected):
    jobs = planned(finished, "--config", "study=smoke", f"studies={ {'smoke': override} }")
    jobs.pop("all", None)
    assert jobs == expected | {"report_page": 1, "summary": 1}


def test_an_edit_of_the_library_runs_the_stages_that_use_it(finished):
    stages = finished / "src/fcl/study/stages/evaluation.py"
    before = stages.read_text()
    stages.write_text(before.replace("    study.diatomics\n", "    study.diatomics.pairs\n"))
    try:
        jobs = planned(finished, "--config", "study=smoke")
    finally:
        stages.write_text(before)
    jobs.pop("all", None)
    assert jobs == {"diatomic_curves": 3, **once(DIATOMIC)} | SUMMARIES


#: All figures and tables, and the pages.
DRAWN = {rule for rule in SMALL if rule.startswith(("figure_", "table_"))} | {"claims_table", "report_page"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone holds: the workflow and the record, and no results; of `embedded` and its studies empty files."""
    folder = copy_workflow(tmp_path_factory.mktemp("clone"))
    shutil.copytree(ROOT / "record/mini", folder / "record/mini")
    config = load_config(ROOT / "config.yaml")
    for study in (config.resolve(name) for name in config.studies if name.startswith("embedded")):
        models = ["trivial", *(f"fcl_seed{seed}" for seed in study.fcl.seeds)]
        models += [f"static_r{cutoff}_seed{seed}" for cutoff in study.static.cutoffs for seed in study.static.seeds]
        files = ["metrics/{}.csv", "errors/{}.csv.gz", "diatomics/{}.csv"]
        for file in ["manifest.json", *(file.format(model) for file in files for model in models)]:
            path = folder / "record" / study.name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def test_everything_is_drawn_from_the_record_and_nothing_else_is_run(clone):
    targets = ("figures", "tables", "claims", "report")
    of_mini, of_embedded = (("--config", f"study={study}", "from_record=true") for study in ("mini", "embedded"))
    assert planned(clone, *targets, *of_mini) == once([*DRAWN, *targets])
    # with the default target too, and what is drawn from several records
    assert planned(clone, *of_mini) == once([*DRAWN, "all"])
    targets = ("ablations", "learning_curve", "folds")
    tables = ("ablations_table", "learning_curve_figure", "folds_table")
    assert planned(clone, *targets, "repeat", *of_embedded) == once([*targets, *tables])


def test_without_a_record_nothing_is_drawn_and_it_is_named(clone):
    done = snakemake(clone, "figures", "--config", "study=smoke", "from_record=true")
    assert done.returncode != 0
    assert "record/smoke holds no record (no manifest.json); records are there of: embedded, embedded-25" in done.stdout


def test_results_are_not_taken_for_those_of_the_record(finished, tmp_path):
    """A run and a record of the same study: each is drawn from its own numbers."""
    shutil.copytree(finished, tmp_path / "both")
    folder = tmp_path / "both"
    shutil.copytree(folder / "results/smoke", folder / "record/smoke")
    (folder / "record/smoke/manifest.json").write_text('{"runs": {}}')
    assert planned(folder, "figures", "--config", "study=smoke") == {}
    jobs = planned(folder, "figures", "--config", "study=smoke", "from_record=true")
    assert set(jobs) == {*FIGURES, "figures"} - {"figure_02"}  # a schematic has no numbers


def test_newer_data_files_run_nothing_as_their_checksum_decides(finished):
    for path in finished.glob("resources/embedded/*"):
        os.utime(path)
    assert planned(finished, "--config", "study=smoke") == {}
    manifest = finished / "resources/embedded/manifest.yaml"
    before = manifest.read_text()
    checksum = "sha256:" + 64 * "0"
    manifest.write_text(before.replace("test.xyz.gz}", f"test.xyz.gz, checksum: '{checksum}'}}"))
    try:
        jobs = planned(finished, "--config", "study=smoke")
    finally:
        manifest.write_text(before)
    assert jobs["build_store"] == 1
    assert "pretrain" not in jobs
    assert jobs["evaluate_cutoffs"] == SMALL["evaluate_cutoffs"]
