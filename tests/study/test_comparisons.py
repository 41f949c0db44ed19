"""Studies beside the one that they are based on: what counts as a difference, the two tables, and a repeated run."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from claim_examples import FCL, NESTS, structure_rows, write, write_diatomics, write_study, write_uniform
from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, NotEvaluated
from fcl.study.comparisons.ablations import (
    AT_END,
    HIGHER,
    LOWER,
    ablation_table,
    change_text,
    write_ablations,
)
from fcl.study.comparisons.learning import learning_curve, static_family, steps
from fcl.study.comparisons.repeat import repeated_digests
from fcl.study.figures.common import subset_style
from fcl.study.results import Results
from figure_examples import drawn_figures, lines, outputs


def seeds(*values):
    return dict(enumerate(values, start=1))


def results_of(folder):
    return Results.of_folder(folder, NESTS)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A study, one with the same numbers, and one whose error at 7 A is lower than that at 6 A."""
    folder = tmp_path_factory.mktemp("studies")
    base = write_study(folder / "base")
    shutil.copytree(base, folder / "same")
    shutil.copytree(base, folder / "lower")
    write_uniform(folder / "lower", fcl=FCL | {7.0: 0.300})
    return folder


def test_the_ablation_table_compares_seed_by_seed_and_structure_by_structure(studies, tmp_path):
    folders = {name: studies / name for name in ("same", "lower")}
    changes = {"same": {"fcl.epochs": (500, 250)}, "lower": {"cutoffs.r_max": (7.0, 7.5)}}
    nests = dict.fromkeys(("base", *folders), NESTS)
    outputs = (tmp_path / "a.csv", tmp_path / "a.md")
    write_ablations(studies / "base", folders, changes, *outputs, nests=nests, title="toys, not MAD")
    table = pd.read_csv(tmp_path / "a.csv")
    assert set(table[table["study"] == "same"]["verdict"]) == {UNDECIDED}
    lower = table[table["study"] == "lower"].set_index("quantity")
    assert lower.loc["force RMSE at 7 A", "verdict"] == lower.loc["force RMSE, 7 A / 6 A", "verdict"] == LOWER
    assert lower.loc["force RMSE at 6 A", "verdict"] == UNDECIDED
    row = lower.loc["force RMSE at 7 A"]
    assert (
        row["by"] == pytest.approx(100.0 * (0.300 / FCL[7.0] - 1.0))
        and row["basis"] == "3 models, 12 groups of structures"
    )
    assert lower.loc["force RMSE, 7 A / 6 A", "by"] == pytest.approx(row["by"])
    page = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "Ablations of base. Data: toys, not MAD." in page
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    row = next(cells for cells in rows if cells[:1] == ["lower"] and cells[2] == "force RMSE at 7 A")
    assert row[1] == "cutoffs.r_max 7.0 -> 7.5" and row[3] == "-13.04 [-13.04, -13.04]%" and row[-1] == LOWER


def test_what_is_found_alone_may_be_lost_among_many(studies, tmp_path):
    """One change that three seeds show by themselves, among 25 that show nothing."""
    for name in ("alone", *map(str, range(4))):
        shutil.copytree(studies / "base", tmp_path / name)
    for seed in (1, 2, 3):
        rows = structure_rows(0.345 * (1.0 - 0.03 - 0.005 * (seed - 2)), cutoff_angstrom=7.0)
        write(tmp_path / "alone", f"errors/fcl_seed{seed}.csv.gz", rows)
        for number in range(4):
            scattered = {r: value * (1.0 + 0.01 * (seed - 2) * (-1) ** number) for r, value in FCL.items()}
            rows = [row for r, value in scattered.items() for row in structure_rows(value, cutoff_angstrom=r)]
            write(tmp_path / str(number), f"errors/fcl_seed{seed}.csv.gz", rows)
    base, others = results_of(studies / "base"), {path.name: results_of(path) for path in tmp_path.iterdir()}
    alone = ablation_table(base, {"alone": others["alone"]}, {}).set_index("quantity").loc["force RMSE at 7 A"]
    assert alone["verdict"] == alone["alone"] == LOWER
    table = ablation_table(base, others, {})
    row = table[(table["study"] == "alone") & (table["quantity"] == "force RMSE at 7 A")].iloc[0]
    assert row["alone"] == LOWER and row["verdict"] == UNDECIDED and len(table) > 20


