"""Comparison of a run with a record: what is found, in which mode, and what is left out."""

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from fcl.cli.main import app
from fcl.runs.files import write_csv, write_json
from fcl.study.records.comparison import compare
from fcl.study.records.manifests import read_manifests
from fcl.study.records.scatter import Scatter

VERSIONS = {"python": "3.11.7", "torch": "2.13.0+cpu", "numpy": "2.4.6", "matplotlib": "3.11.2"}
FCL, STATIC = "metrics/fcl_seed1.csv", "metrics/static_r5.0_seed1.csv"
HISTORY, CUTOFFS = "metrics/history/fcl_seed1.csv", "calibration/MC3D_lambda1e-03_seed1.json"
CUTOFFS_OF = [4.0, 4.5, 5.0, 5.5, 6.0, 7.0]


def manifest(stage, seed, **changes):
    facts = {"stage": stage, "seed": seed, "settings_digest": "d", "settings": {"fcl": {"max_epochs": 80}}}
    facts |= {"versions": dict(VERSIONS), "device": "AMD EPYC", "threads": 2, "peak_gpu_memory_bytes": None}
    return facts | {"extra": {}} | changes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small study: seeds scatter by about 3%, pairs per atom and structures not at all."""
    folder = tmp_path_factory.mktemp("finished") / "mini"
    random = np.random.default_rng(0)
    for seed in (1, 2, 3):
        rows = [
            {"model_kind": "fcl", "seed": seed, "cutoff_angstrom": cutoff, "subset": subset, "structures": 12,
             "force_rmse_ev_per_angstrom": 0.6 * (1 + 0.03 * random.normal()), "pairs_per_atom": cutoff**3 / 3.0}
            for cutoff in CUTOFFS_OF for subset in ("all", "MC3D")
        ]  # fmt: skip
        write_csv(folder / f"metrics/fcl_seed{seed}.csv", rows)
        history = [
            {"epoch": epoch, "val_loss": 1.0 / epoch + 0.01 * random.normal(), "seconds": 1.5, "best": epoch < 4}
            for epoch in range(1, 6)
        ]
        write_csv(folder / f"metrics/history/fcl_seed{seed}.csv", history)
        curve = [
            {"pair": pair, "seed": seed, "distance_angstrom": r, "energy_ev": np.cos(3 * r) + 0.1 * random.normal()}
            for pair in ("H-O", "C-C", "C-O", "N-N", "C-N") for r in (0.5, 1.0, 1.5, 2.0, 2.5)
        ]  # fmt: skip
        write_csv(folder / f"diatomics/fcl_seed{seed}.csv", curve)
        write_json(folder / f"metrics/fcl_seed{seed}.manifest.json", manifest("evaluate_cutoffs", seed))
    write_json(
        folder / CUTOFFS,
        {
            "cutoffs": {"H": 3.5, "C": 4.25},
            "provenance": {"lambda": 0.001, "weights_sha256": "ab" * 32, "convergence": {"status": "converged"}},
        },
    )
    write_csv(
        folder / "cost/wall_clock.csv",
        [
            {
                "subset": "all",
                "microseconds_per_atom": 30.5,
                "peak_memory_kb_per_atom": 70.5,
                "threads": 2,
                "device": "x",
            }
        ],
    )
    write_json(folder / "observables/MC3D_nve.json", {"structures": [{"uniform": {"microseconds_per_atom_step": 8.5}}]})
    claim = {"id": "fig3_plateau", "value": 1.0, "verdict": "reproduced", "reason": "3 seeds"}
    write_csv(folder / "claims.csv", [claim])
    write_csv(folder / "data/elements.csv", [{"element": "H", "fraction": 0.25}])
    write_json(folder / "claims.manifest.json", manifest("claims_table", None, extra={"code_sha256": "c"}))
    return folder


@pytest.fixture
def folders(finished, tmp_path):
    """The run, and a record of it: the same files, all manifests in one."""
    run, record = tmp_path / "results/mini", tmp_path / "record/mini"
    shutil.copytree(finished, run)
    shutil.copytree(finished, record, ignore=shutil.ignore_patterns("*.manifest.json"))
    write_json(record / "manifest.json", {"format": 1, "study": "mini", "runs": read_manifests(run)})
    return run, record


def change(path, column, scale=None, row=0, text=None):
    """Multiply one number of a CSV file, or write ``text`` in its place."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[row][column] = text if scale is None else repr(float(rows[row][column]) * scale)
    write_csv(path, rows)


def other_platform(run, **changes):
    """Change facts of all manifests of a run; None takes a fact out."""
    for path in run.rglob("*.manifest.json"):
        facts = json.loads(path.read_text()) | changes
        write_json(path, {name: fact for name, fact in facts.items() if fact != "none"})


def test_a_run_equals_its_record(folders):
    result = compare(*folders)
    assert result.passed and result.same_platform and not result.within and not result.left_out
    assert result.measured == 3 * 5 + 3 + 1  # seconds; time, memory and threads; time of a step
    assert "all equal bit for bit" in result.text() and "19 measured times left out" in result.text()


def test_both_shapes_of_a_folder_have_the_same_manifests(folders):
    run, record = map(read_manifests, folders)
    assert run == record
    assert list(run)[0] == "claims.manifest.json"


@pytest.mark.parametrize(
    ("column", "scale", "text", "shown"),
    [
        ("force_rmse_ev_per_angstrom", 1.01, None, ""),
        ("force_rmse_ev_per_angstrom", 1 + 1e-9, None, ""),
        ("force_rmse_ev_per_angstrom", None, "", "empty"),
        ("subset", None, "MC2D", "MC2D"),
        ("cutoff_angstrom", None, "4.1", "4.1"),
    ],
)
def test_one_changed_cell_is_named(folders, column, scale, text, shown):
    run, record = folders
    change(run / FCL, column, scale, row=3, text=text)
    (found,) = compare(run, record).off
    assert (found.file, found.column) == (FCL, column)
    assert found.where == "model_kind=fcl, seed=1, cutoff_angstrom=4.5, subset=MC3D, structures=12"
    assert found.run == shown or scale
    text = compare(run, record).text()
    assert FCL in text and "cutoff_angstrom=4.5, subset=MC3D" in text and column in text


def test_a_missing_file_row_column_and_key_are_named(folders):
    run, record = folders
    (run / "data/elements.csv").unlink()
    lines = (run / FCL).read_text().splitlines()
    (run / FCL).write_text("\n".join(lines[:5] + lines[6:]) + "\n")
    claims = (run / "claims.csv").read_text().replace("value", "number", 1)
    (run / "claims.csv").write_text(claims)
    cutoffs = json.loads((run / CUTOFFS).read_text())
    del cutoffs["cutoffs"]["C"]
    write_json(run / CUTOFFS, cutoffs)
    found = {(item.file, item.where, item.column): (item.run, item.record) for item in compare(run, record).off}
    row = "model_kind=fcl, seed=1, cutoff_angstrom=5, subset=all, structures=12"
    assert found == {
        ("data/elements.csv", "", ""): ("no such file", "a file"),
        (FCL, row, ""): ("no such row", "a row"),
        ("claims.csv", "id=fig3_plateau", "value"): ("no such column", "a column"),
        ("claims.csv", "id=fig3_plateau", "number"): ("a column", "no such column"),
        (CUTOFFS, "cutoffs", "C"): ("no such column", "a column"),
    }


def test_additional_rows_are_off_and_additional_files_are_not(folders):
    run, record = folders
    write_csv(run / "figures/fig03.csv", [{"x": 1.0}])
    assert compare(run, record).passed
    with (run / "data/elements.csv").open("a") as stream:
        stream.write("C,0.75\n")
    (found,) = compare(run, record).off
    assert (found.where, found.run) == ("element=C", "a row")


def test_nested_json_paths(folders):
    run, record = folders
    for folder, number in ((run, 2.0), (record, 1.0)):
        write_json(folder / "data/example.json", {"cells": [{"a": [[0.0, number]]}], "pbc": [True], "none": None})
    (found,) = compare(run, record).off
    assert (found.where, found.column, found.run, found.record) == ("cells[0].a[0]", "[1]", "2.0", "1.0")
    assert found.difference == 1.0


@pytest.mark.parametrize("file", ["cost/wall_clock.csv", HISTORY])
def test_measured_times_are_not_compared(folders, file):
    run, record = folders
    for column in ("microseconds_per_atom", "peak_memory_kb_per_atom") if "cost" in file else ("seconds",):
        change(run / file, column, 3.0)
    if "cost" in file:
        change(run / file, "device", text="another")
        change(run / file, "threads", text="64")
    assert compare(run, record).passed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"versions": VERSIONS | {"torch": "2.12.0"}}, "torch 2.12.0 here, 2.13.0+cpu in the record"),
        ({"versions": VERSIONS | {"python": "3.12.1"}}, "python 3.12 here, 3.11 in the record"),
        ({"device": "NVIDIA H100"}, "device NVIDIA H100 here, AMD EPYC in the record"),
        ({"threads": 4}, "threads 4 here, 2 in the record"),
        ({"threads": "none"}, "threads unknown here, 2 in the record"),
        ({"peak_gpu_memory_bytes": 1}, "computed on a GPU, where sums are not equal bit for bit from run to run"),
    ],
)
def test_another_platform_gives_tolerance_mode_and_the_reason(folders, changes, reason):
    run, record = folders
    other_platform(run, **changes)
    result = compare(run, record)
    assert not result.same_platform and result.passed
    assert result.text().startswith(f"tolerance mode: {reason}\n")