def test_an_ablation_with_one_seed_or_without_results_says_nothing(studies, tmp_path):
    shutil.copytree(studies / "lower", tmp_path / "one")
    for file in (tmp_path / "one/errors").glob("fcl_seed[23].csv.gz"):
        file.unlink()
    shutil.rmtree(tmp_path / "one/diatomics")
    one = Results.of_folder(tmp_path / "one", {"fcl_seed1": 1})
    table = ablation_table(results_of(studies / "base"), {"one": one}, {})
    assert set(table["verdict"]) == {UNDECIDED} and set(table["basis"]) == {"1 model, 12 groups of structures"}
    assert not table["quantity"].str.contains("diatomic").any()
    assert ablation_table(results_of(studies / "base"), {"one": results_of(tmp_path / "one")}, {}).empty
    others = Results.of_folder(studies / "lower", {"fcl_seed9": 9})  # no seed in common
    assert ablation_table(results_of(studies / "base"), {"lower": others}, {}).empty
    with pytest.raises(ValueError, match="no study is made for an ablation"):
        ablation_table(results_of(studies / "base"), {}, {})


def learning_files(folder, errors):
    """Metrics of static models and manifests of their stores: structures -> error of each seed (eV/A)."""
    metrics, stores = [], []
    for size, values in errors.items():
        for seed, error in seeds(*values).items():
            labels = {"model_kind": "static", "training_cutoff_angstrom": 6.0, "seed": seed, "cutoff_angstrom": 6.0}
            rows = [{**labels, "subset": name, "force_rmse_ev_per_angstrom": error} for name in ("all", "MC3D")]
            write(folder, f"{size}/seed{seed}.csv", rows)
            metrics.append(folder / f"{size}/seed{seed}.csv")
            stores.append(folder / f"{size}/train.manifest.json")
        stores[-1].write_text(json.dumps({"extra": {"structures": size, "parents": size // 3}}))
    return metrics, stores


def test_the_learning_curve(tmp_path, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    errors = {96: (0.8, 0.82, 0.78), 192: (0.7, 0.72, 0.68), 384: (0.6, 0.62, 0.58)}
    files = outputs(tmp_path, "learning_curve")
    learning_curve(*learning_files(tmp_path, errors), **files, cutoff=6.0, title="toys, not MAD")
    assert files["png"].is_file() and files["pdf"].is_file()
    table = pd.read_csv(files["csv"])
    assert len(table) == 18 and sorted(set(table["parents"])) == [32, 64, 128]
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32\n(96)", "64\n(192)", "128\n(384)"]
    points = lines(axes)
    assert set(points) == {"all structures", "MC3D"} and points["MC3D"].get_color() == subset_style("MC3D")["color"]
    for line in points.values():  # every seed, at its number of parents
        assert line.get_ydata().tolist() == pytest.approx([1000.0 * e for values in errors.values() for e in values])
        np.testing.assert_allclose(line.get_xdata(), np.repeat([32, 64, 128], 3), rtol=0.05)
    means = [line for line in axes.lines if line.get_marker() == "None"]
    assert [line.get_ydata().tolist() for line in means] == [pytest.approx([800.0, 700.0, 600.0])] * 2
    with pytest.raises(ValueError, match="no static model at 5 A"):
        learning_curve(*learning_files(tmp_path, errors), **files, cutoff=5.0, title="")


@pytest.mark.parametrize(
    ("last", "verdict"), [((0.6, 0.602, 0.598), HOLDS), ((0.69, 0.692, 0.688), FAILS), ((0.6, 0.7, 0.5), UNDECIDED)]
)
def test_the_last_step_of_the_learning_curve_is_judged_like_the_rest(tmp_path, last, verdict):
    """A fall by more than 5% from 192 to 384 structures; the scatter over seeds is part of the judgement."""
    for size, errors in {192: (0.7, 0.702, 0.698), 384: last}.items():
        for seed, rmse in seeds(*errors).items():
            rows = structure_rows(rmse, cutoff_angstrom=6.0)
            write(tmp_path / str(size), f"errors/static_r6.0_seed{seed}.csv.gz", rows)
        store = {"stores/train.manifest.json": {"extra": {"structures": size}}}
        (tmp_path / f"{size}/manifest.json").write_text(json.dumps({"runs": store}))
    families = dict(static_family(tmp_path / str(size), 6.0) for size in (384, 192))
    (few, error, none, _), (many, _, change, found) = steps(families)
    assert (few, many, none, found) == (192, 384, None, verdict)
    assert error.value == pytest.approx(0.70, rel=1e-3) and change.low < change.value < change.high
    with pytest.raises(NotEvaluated, match="two numbers of structures"):
        steps({192: families[192]})
    with pytest.raises(NotEvaluated, match="192 has no errors per structure of static models at 5 A"):
        static_family(tmp_path / "192", 5.0)


@pytest.mark.parametrize(("extra", "key"), [({}, "structures"), ({"structures": 96}, "parents")])
def test_a_store_that_does_not_say_its_size(tmp_path, extra, key):
    metrics, stores = learning_files(tmp_path, {96: (0.8,)})
    stores[0].write_text(json.dumps({"extra": extra}))
    with pytest.raises(ValueError, match=rf"train\.manifest\.json: .* says nothing of extra\.{key} .*build the store"):
        learning_curve(metrics, stores, **outputs(tmp_path, "x"), cutoff=6.0, title="")


def test_a_repeated_run_is_compared_by_history_and_weights(tmp_path):
    for name, seconds in (("first", 1.0), ("second", 2.0)):
        write(tmp_path / name, "metrics/history/fcl_seed1.csv", [{"epoch": 1, "val_loss": 0.25, "seconds": seconds}])
        (tmp_path / name / "models").mkdir()
        (tmp_path / name / "models/fcl_seed1.manifest.json").write_text('{"extra": {"weights_sha256": "ab"}}')
    digests = repeated_digests(tmp_path / "first", tmp_path / "second", 1)
    assert all(len(set(pair)) == 1 for pair in digests.values()) and digests["weights"] == ("ab", "ab")
    write(tmp_path / "second", "metrics/history/fcl_seed1.csv", [{"epoch": 1, "val_loss": 0.26, "seconds": 1.0}])
    first, second = repeated_digests(tmp_path / "first", tmp_path / "second", 1)["validation history"]
    assert first != second
    with pytest.raises(NotEvaluated, match="fcl_seed2.csv is missing"):
        repeated_digests(tmp_path / "first", tmp_path / "second", 2)


def test_higher_is_a_verdict_too(studies):
    base, other = (results_of(studies / name) for name in ("lower", "base"))
    table = ablation_table(base, {"base": other}, {}).set_index("quantity")
    assert table.loc["force RMSE at 7 A", "verdict"] == HIGHER


def test_turning_points_are_compared_by_seed(studies, tmp_path):
    shutil.copytree(studies / "base", tmp_path / "smooth")
    write_diatomics(tmp_path / "smooth", oscillating=())
    table = ablation_table(results_of(studies / "base"), {"smooth": results_of(tmp_path / "smooth")}, {})
    row = table.set_index("quantity").loc["turns of a diatomic curve at 7 A"]
    assert row["verdict"] == LOWER and row["by"] <= -2.0 and row["basis"] == "3 models" and pd.isna(row["unit"] or None)


def test_the_new_end_is_compared_only_if_an_ablation_reaches_farther(studies, tmp_path):
    """Sampling up to 7.5 A: the rise over the last angstrom stands beside that of the base, from 6 to 7 A."""
    shutil.copytree(studies / "base", tmp_path / "farther")
    write_uniform(tmp_path / "farther", fcl={**FCL, 6.5: 0.3, 7.5: 0.36})
    others = {"same": results_of(studies / "same"), "farther": results_of(tmp_path / "farther")}
    table = ablation_table(results_of(studies / "base"), others, {})
    row = table[table["quantity"] == "force RMSE, largest cutoff / 1 A below"].iloc[0]
    assert row["study"] == "farther"
    assert row["by"] == pytest.approx(100.0 * (1.2 / (FCL[7.0] / FCL[6.0]) - 1.0))
    assert set(table.loc[table["quantity"].isin(AT_END), "study"]) == {"farther"}


def test_seeds_and_where_a_model_is_evaluated_are_no_change():
    changes = {"fcl.seeds": ([1, 2], [1]), "evaluation.uniform_cutoffs.stop": (7.0, 7.5), "cutoffs.r_max": (7.0, 7.5)}
    assert change_text(changes) == "cutoffs.r_max 7.0 -> 7.5"