def test_facts_that_neither_side_gives_are_unknown(folders):
    run, record = folders
    other_platform(run, threads="none")
    assert compare(run, run).reasons == ["threads unknown"]
    (run / "metrics/fcl_seed1.manifest.json").unlink()
    assert "metrics/fcl_seed1.manifest.json is not in the run" in compare(run, record).reasons


@pytest.mark.parametrize("versions", [VERSIONS | {"matplotlib": "3.9"}, VERSIONS | {"python": "3.11.2"}])
def test_versions_that_change_no_number(folders, versions):
    run, record = folders
    other_platform(run, versions=versions)
    assert compare(run, record).same_platform


def test_scatter_over_seeds_is_the_tolerance(folders):
    run, record = folders
    other_platform(run, threads=1)
    change(run / FCL, "force_rmse_ev_per_angstrom", 1.05)
    result = compare(run, record)
    assert result.passed and len(result.within) == 1 and "within the scatter" in result.text()
    change(run / FCL, "force_rmse_ev_per_angstrom", 1.4 / 1.05)
    (found,) = compare(run, record).off
    assert (found.file, found.column) == (FCL, "force_rmse_ev_per_angstrom") and found.difference > found.allowed
    change(run / FCL, "force_rmse_ev_per_angstrom", 0.7 / 1.4)
    assert len(compare(run, record).off) == 1


def test_a_tolerance_is_that_of_most_seeds():
    """20 groups of 3 seeds, the deviation of two of which is 10 times that of the others."""
    rows = {}
    for group in range(20):
        for seed in (1, 2, 3):
            error = 1.0 + (seed - 2) * (0.03 if group < 18 else 0.3) * (0.5 + group % 2)
            rows[f"seed={seed}, group={group}"] = {"seed": float(seed), "rmse": error}
    scatter = Scatter({"metrics/all.csv": rows})
    up, down = (
        scatter.allowed("metrics/all.csv", "seed=2, group=0", {"seed": 2.0, "rmse": 1.0}, "rmse", up)
        for up in (True, False)
    )
    # asinh has the derivative 1 / sqrt(2) at 1, and the larger half of the groups a deviation of 0.045
    assert down < 5.0 * 2**0.5 * 0.045 < up
    assert up == pytest.approx(0.35, abs=0.01)
    astray = {"seed": 2.0, "rmse": 1.0}
    assert scatter.allowed("metrics/all.csv", "seed=2, group=19", astray, "rmse", True) == pytest.approx(
        5.0 * 2**0.5 * 0.45
    )


@pytest.mark.parametrize(("file", "column"), [(FCL, "pairs_per_atom"), ("data/elements.csv", "fraction")])
def test_what_does_not_depend_on_training_must_agree(folders, file, column):
    run, record = folders
    other_platform(run, threads=1)
    change(run / file, column, 1 + 1e-8)
    assert compare(run, record).passed
    change(run / file, column, 1 + 1e-4)
    assert [(item.file, item.column) for item in compare(run, record).off] == [(file, column)]


def test_a_single_seed_has_a_wide_tolerance(folders):
    run, record = folders
    other_platform(run, threads=1)
    for factor, passed in ((1.5, True), (3.0, False)):
        cutoffs = json.loads((record / CUTOFFS).read_text())
        cutoffs["cutoffs"]["C"] *= factor
        cutoffs["provenance"]["weights_sha256"] = "0" * 64
        write_json(run / CUTOFFS, cutoffs)
        assert compare(run, record).passed == passed


def test_histories_are_compared_at_their_best_epoch(folders):
    run, record = folders
    other_platform(run, threads=1)
    for seed in (1, 2, 3):  # stopped two epochs earlier, just after the best one
        path = run / f"metrics/history/fcl_seed{seed}.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    assert compare(run, record).passed
    change(run / HISTORY, "val_loss", 5.0, row=2)
    (found,) = compare(run, record).off
    assert (found.file, found.where, found.column) == (HISTORY, "best epoch", "val_loss")


def test_curves_are_compared_as_wholes_and_must_be_complete(folders):
    run, record = folders
    other_platform(run, threads=1)
    path = run / "diatomics/fcl_seed1.csv"
    change(path, "energy_ev", 30.0)  # at 0.5 A, where the model extrapolates
    assert compare(run, record).passed
    change(path, "energy_ev", 30.0, row=1)
    (found,) = compare(run, record).off
    assert (found.where, found.column) == ("pair=H-O, seed=1", "energy_ev")
    path.write_text("\n".join((record / "diatomics/fcl_seed1.csv").read_text().splitlines()[:-1]) + "\n")
    assert "no such row" in [item.run for item in compare(run, record).off]


def test_verdicts_may_differ_on_another_platform_only(folders):
    run, record = folders
    change(run / "claims.csv", "verdict", text="not reproduced")
    assert len(compare(run, record).off) == 1
    other_platform(run, threads=1)
    result = compare(run, record)
    assert result.passed and len(result.verdicts) == 1
    assert "verdicts that differ: 1" in result.text() and "not reproduced" in result.text()


def test_means_are_compared_by_the_scatter_beside_them(folders):
    run, record = folders
    other_platform(run, threads=1)
    rows = [
        {"cutoff_angstrom": r, "rmse_mean": 600.0, "rmse_std": 18.0, "pairs_mean": 9.0, "pairs_std": 0.0}
        for r in (4, 5)
    ]
    for folder in folders:
        write_csv(folder / "figures/fig03.csv", rows)
    change(run / "figures/fig03.csv", "rmse_mean", 1.1)
    assert compare(run, record).passed
    change(run / "figures/fig03.csv", "rmse_mean", 1.4)
    change(run / "figures/fig03.csv", "pairs_mean", 1.01)
    assert {item.column for item in compare(run, record).off} == {"rmse_mean", "pairs_mean"}


def test_other_settings_are_off(folders):
    run, record = folders
    path = run / "metrics/fcl_seed2.manifest.json"
    facts = json.loads(path.read_text()) | {"settings_digest": "e", "settings": {"fcl": {"max_epochs": 40}}}
    write_json(path, facts)
    result = compare(run, record)
    (found,) = result.off
    assert (found.file, found.column, found.run, found.record) == (
        "metrics/fcl_seed2.manifest.json", "fcl.max_epochs", "40", "80",
    )  # fmt: skip
    assert result.same_platform


def test_command(folders):
    run, record = map(str, folders)
    done = CliRunner().invoke(app, ["compare", run, record])
    assert done.exit_code == 0 and done.stdout.startswith("same platform: ") and "bit for bit" in done.stdout
    for row in range(12):
        change(folders[0] / FCL, "force_rmse_ev_per_angstrom", 1.01, row=row)
    done = CliRunner().invoke(app, ["compare", run, record, "--worst", "5"])
    assert done.exit_code == 1
    assert done.stdout.count(FCL) == 5 and "... and 7 more that are off" in done.stdout and "; 12 off" in done.stdout
    done = CliRunner().invoke(app, ["compare", run, record, "--json"])
    facts = json.loads(done.stdout)
    assert done.exit_code == 1 and not facts["passed"] and len(facts["off"]) == 12


def test_folders_without_a_run_are_one_sentence(folders, tmp_path):
    run, record = folders
    for first, second, sentence in (
        (tmp_path / "absent", record, "no such folder; has this study been run?"),
        (run, tmp_path, "no run manifests; has this study been run?"),
    ):
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        if second == tmp_path:
            second = tmp_path / "x"
            second.mkdir()
        done = CliRunner().invoke(app, ["compare", str(first), str(second)])
        assert done.exit_code == 1 and sentence in done.stderr
    (run / "claims.manifest.json").write_text("{")
    with pytest.raises(ValueError, match="claims.manifest.json: not a run manifest"):
        compare(run, record)
    (run / "claims.manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="claims.manifest.json: not a run manifest"):
        compare(run, record)


def test_how_a_calibration_ended_may_differ_on_another_platform_only(folders):
    run, record = folders
    content = json.loads((run / CUTOFFS).read_text())
    content["provenance"]["convergence"] = {"status": "no further decrease", "at_bounds": {"H": "lower"}}
    write_json(run / CUTOFFS, content)
    for folder, share in ((run, 0.9), (record, 0.8)):
        write_json(folder / "choice/MC3D_seed1.json", {"lambda": 0.1 * share, "share": share})
        write_csv(folder / CUTOFFS.replace(".json", "_errors.csv.gz"), [{"structure": 1, "force_square_sum": share}])
    assert len(compare(run, record).off) == 5  # the row of bounds, the status, an error, both numbers of the choice
    other_platform(run, device="another")
    assert compare(run, record).passed
